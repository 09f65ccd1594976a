"""Conversations: with a model of its own for what it says, with a scripted worker for the rest."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

import harness
import tensortab as tt
import tiny_llama
from axe import serious
from visit import Visit

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}<assistant>"
HTML = "<img src=x onerror='document.title=1'><script>document.title = 2</script><b>bold</b> &amp;"
# In the worker's place: it says what it was told, "count" goes on until it is stopped, "much" is
# more than the context.
SCRIPTED = """
const facts = { name: "echo", bits: 4.5, adapter: "none", kind: "browser", software: false,
                chat: CHAT, context: 1000, defaults: {}, seconds: 0.1 };
let stopped = false;
onmessage = async ({ data: { type, id, model, prompt, options } }) => {
  if (type === "load") return postMessage({ type: "ready", model, ...facts });
  if (type === "stop") {
    stopped = true;
    return postMessage({ type: "answer", id, answer: null });
  }
  stopped = false;
  const said = prompt.at(-1).content ?? prompt; // of a text's last letter undefined
  const read = prompt.length;
  const answer = (answer) => postMessage({ type: "answer", id, answer });
  if (said === "much") return answer({ refused: "it is too much" });
  let tokens = 0;
  const emit = (text) => postMessage({ type: "progress", id, text, tokens: ++tokens, read });
  if (said === "count")
    while (!stopped) {
      emit(`${tokens} `);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  else if (said === "seed") emit(String(options.seed));
  else for (const word of said.split(/(?<= )/)) emit(word);
  const end = stopped ? "stopped" : "end";
  answer({ prompt: read, reused: 0, tokens, first: 0.1, rest: 0.2, end });
};
"""

# Storage has no room for what was said second.
FULL = """() => {
  const { setItem } = Storage.prototype;
  Storage.prototype.setItem = function (key, text) {
    if (key.includes("conversation") && text.includes("two")) throw new Error("full");
    setItem.call(this, key, text);
  };
}"""
# This tab alone holds a conversation.
ALONE = "async () => (await navigator.locks.query()).held.length === 1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny_llama.write_checkpoint(tmp_path_factory.mktemp("chatty"))
    (made / "chat_template.jinja").write_text(TEMPLATE)
    (made / "generation_config.json").write_text('{"do_sample": false}')  # and without an end
    return made


@pytest.fixture
def tabs(loop: harness.Loop, chrome: harness.Tab) -> Iterator[BrowserContext]:
    """A person's browser, where pages keep what they keep."""
    context = loop.run(chrome.page.browser.new_context(service_workers="block"))
    yield context
    loop.run(context.close())


def scripted(
    loop: harness.Loop,
    chrome: harness.Tab,
    tabs: BrowserContext,
    *,
    chat: bool = True,
    before: str = "",
) -> Visit:
    visit = Visit.start(loop.run, chrome, tabs)
    visit.do(visit.page.add_init_script(before))
    visit.replace("**/worker.js", lambda _: SCRIPTED.replace("CHAT", json.dumps(chat)))
    visit.open("write", "ready")
    return visit


@pytest.fixture
def page(loop: harness.Loop, chrome: harness.Tab, tabs: BrowserContext) -> Visit:
    return scripted(loop, chrome, tabs)


def send(visit: Visit, text: str) -> None:
    visit.do(visit.page.fill("#message", text))
    visit.do(visit.page.press("#message", "Enter"))


def contents(visit: Visit) -> list[str]:
    """What each turn says, once the answer is done."""
    visit.expect("#send").to_be_visible()
    return visit.do(visit.page.locator(".turn .content").all_text_contents())


def say(visit: Visit, text: str) -> list[str]:
    send(visit, text)
    visit.expect("#message").to_have_value("")
    return contents(visit)


def test_turns_are_what_the_model_says_natively(
    visit: Visit, folder: Path, native: harness.Native
) -> None:
    async def natively(messages: list[dict[str, str]]) -> str:
        model = await tt.load(str(folder), device=native.device)
        try:
            pieces = model.generate(messages, temperature=0, max_new_tokens=8)
            return "".join([piece async for piece in pieces])
        finally:
            model.destroy()

    visit.open("write", "ready")
    visit.expect("#chat-row").to_be_hidden()
    visit.do(visit.page.set_input_files("#folder", folder))
    visit.expect("#conversation").to_be_visible()
    visit.expect("#completing").to_be_hidden()
    visit.do(visit.page.fill("[name=max_new_tokens]", "8"))
    messages: list[dict[str, str]] = []
    for text in ("def add(a, b)", "return <b>a</b>"):
        said = say(visit, text)
        messages.append({"role": "user", "content": text})
        expected = visit.do(natively(messages))
        messages.append({"role": "assistant", "content": expected})
        assert said == [m["content"] for m in messages]
    first, second = visit.do(visit.page.locator(".turn.assistant .note").all_text_contents())
    assert "known" not in first
    assert " of them known" in second, "the first turn was computed again"
    assert visit.text("#used-text").endswith(" of 200 tokens of context")
    visit.do(visit.page.uncheck("#chat"))
    visit.expect("#completing").to_be_visible()
    visit.do(visit.page.fill("#prompt", "def add(a, b)"))
    visit.do(visit.page.click("#run"))
    visit.expect("#write-summary").to_contain_text("8 tokens after")
    visit.do(visit.page.check("#chat"))
    assert contents(visit) == [m["content"] for m in messages]
    visit.do(visit.page.click("#embedded"))
    visit.expect("#completing").to_be_visible()
    assert visit.complaints == []


def test_html_in_an_answer_stays_text(page: Visit) -> None:
    assert say(page, HTML) == [HTML, HTML]
    assert page.do(page.page.locator("#log").locator("img, script, b").count()) == 0
    assert page.do(page.page.title()) == "Write and chat · tensortab"
    page.do(page.page.reload())
    assert contents(page) == [HTML, HTML]
    assert page.do(page.page.locator("#log").locator("img, script, b").count()) == 0
    assert page.complaints == []


def test_an_answer_is_stopped_and_had_again_with_another_seed(page: Visit) -> None:
    send(page, "count")
    page.expect(".turn.assistant .note").to_contain_text("tokens/s")
    page.expect(".turn.assistant .content").to_contain_text("0 1 2 ")
    page.expect(".turn.user .change").to_be_disabled()
    page.do(page.page.keyboard.press("Escape"))
    _, counted = contents(page)
    assert counted.startswith("0 1 2 ")
    assert "stopped" in page.text(".turn.assistant .note")
    page.do(page.page.fill("[name=seed]", "7"))
    assert say(page, "seed")[2:] == ["seed", "7"]
    page.expect(".turn.assistant .change").to_have_count(1)
    page.do(page.page.get_by_role("button", name="Retry").click())
    page.expect(".turn.assistant:last-child .note").to_contain_text("token after")
    *before, seed = contents(page)
    assert before == ["count", counted, "seed"]
    assert seed != "7"
    assert f"seed {seed}" in page.text(".turn:last-child .note")


def test_a_message_is_edited_from_there_on(page: Visit) -> None:
    say(page, "one")
    say(page, "two")
    edit = page.page.get_by_role("button", name="Edit")
    page.do(edit.first.click())
    page.expect(".turn.user textarea").to_be_focused()
    page.do(page.page.fill(".turn.user textarea", "lost"))
    page.do(page.page.keyboard.press("Escape"))
    assert page.do(edit.first.evaluate("e => e === document.activeElement"))
    assert contents(page) == ["one", "one", "two", "two"]
    page.do(edit.first.click())
    page.do(page.page.fill(".turn.user textarea", "three"))
    page.do(page.page.keyboard.press("Enter"))
    page.expect(".turn").to_have_count(2)
    assert contents(page) == ["three", "three"]


def test_a_refused_message_can_be_changed(page: Visit) -> None:
    say(page, "one")
    send(page, "much")
    page.expect("#chat-problem").to_have_text("It is too much")
    page.expect("#message").to_have_value("much")
    assert contents(page) == ["one", "one"]
    assert say(page, "less") == ["one", "one", "less", "less"]
    page.expect("#chat-problem").to_be_hidden()
    send(page, " ")
    page.expect("#chat-problem").to_have_text("Type a message first.")


def test_a_turn_is_copied(page: Visit) -> None:
    page.do(page.context.grant_permissions(["clipboard-read", "clipboard-write"]))
    say(page, "to be\ncopied")
    page.do(page.page.get_by_role("button", name="Copy").last.click())
    page.expect(".turn.assistant .tools").to_contain_text("Copied")
    assert page.do(page.page.evaluate("navigator.clipboard.readText()")) == "to be\ncopied"


def test_shift_enter_breaks_the_line(page: Visit) -> None:
    page.do(page.page.fill("#message", "a"))
    page.do(page.page.press("#message", "Shift+Enter"))
    page.do(page.page.keyboard.type("b"))
    page.do(page.page.keyboard.press("Control+Enter"))
    page.expect("#message").to_have_value("")
    assert contents(page) == ["a\nb", "a\nb"]


def test_a_reload_in_the_middle_of_an_answer_keeps_its_beginning(page: Visit) -> None:
    say(page, "one")
    send(page, "count")
    page.expect(".turn:last-child .content").to_contain_text("0 1 2 3")
    page.do(page.page.reload())
    said = contents(page)
    assert said[:3] == ["one", "one", "count"]
    assert said[3].startswith("0 1 2 3")
    assert page.text(".turn:last-child .note") == "Broken off."
    page.do(page.page.get_by_role("button", name="Retry").click())
    page.expect("#hush").to_be_visible()
    page.do(page.page.click("#hush"))
    assert len(contents(page)) == 4


def test_a_text_survives_a_reload_in_its_middle(
    loop: harness.Loop, chrome: harness.Tab, tabs: BrowserContext
) -> None:
    page = scripted(loop, chrome, tabs, chat=False)
    page.do(page.page.fill("#prompt", "count"))
    page.do(page.page.click("#run"))
    page.expect("#written").to_contain_text("0 1 2 3")
    page.do(page.page.reload())
    page.expect("#write-summary").to_have_text("Broken off.")
    assert page.do(page.page.locator("#answer").text_content()).startswith("count0 1 2 3")
    page.do(page.page.click("#continue"))
    page.expect("#run").to_be_visible()


def test_two_tabs_keep_their_conversations(
    loop: harness.Loop, chrome: harness.Tab, tabs: BrowserContext
) -> None:
    one = scripted(loop, chrome, tabs)
    say(one, "in the first tab")
    two = scripted(loop, chrome, tabs)
    assert contents(two) == []
    say(two, "in the second tab")
    say(one, "more")
    first, second = ["in the first tab"] * 2, ["in the second tab"] * 2
    for visit, said in ((one, [*first, "more", "more"]), (two, second)):
        visit.do(visit.page.reload())
        visit.expect(".turn").to_have_count(len(said))
        assert contents(visit) == said
    two.do(two.page.select_option("#conversations", label="in the first tab"))
    two.expect("#chat-problem").to_have_text("This conversation is open in another tab.")
    assert contents(two) == second
    loop.run(one.page.close())
    two.do(two.page.wait_for_function(ALONE))
    two.do(two.page.select_option("#conversations", label="in the first tab"))
    two.expect(".turn").to_have_count(4)


def test_a_duplicated_tab_goes_on_with_a_copy(
    loop: harness.Loop, chrome: harness.Tab, tabs: BrowserContext
) -> None:
    one = scripted(loop, chrome, tabs)
    say(one, "common")
    name = one.do(one.page.evaluate("sessionStorage['tensortab.conversation.open']"))
    duplicate = f"sessionStorage['tensortab.conversation.open'] ??= '{name}'"
    two = scripted(loop, chrome, tabs, before=duplicate)
    two.expect(".turn").to_have_count(2)
    say(two, "second")
    say(one, "first")
    for visit, said in ((one, "first"), (two, "second")):
        visit.do(visit.page.reload())
        visit.expect(".turn").to_have_count(4)
        assert contents(visit) == ["common", "common", said, said]


def test_conversations_are_begun_found_again_and_deleted(page: Visit) -> None:
    page.expect("#conversations").to_be_hidden()
    say(page, "older")
    page.do(page.page.click("#renew"))
    page.expect(".turn").to_have_count(0)
    page.expect("#message").to_be_focused()
    say(page, "newer")
    page.do(page.page.select_option("#conversations", label="older"))
    page.expect(".turn.user .content").to_have_text("older")
    page.do(page.page.click("#discard"))
    page.expect(".turn").to_have_count(0)
    names = page.do(page.page.locator("#conversations option").all_text_contents())
    assert names == ["New conversation", "newer"]


def test_a_conversation_stays_in_sight_without_its_model(
    loop: harness.Loop, chrome: harness.Tab, tabs: BrowserContext
) -> None:
    page = scripted(loop, chrome, tabs)
    say(page, "one")
    page.do(page.page.unroute("**/worker.js"))
    page.replace("**/worker.js", lambda _: SCRIPTED.replace("CHAT", "false"))
    page.do(page.page.reload())
    assert contents(page) == ["one", "one"]
    page.expect("#chat-lack").to_be_visible()
    page.expect("#send").to_be_disabled()
    page.do(page.page.uncheck("#chat"))
    page.expect("#completing").to_be_visible()
    page.expect("#chat-row").to_be_hidden()


def test_storage_that_is_full_is_told_and_keeps_the_beginning(page: Visit) -> None:
    say(page, "one")
    page.do(page.page.evaluate(FULL))
    say(page, "two")
    page.expect("#chat-problem").to_contain_text("This browser keeps no more text")
    page.do(page.page.reload())
    page.expect(".turn").to_have_count(2)
    assert contents(page) == ["one", "one"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_looks(page: Visit, width: int, scheme: str) -> None:
    page.do(page.page.set_viewport_size({"width": width, "height": 800}))
    page.do(page.page.emulate_media(color_scheme=scheme))
    say(page, "unbreakable" * 60)
    widest = page.do(page.page.evaluate("document.documentElement.scrollWidth"))
    assert widest == width, "the page scrolls sideways"
    mine = page.page.locator(".turn.user .content")
    ground = page.do(mine.evaluate("e => getComputedStyle(e).backgroundColor"))
    assert ground != "rgba(0, 0, 0, 0)", "a person's words look like the model's"
    page.do(page.page.get_by_role("button", name="Edit").click())
    assert serious(page) == []
