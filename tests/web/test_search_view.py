"""The view that ranks lines by meaning, used as a person would use it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

import harness
from tensortab import chrome as chromium
from visit import Visit

LINES = [
    "Knead the dough for ten minutes, then let it rest.",
    "The central bank raised interest rates again.",
    "Octopuses have three hearts and blue blood.",
]
# Put where the clipboard's would go: typing 10,000 lines is not what is tested.
PASTE = """text => {
  const data = new DataTransfer();
  data.setData("text", text);
  const lines = document.querySelector("#lines");
  lines.select();
  const init = {clipboardData: data, cancelable: true, bubbles: true};
  lines.dispatchEvent(new ClipboardEvent("paste", init));
}"""
WATCH_FRAMES = """() => {
  window.longestFrame = 0;
  let last = performance.now();
  const next = (now) => {
    window.longestFrame = Math.max(window.longestFrame, now - last);
    last = now;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}"""


@pytest.fixture(scope="module")
def ready(loop: harness.Loop, chrome: harness.Tab, profile: BrowserContext) -> Iterator[Visit]:
    visit = Visit.start(loop.run, chrome, profile)
    visit.open("search", "ready")
    yield visit
    loop.run(visit.page.close())


def ask(visit: Visit, query: str) -> None:
    visit.do(visit.page.fill("#query", query))
    visit.do(visit.page.press("#query", "Enter"))


def rank(visit: Visit, lines: list[str], query: str) -> str:
    """Lines and a query typed and entered; the summary of the answer."""
    visit.do(visit.page.fill("#lines", "\n".join(lines)))
    ask(visit, query)
    visit.expect("#work").to_be_hidden()
    return visit.text("#summary")


def found(visit: Visit) -> list[str]:
    return visit.do(visit.page.locator("#ranking .text").all_inner_texts())


def test_ranks_lines_by_meaning(ready: Visit) -> None:
    summary = rank(ready, LINES, "my mortgage gets more expensive")
    assert found(ready)[0] == LINES[1]
    assert sorted(found(ready)) == sorted(LINES)
    scores = [float(s) for s in ready.do(ready.page.locator(".value").all_inner_texts())]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.2
    assert summary.startswith("3 lines ranked. Query ")
    assert "; 3 embedded in " in summary
    assert ready.foreign == []
    assert ready.complaints == []


def test_embeds_only_what_is_new(ready: Visit) -> None:
    rank(ready, LINES, "bread")
    summary = rank(ready, LINES, "animals of the sea")
    assert "; 0 embedded in " in summary
    assert summary.endswith("3 remembered.")
    assert found(ready)[0] == LINES[2]
    summary = rank(ready, [*LINES, "A shark never stops swimming."], "animals of the sea")
    assert "; 1 embedded in " in summary
    assert summary.endswith("3 remembered.")


def test_tells_the_model_and_the_adapter(ready: Visit) -> None:
    assert ready.text("#fact-model") == "all-MiniLM-L6-v2"
    assert 4.5 <= float(ready.text("#fact-weights").split()[0]) <= 5.9
    assert ready.text("#fact-seconds").endswith(" s")
    if chromium.adapter() == "swiftshader":
        assert "swiftshader" in ready.text("#fact-adapter").lower()
        assert "imitates a GPU" in ready.text("#engine-notice")


def test_html_stays_text(ready: Visit) -> None:
    line = '<img src="x" onerror="document.title = 1"><b>bold</b> &amp; <script>1</script>'
    rank(ready, [line, *LINES], "<b>markup</b> of a page")
    assert found(ready)[0] == line
    assert ready.do(ready.page.locator("#ranking img, #ranking b, #ranking script").count()) == 0
    assert ready.complaints == []


def test_equal_lines_are_one_result(ready: Visit) -> None:
    summary = rank(ready, [LINES[0], "", LINES[1], f"  {LINES[0]} "], "baking")
    assert summary.startswith("3 lines ranked.")
    assert found(ready) == LINES[:2]
    assert "2 times: lines 1, 4" in ready.text("#ranking li")


def test_says_what_is_missing(ready: Visit) -> None:
    ready.do(ready.page.fill("#lines", " \n\n"))
    ask(ready, "anything")
    ready.expect("#query-error").to_have_text("There are no lines to rank: type or paste some.")
    ready.do(ready.page.fill("#lines", LINES[0]))
    ask(ready, "  ")
    ready.expect("#query-error").to_have_text("Type what you are looking for.")
    rank(ready, LINES, "bread")
    ready.expect("#query-error").to_be_hidden()


def test_a_line_of_5000_characters_is_folded(ready: Visit) -> None:
    line = ("bread and butter " * 300)[:5000].strip()
    rank(ready, [line, *LINES[1:]], "bread")
    assert found(ready)[0] == line
    height = "item => item.getBoundingClientRect().height"
    item = ready.page.locator("#ranking li").first
    folded = ready.do(item.evaluate(height))
    assert folded < 200
    ready.do(item.get_by_role("button", name="Whole line").click())
    assert ready.do(item.evaluate(height)) > 3 * folded


def test_shows_the_best_hundred_and_more(ready: Visit) -> None:
    rank(ready, [f"{i} apples" for i in range(130)], "fruit")
    assert len(found(ready)) == 100
    assert ready.text("#more") == "Show 30 more of 30"
    ready.do(ready.page.click("#more"))
    assert len(set(found(ready))) == 130
    ready.expect("#more").to_be_hidden()


def test_10000_lines_never_stall_typing_and_the_newest_question_wins(ready: Visit) -> None:
    ready.do(ready.page.evaluate(PASTE, "\n".join(f"{i} oranges" for i in range(10_000))))
    ready.expect("#line-count").to_have_text("10,000 lines")
    ready.do(ready.page.evaluate(WATCH_FRAMES))
    ask(ready, "a fruit")
    ready.expect("#work-stage").to_contain_text("of 10,000 lines")
    ready.do(ready.page.locator("#query").press_sequentially(" that one peels", delay=20))
    assert ready.do(ready.page.evaluate("window.longestFrame")) < 500
    assert ready.do(ready.page.input_value("#query")) == "a fruit that one peels"
    ready.expect("#engine").to_have_attribute("data-state", "working")
    ready.do(ready.page.fill("#lines", "\n".join(LINES)))
    ask(ready, "sea life")
    ready.expect("#summary").to_contain_text("3 lines ranked")
    assert found(ready)[0] == LINES[2]
    ready.expect("#engine").to_have_attribute("data-state", "ready")


def test_stops(ready: Visit) -> None:
    ready.do(ready.page.evaluate(PASTE, "\n".join(f"{i} pears" for i in range(2_500))))
    ask(ready, "a fruit")
    ready.expect("#work-stage").to_contain_text("of 2,500 lines")
    ready.do(ready.page.click("#stop"))
    ready.expect("#summary").to_contain_text("Stopped.")
    ready.expect("#work").to_be_hidden()
    ready.expect("#engine").to_have_attribute("data-state", "ready")


def test_opens_files(ready: Visit, tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_text("\n".join([*LINES, "# ein Titel", "größer"]))
    ready.do(ready.page.set_input_files("#file", file))
    ready.expect("#line-count").to_have_text("5 lines")
    assert ready.do(ready.page.input_value("#lines")) == file.read_text()
    file.write_bytes(b"\x00\x01\x02")
    ready.do(ready.page.set_input_files("#file", file))
    ready.expect("#query-error").to_have_text("notes.md is not a text file.")
    ready.do(ready.page.click("#examples"))
    ready.expect("#line-count").to_have_text("40 lines")


def test_keyboard_reaches_everything(ready: Visit) -> None:
    ready.do(ready.page.focus("#lines"))
    reached = []
    for _ in range(4):
        ready.do(ready.page.keyboard.press("Tab"))
        reached.append(ready.do(ready.page.locator(":focus").evaluate("e => e.id || e.type")))
    assert reached == ["open", "examples", "query", "submit"]
    ready.do(ready.page.fill("#query", "bread"))
    ready.do(ready.page.fill("#lines", "\n".join(LINES)))
    ready.do(ready.page.press("#lines", "Control+Enter"))
    ready.expect("#ranking .text >> nth=0").to_have_text(LINES[0])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_looks(ready: Visit, width: int, scheme: str, tmp_path: Path) -> None:
    ready.do(ready.page.set_viewport_size({"width": width, "height": 800}))
    ready.do(ready.page.emulate_media(color_scheme=scheme))
    rank(ready, [*LINES, "unbreakable" * 60], "bread")
    widest = ready.do(ready.page.evaluate("document.documentElement.scrollWidth"))
    assert widest == width, "the page scrolls sideways"
    ground = ready.do(ready.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (int(ground[4:].split(",")[0]) < 128) == (scheme == "dark")
    shot = tmp_path / f"search-{width}-{scheme}.png"
    ready.do(ready.page.screenshot(path=shot, full_page=True))
    assert shot.stat().st_size > 10_000


def test_lines_and_query_survive_a_reload(visit: Visit) -> None:
    visit.open("search", "loading")
    assert len(visit.do(visit.page.input_value("#lines")).splitlines()) == 40
    visit.do(visit.page.fill("#lines", "one\ntwo"))
    visit.do(visit.page.fill("#query", "three"))
    visit.do(visit.page.reload())
    visit.expect("#line-count").to_have_text("2 lines")
    assert visit.do(visit.page.input_value("#lines")) == "one\ntwo"
    assert visit.do(visit.page.input_value("#query")) == "three"


def test_a_question_asked_while_loading_is_answered(visit: Visit) -> None:
    visit.open("search", "loading")
    visit.do(visit.page.fill("#lines", "\n".join(LINES)))
    ask(visit, "bread")
    visit.expect("#work-stage").to_have_text("Waiting for the model")
    visit.expect("#summary").to_contain_text("3 lines ranked")
    assert found(visit)[0] == LINES[0]
    assert visit.foreign == []
    assert visit.complaints == []
