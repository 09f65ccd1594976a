"""The view that searches texts by meaning: the ranking, used as a person would use it."""

from pathlib import Path

import pytest

from axe import serious
from searches import LINES, ask, found, only, open_texts, rank, remove_all
from tensortab import chrome as chromium
from visit import Visit

NOTES = """# Notes

## Kitchen

- Knead the dough for ten minutes, then let it rest.

## Money

The central bank raised
interest rates again.
"""


def test_ranks_lines_by_meaning(searching: Visit) -> None:
    only(searching, lines_txt="\n".join(LINES))
    summary = rank(searching, "my mortgage gets more expensive")
    assert found(searching)[0] == LINES[1]
    assert sorted(found(searching)) == sorted(LINES)
    scores = [float(s) for s in searching.do(searching.page.locator(".value").all_inner_texts())]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.2
    assert summary.startswith("3 passages ranked. Query ")
    assert searching.foreign == []
    assert searching.complaints == []


def test_a_result_says_where_it_stands_and_leads_there(searching: Visit) -> None:
    only(searching, notes_md=NOTES, other_txt=LINES[2])
    rank(searching, "my mortgage gets more expensive")
    assert found(searching)[0] == LINES[1]
    place = searching.page.locator("#ranking .place").first
    assert searching.do(place.inner_text()) == "notes.md › Notes › Money, line 9"
    searching.expect("#document-name").to_have_text("other.txt")
    searching.do(place.focus())
    searching.do(searching.page.keyboard.press("Enter"))
    searching.expect("#document-name").to_have_text("notes.md")
    marked = searching.do(searching.page.locator("mark").all_inner_texts())
    assert marked == ["The central bank raised", "interest rates again."]
    searching.expect("mark >> nth=0").to_be_focused()
    searching.expect("mark >> nth=0").to_be_in_viewport()
    searching.do(searching.page.keyboard.press("Escape"))
    searching.expect("#ranking .place >> nth=0").to_be_focused()
    searching.expect("#back").to_be_hidden()
    searching.do(searching.page.click("#ranking .text >> nth=0"))
    searching.do(searching.page.click("#back"))
    searching.expect("#ranking .place >> nth=0").to_be_focused()


def test_arrows_go_from_result_to_result(searching: Visit) -> None:
    only(searching, lines_txt="\n".join(LINES))
    rank(searching, "bread")
    searching.do(searching.page.focus("#ranking li:nth-child(1) button"))
    searching.do(searching.page.keyboard.press("ArrowDown"))
    searching.expect("#ranking li:nth-child(2) button").to_be_focused()
    searching.do(searching.page.keyboard.press("ArrowUp"))
    searching.expect("#ranking li:nth-child(1) button").to_be_focused()


def test_a_text_that_changed_is_not_led_to(searching: Visit) -> None:
    only(searching, lines_txt="\n".join(LINES), more_txt=LINES[0])
    rank(searching, "bread")
    searching.do(searching.page.click("#documents .name:text-is('lines.txt')"))
    searching.do(searching.page.click("#edit-text"))
    searching.do(searching.page.fill("#text", f"New.\n{LINES[1]}"))
    rates = searching.page.locator("#ranking li", has_text="interest").locator(".place")
    searching.do(rates.click())
    searching.expect("#query-error").to_have_text(
        "This text has changed since it was ranked: rank again."
    )
    rank(searching, "bread")
    searching.do(rates.click())
    searching.expect("mark").to_have_text(LINES[1])
    searching.expect("#query-error").to_be_hidden()


def test_what_was_removed_is_no_result_any_more(searching: Visit) -> None:
    only(searching, one_txt="\n".join(LINES[:2]), two_txt="\n".join(LINES[1:]))
    rank(searching, "bread")
    assert len(found(searching)) == 3
    searching.do(searching.page.click("button[aria-label='Remove two.txt']"))
    assert sorted(found(searching)) == sorted(LINES[:2])
    item = searching.page.locator("#ranking li", has_text="interest")
    assert searching.do(item.locator(".place").all_inner_texts()) == ["one.txt, line 2"]
    searching.expect("#documents [aria-current]").to_be_focused()


def test_equal_passages_are_one_result(searching: Visit) -> None:
    only(searching, a_txt="\n".join([LINES[0], "", f"  {LINES[0]} "]), b_txt=f"{LINES[0]}\n" * 3)
    assert rank(searching, "baking").startswith("5 passages ranked.")
    assert found(searching) == LINES[:1]
    assert searching.text("#ranking .places").split("\n") == [
        "a.txt, line 1",
        "a.txt, line 3",
        "b.txt, line 1",
        "and 2 places more",
    ]


def test_tells_the_model_and_the_adapter(searching: Visit) -> None:
    assert searching.text("#fact-model") == "all-MiniLM-L6-v2"
    assert 4.5 <= float(searching.text("#fact-weights").split()[0]) <= 5.9
    assert searching.text("#fact-seconds").endswith(" s")
    if chromium.adapter() == "swiftshader":
        assert "swiftshader" in searching.text("#fact-adapter").lower()
        assert "imitates a GPU" in searching.text("#engine-notice")


def test_html_stays_text(searching: Visit) -> None:
    line = '<img src="x" onerror="document.title = 1"><b>bold</b> &amp; <script>1</script>'
    only(searching, **{"<i>_md": f"# {line}\n\n{LINES[0]}"})
    rank(searching, "<b>markup</b> of a page")
    assert line in found(searching)
    searching.do(searching.page.locator("#ranking .place").last.click())
    inside = "#search :is(img, b, i, script)"
    assert searching.do(searching.page.locator(inside).count()) == 0
    assert "<i>.md › <img" in searching.do(searching.page.locator("#ranking").inner_text())
    assert searching.complaints == []


def test_says_what_is_missing(searching: Visit) -> None:
    remove_all(searching)
    ask(searching, "anything")
    searching.expect("#query-error").to_have_text(
        "There is no text to search: open, paste or type one."
    )
    open_texts(searching, one_txt=LINES[0])
    ask(searching, "  ")
    searching.expect("#query-error").to_have_text("Type what you are looking for.")
    rank(searching, "bread")
    searching.expect("#query-error").to_be_hidden()


def test_code_is_whole_and_folded(searching: Visit) -> None:
    code = "\n".join(f"print({i})" for i in range(30))
    only(searching, code_md=f"```\n{code}\n```\n")
    assert rank(searching, "a program").startswith("1 passage ranked.")
    words = searching.page.locator("#ranking .text")
    assert searching.do(words.text_content()) == code
    height = "item => item.getBoundingClientRect().height"
    folded = searching.do(words.evaluate(height))
    searching.do(searching.page.click("text='All of it'"))
    assert searching.do(words.evaluate(height)) > 5 * folded


def test_shows_the_best_twenty_and_more(searching: Visit) -> None:
    only(searching, apples_txt="\n".join(f"{i} apples" for i in range(30)))
    rank(searching, "fruit")
    assert len(found(searching)) == 20
    assert searching.text("#more") == "Show 10 more of 10"
    searching.do(searching.page.click("#more"))
    assert len(set(found(searching))) == 30
    searching.expect("#more").to_be_hidden()
    searching.expect("#ranking li:nth-child(21) button").to_be_focused()


def test_keyboard_reaches_everything(searching: Visit) -> None:
    only(searching, lines_txt="\n".join(LINES))
    searching.do(searching.page.focus("#documents .name"))
    reached = []
    for _ in range(8):
        searching.do(searching.page.keyboard.press("Tab"))
        reached.append(
            searching.do(searching.page.locator(":focus").evaluate("e => e.id || e.type"))
        )
    expected = ["button", "open", "type-text", "examples", "edit-text", "reader", "query", "submit"]
    assert reached == expected


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_looks(searching: Visit, width: int, scheme: str, tmp_path: Path) -> None:
    searching.do(searching.page.set_viewport_size({"width": width, "height": 800}))
    searching.do(searching.page.emulate_media(color_scheme=scheme))
    only(
        searching, lines_txt="\n".join([*LINES, "unbreakable" * 60]), **{"long" * 40 + "_md": NOTES}
    )
    rank(searching, "bread")
    widest = searching.do(searching.page.evaluate("document.documentElement.scrollWidth"))
    assert widest == width, "the page scrolls sideways"
    searching.do(searching.page.click("#ranking .place >> nth=0"))
    assert serious(searching) == []
    ground = searching.do(
        searching.page.evaluate("getComputedStyle(document.body).backgroundColor")
    )
    assert (int(ground[4:].split(",")[0]) < 128) == (scheme == "dark")
    shot = tmp_path / f"search-{width}-{scheme}.png"
    searching.do(searching.page.screenshot(path=shot, full_page=True))
    assert shot.stat().st_size > 10_000


def test_a_question_asked_while_loading_is_answered(visit: Visit) -> None:
    visit.open("search", "loading")
    only(visit, lines_txt="\n".join(LINES))
    ask(visit, "bread")
    visit.expect("#work-stage").to_have_text("Waiting for the model")
    visit.expect("#summary").to_contain_text("3 passages ranked")
    assert found(visit)[0] == LINES[0]
    assert visit.foreign == []
    assert visit.complaints == []
