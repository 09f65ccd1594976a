"""The demo page around its views: their addresses, its engine's start, failures and restarts."""

from collections.abc import Iterator

import pytest
from playwright.async_api import Route

import harness
from visit import Visit

PROMPT = "def fibonacci(n):"
ENDLESS = "import json\n"  # at temperature 0 its text fills the context
LOSE = """
const request = GPUAdapter.prototype.requestDevice;
GPUAdapter.prototype.requestDevice = async function (...wanted) {
  const device = await request.apply(this, wanted);
  new BroadcastChannel("lose").onmessage = () => device.destroy();
  return device;
};
"""
KEPT = """async () => {
  while (!(await caches.has("tensortab-python"))) await new Promise((r) => setTimeout(r, 100));
}"""
SPOIL = """async () => {
  const cache = await caches.open("tensortab-python");
  for (const key of await cache.keys()) await cache.put(key, new Response("no snapshot"));
}"""


@pytest.fixture
def fresh(loop: harness.Loop, chrome: harness.Tab) -> Iterator[Visit]:
    """A visit with nothing in the cache."""
    visit = Visit.start(loop.run, chrome)
    yield visit
    loop.run(visit.context.close())


def run(visit: Visit, prompt: str = PROMPT, tokens: int = 6) -> str:
    visit.do(visit.page.fill("#prompt", prompt))
    visit.do(visit.page.fill("[name=max_new_tokens]", str(tokens)))
    visit.do(visit.page.fill("[name=temperature]", "0"))
    visit.do(visit.page.click("#run"))
    visit.expect("#run").to_be_visible()
    return visit.do(visit.page.locator("#written").text_content())


def test_views_have_addresses_and_load_what_they_need(visit: Visit) -> None:
    asked: list[str] = []
    visit.on("request", lambda request: asked.append(request.url))
    visit.open("", "ready")
    assert visit.text("#fact-model") == "python-16m"
    assert not any("MiniLM" in url for url in asked)
    visit.do(visit.page.fill("#prompt", "kept = "))
    visit.do(visit.page.focus("nav a[href='#search']"))
    visit.do(visit.page.keyboard.press("Enter"))
    visit.expect("#search").to_be_visible()
    visit.expect("#write").to_be_hidden()
    visit.expect("nav a[href='#search']").to_have_attribute("aria-current", "page")
    assert visit.do(visit.page.title()) == "Search by meaning · tensortab"
    visit.expect("#fact-model").to_have_text("all-MiniLM-L6-v2")
    visit.expect("#engine").to_have_attribute("data-state", "ready")
    visit.do(visit.page.go_back())
    visit.expect("#write").to_be_visible()
    visit.expect("#fact-model").to_have_text("python-16m")
    assert visit.do(visit.page.input_value("#prompt")) == "kept = "
    assert run(visit)
    assert visit.foreign == []
    assert visit.complaints == []


def test_a_run_pressed_while_loading_is_answered(visit: Visit) -> None:
    visit.open("write", "loading")
    visit.do(visit.page.click("#run"))
    visit.expect("#write-summary").to_have_text("Waiting for the model")
    visit.expect("#written").not_to_be_empty()


def test_prompt_and_settings_survive_a_reload(visit: Visit) -> None:
    visit.open("write", "loading")
    assert visit.do(visit.page.input_value("#prompt")) == PROMPT
    visit.do(visit.page.fill("#prompt", "one = 1\ntwo = "))
    visit.do(visit.page.fill("[name=seed]", "7"))
    visit.do(visit.page.reload())
    assert visit.do(visit.page.input_value("#prompt")) == "one = 1\ntwo = "
    assert visit.do(visit.page.input_value("[name=seed]")) == "7"


@pytest.mark.parametrize("stored", ["throw new DOMException('no', 'SecurityError')", "return {}"])
def test_forbidden_storage_costs_the_memory_alone(visit: Visit, stored: str) -> None:
    getter = f"{{ get() {{ {stored} }} }}"
    script = f"Object.defineProperty(window, 'localStorage', {getter})"
    visit.do(visit.page.add_init_script(script))
    visit.open("write", "loading")
    assert visit.do(visit.page.input_value("#prompt")) == PROMPT
    visit.do(visit.page.click("#run"))
    visit.expect("#write-summary").to_have_text("Waiting for the model")
    assert visit.complaints == []


def test_a_lost_gpu_leaves_prompt_and_answer(visit: Visit) -> None:
    visit.replace("**/worker.js", lambda text: LOSE + text)
    visit.open("write", "ready")
    for field, value in {"#prompt": ENDLESS, "[name=temperature]": "0"}.items():
        visit.do(visit.page.fill(field, value))
    visit.do(visit.page.fill("[name=max_new_tokens]", "900"))
    visit.do(visit.page.click("#run"))
    visit.expect("#write-summary").to_contain_text("tokens/s")
    visit.do(visit.page.evaluate("new BroadcastChannel('lose').postMessage('now')"))
    visit.expect("#engine").to_have_attribute("data-state", "error")
    assert visit.text("#error-text").startswith("The GPU went away")
    assert visit.do(visit.page.input_value("#prompt")) == ENDLESS
    assert visit.do(visit.page.locator("#written").text_content())
    visit.expect("#write-summary").to_have_text("Broken off.")
    visit.do(visit.page.click("#restart"))
    visit.expect("#engine").to_have_attribute("data-state", "ready")
    assert visit.do(visit.page.locator("#written").text_content())
    assert run(visit)


def test_a_crash_is_told_and_the_next_run_starts_again(visit: Visit) -> None:
    visit.replace("**/worker.js", lambda _: "throw new Error('out of order')")
    visit.open("write", "error")
    assert visit.text("#error-text").startswith("The computation stopped unexpectedly.")
    visit.do(visit.page.click("#engine summary"))
    assert "out of order" in visit.text("#error-details")
    assert run(visit) == ""
    visit.expect("#engine").to_have_attribute("data-state", "error")
    visit.do(visit.page.unroute("**/worker.js"))
    assert run(visit)
    visit.expect("#engine-error").to_be_hidden()


def test_without_webgpu_numpy_computes(visit: Visit) -> None:
    hidden = 'Object.defineProperty(navigator, "gpu", { value: undefined });\n'
    visit.replace("**/worker.js", lambda text: hidden + text)
    visit.open("write", "ready")
    assert visit.text("#engine-notice").startswith("No WebGPU here, so numpy computes instead")
    assert run(visit, "x", tokens=1)


def test_a_missing_model_leaves_the_other_view_alone(visit: Visit) -> None:
    async def refuse(route: Route) -> None:
        await route.fulfill(status=404)

    visit.do(visit.page.route("**/all-MiniLM-L6-v2/**", refuse))
    visit.open("search", "error")
    assert visit.text("#error-text").startswith("The model was not found on this server.")
    visit.do(visit.page.click("nav a[href='#write']"))
    visit.expect("#engine").to_have_attribute("data-state", "ready")
    assert run(visit)
    visit.do(visit.page.unroute("**/all-MiniLM-L6-v2/**"))
    visit.do(visit.page.click("nav a[href='#search']"))
    visit.expect("#engine").to_have_attribute("data-state", "ready")
    visit.expect("#engine-error").to_be_hidden()


def test_a_model_that_the_server_fetches_is_waited_for(visit: Visit) -> None:
    answers = [(202, "fetching"), (503, "pip: no network")]

    async def answer(route: Route) -> None:
        status, text = answers[0] if len(answers) == 1 else answers.pop(0)
        await route.fulfill(status=status, body=text)

    visit.do(visit.page.route("**/all-MiniLM-L6-v2/config.json", answer))
    visit.open("search", "loading")
    visit.expect("#engine-stage").to_have_text("Fetching the model to this machine, once")
    visit.expect("#engine").to_have_attribute("data-state", "error")
    assert "needs a network once" in visit.text("#error-text")
    assert "pip: no network" in visit.do(visit.page.locator("#error-details").text_content())


def test_python_starts_from_a_snapshot_unless_it_is_spoiled(fresh: Visit) -> None:
    visit = fresh
    said: list[str] = []
    told = {"from a snapshot", "spoiled"}
    visit.on("console", lambda message: said.extend({message.text} & told))
    used = "return await inTime("
    visit.replace(
        "**/boot.js",
        lambda text: text.replace(used, f"console.log('from a snapshot'); {used}").replace(
            "await forget();", "console.log('spoiled'); await forget();"
        ),
    )
    visit.open("write", "ready")
    first = run(visit)
    visit.do(visit.page.evaluate(KEPT))
    visit.open("write", "ready")
    assert said == ["from a snapshot"]
    assert run(visit) == first
    visit.do(visit.page.evaluate(SPOIL))
    visit.open("write", "ready")
    assert "spoiled" in said
    assert run(visit) == first
