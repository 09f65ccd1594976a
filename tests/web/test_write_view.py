"""The view that writes Python, used as a person would use it."""

from pathlib import Path
from typing import Any

import pytest

import harness
import tensortab as tt
from tensortab import assets
from visit import Visit

PROMPT = "def fibonacci(n):"
ENDLESS = "import json\n"  # at temperature 0 its text fills the context
# Every length that the answer has had.
WATCH_TEXT = """() => {
  window.lengths = [];
  const written = document.querySelector("#written");
  const note = () => window.lengths.push(written.textContent.length);
  const all = {childList: true, characterData: true, subtree: true};
  new MutationObserver(note).observe(written, all);
}"""


def fill(visit: Visit, prompt: str, **fields: Any) -> None:
    """The prompt, and every sampling field: those not named are emptied."""
    visit.do(visit.page.fill("#prompt", prompt))
    visit.do(visit.page.eval_on_selector(".settings details", "e => e.open = true"))
    for name in ("temperature", "max_new_tokens", "seed", "top_p", "repetition_penalty", "stop"):
        visit.do(visit.page.fill(f"[name={name}]", str(fields.get(name, ""))))


def write(visit: Visit, prompt: str, **fields: Any) -> str:
    """What is written after the prompt, once it is done."""
    fill(visit, prompt, **fields)
    visit.do(visit.page.press("#prompt", "Control+Enter"))
    return finished(visit)


def finished(visit: Visit) -> str:
    visit.expect("#run").to_be_visible()
    return visit.do(visit.page.locator("#written").text_content())


async def written_natively(native: harness.Native, *prompts: str, **options: Any) -> list[str]:
    model = await tt.load(str(assets.EMBEDDED), device=native.device)
    try:
        return ["".join([p async for p in model.generate(text, **options)]) for text in prompts]
    finally:
        model.destroy()


def test_streams_what_the_model_writes_natively(ready: Visit, native: harness.Native) -> None:
    ready.do(ready.page.evaluate(WATCH_TEXT))
    text = write(ready, PROMPT, temperature=0, max_new_tokens=40)
    (expected,) = ready.do(written_natively(native, PROMPT, temperature=0, max_new_tokens=40))
    assert text == expected
    assert ready.do(ready.page.locator("#answer").text_content()) == PROMPT + expected
    lengths = ready.do(ready.page.evaluate("window.lengths"))
    assert len({*lengths}) >= 6, "the text came at once"
    assert ready.text("#write-summary").startswith("40 tokens after 10 of prompt · ")
    assert ready.foreign == []
    assert ready.complaints == []


def test_a_seed_gives_the_text_again(ready: Visit, native: harness.Native) -> None:
    options = {"seed": 11, "max_new_tokens": 24, "top_p": 0.8, "temperature": 0.7}
    text = write(ready, PROMPT, **options)
    assert [text] == ready.do(written_natively(native, PROMPT, **options))
    assert "seed 11" in ready.text("#write-summary")
    assert write(ready, PROMPT, **options) == text


def test_goes_on_where_it_stopped(ready: Visit, native: harness.Native) -> None:
    options = {"temperature": 0, "max_new_tokens": 12}
    first = write(ready, PROMPT, **options)
    ready.do(ready.page.click("#continue"))
    both = finished(ready)
    (expected,) = ready.do(written_natively(native, PROMPT + first, **options))
    assert both == first + expected
    assert expected


def test_ends_before_a_stop_string(ready: Visit, native: harness.Native) -> None:
    options = {"temperature": 0, "max_new_tokens": 40}
    (whole,) = ready.do(written_natively(native, PROMPT, **options))
    text = write(ready, PROMPT, **options, stop="\\n    ")
    assert text == whole[: whole.index("\n    ")]


def test_stops_within_a_burst(ready: Visit) -> None:
    fill(ready, ENDLESS, temperature=0, max_new_tokens=900)
    ready.do(ready.page.press("#prompt", "Control+Enter"))
    ready.expect("#write-summary").to_contain_text("tokens/s")
    ready.expect("#engine").to_have_attribute("data-state", "working")
    before = int(ready.text("#write-summary").split()[0])
    ready.do(ready.page.keyboard.press("Escape"))
    text = finished(ready)
    summary = ready.text("#write-summary")
    assert "stopped" in summary
    assert 0 < int(summary.split()[0]) - before <= 12
    assert text
    ready.expect("#engine").to_have_attribute("data-state", "ready")


def test_a_newer_run_takes_the_place_of_the_older(ready: Visit) -> None:
    fill(ready, ENDLESS, temperature=0, max_new_tokens=900)
    ready.do(ready.page.click("#run"))
    ready.expect("#written").not_to_be_empty()
    newer = write(ready, PROMPT, temperature=0, max_new_tokens=8)
    assert ready.do(ready.page.locator("#given").text_content()) == PROMPT
    assert newer == write(ready, PROMPT, temperature=0, max_new_tokens=8)
    assert ready.text("#write-summary").startswith("8 tokens")


def test_examples_are_written_at_once(ready: Visit) -> None:
    fill(ready, "", max_new_tokens=4)
    ready.do(ready.page.get_by_role("button", name="def load_config(path):").click())
    assert finished(ready)
    prompt = ready.do(ready.page.input_value("#prompt"))
    assert prompt == "import json\n\n\ndef load_config(path):"
    assert ready.do(ready.page.locator("#given").text_content()) == prompt


def test_refuses_a_prompt_over_the_context_by_the_box(ready: Visit) -> None:
    before = write(ready, PROMPT, max_new_tokens=4)
    assert write(ready, "spam = 1\n" * 500) == before, "the answer that was there is lost"
    problem = ready.text("#write-problem")
    assert problem.startswith("The prompt has ")
    assert "1024" in problem
    ready.expect("#engine").to_have_attribute("data-state", "ready")
    assert write(ready, PROMPT, max_new_tokens=4)
    ready.expect("#write-problem").to_be_hidden()


def test_says_what_is_missing_or_out_of_bounds(ready: Visit) -> None:
    fill(ready, "")
    ready.do(ready.page.click("#run"))
    ready.expect("#write-problem").to_have_text("Type a prompt first.")
    fill(ready, PROMPT, temperature=-1)
    ready.do(ready.page.click("#run"))
    ready.expect("[name=temperature]:invalid").to_be_visible()
    ready.expect("#run").to_be_visible()
    fill(ready, PROMPT)


def test_copies_prompt_and_answer(ready: Visit) -> None:
    ready.do(ready.context.grant_permissions(["clipboard-read", "clipboard-write"]))
    text = write(ready, PROMPT, temperature=0, max_new_tokens=8)
    ready.do(ready.page.click("#copy"))
    ready.expect("#copy").to_have_text("Copied")
    assert ready.do(ready.page.evaluate("navigator.clipboard.readText()")) == PROMPT + text


def test_html_stays_text(ready: Visit) -> None:
    prompt = 'page = "<b>bold</b><script>document.title = 1</script>" + '
    write(ready, prompt, max_new_tokens=8)
    assert ready.do(ready.page.locator("#given").text_content()) == prompt
    assert ready.do(ready.page.locator("#answer b, #answer script").count()) == 0


def test_keyboard_reaches_everything(ready: Visit) -> None:
    write(ready, PROMPT, max_new_tokens=4)
    ready.do(ready.page.eval_on_selector(".settings details", "e => e.open = false"))
    ready.do(ready.page.focus("#prompt"))
    reached = []
    for _ in range(12):
        ready.do(ready.page.keyboard.press("Tab"))
        described = "e => e.id || e.name || e.textContent.trim().split(' ')[0]"
        reached.append(ready.do(ready.page.locator(":focus").evaluate(described)))
    assert reached[:4] == ["def", "class", "def", "with"]
    assert reached[4:8] == ["run", "continue", "copy", "answer"]
    assert reached[8:] == ["temperature", "max_new_tokens", "seed", "More"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_looks(ready: Visit, width: int, scheme: str, tmp_path: Path) -> None:
    ready.do(ready.page.set_viewport_size({"width": width, "height": 800}))
    ready.do(ready.page.emulate_media(color_scheme=scheme))
    write(ready, f"# {'unbreakable' * 60}\n{PROMPT}", temperature=0, max_new_tokens=16)
    widest = ready.do(ready.page.evaluate("document.documentElement.scrollWidth"))
    assert widest == width, "the page scrolls sideways"
    colours = [
        ready.do(ready.page.eval_on_selector(s, "e => getComputedStyle(e).color"))
        for s in ("#given", "#written")
    ]
    assert colours[0] != colours[1], "prompt and answer look the same"
    shot = tmp_path / f"write-{width}-{scheme}.png"
    ready.do(ready.page.screenshot(path=shot, full_page=True))
    assert shot.stat().st_size > 10_000


def test_nothing_was_complained_of(ready: Visit) -> None:
    """Last: over all that was done in this page."""
    assert ready.foreign == []
    assert ready.complaints == []
