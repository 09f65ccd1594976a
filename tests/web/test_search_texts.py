"""The texts that are searched: opened, dropped, pasted, typed, read; also one of 10,000 lines."""

from pathlib import Path

from searches import LINES, ask, found, names, only, open_texts, rank, remove_all
from visit import Visit

# As the clipboard would, to wherever the focus is.
PASTE = """text => {
  const data = new DataTransfer();
  data.setData("text", text);
  const init = {clipboardData: data, cancelable: true, bubbles: true};
  return document.activeElement.dispatchEvent(new ClipboardEvent("paste", init));
}"""
DROP = """files => {
  const data = new DataTransfer();
  for (const [name, text] of files) data.items.add(new File([text], name));
  const init = {dataTransfer: data, cancelable: true, bubbles: true};
  document.querySelector("#ranking").dispatchEvent(new DragEvent("drop", init));
}"""
WATCH_TASKS = """() => {
  window.tasks = [];
  const note = (list) => tasks.push(...list.getEntries().map((e) => e.duration));
  new PerformanceObserver(note).observe({type: "longtask"});
}"""
LONG = 10_000


def long_document() -> str:
    """Markdown of LONG lines, of which a thousand are headings."""
    part = "## Part {0}\n\n{0} boats wait\nfor the tide.\n\n- {0} nets\n- {0} oars\n\n{0} gulls.\n"
    return "# Harbour\n" + "\n".join(part.format(i) for i in range(LONG // 10)) + "\n"


def test_opens_files_and_removes_them(searching: Visit, tmp_path: Path) -> None:
    remove_all(searching)
    searching.expect("#document").to_be_hidden()
    open_texts(searching, a_md="# A\r\n\r\nb\r\n", b_txt="größer")
    assert names(searching) == ["a.md", "b.txt"]
    assert searching.text("#documents li") == "a.md\n3 lines\nRemove"
    searching.expect("#reader .line").to_have_text("größer")
    open_texts(searching, b_txt="a newer one\nof the same name")
    assert names(searching) == ["a.md", "b.txt"]
    searching.expect("#reader .line").to_have_text(["a newer one", "of the same name"])
    file = tmp_path / "c.txt"
    file.write_bytes(b"\x00\x01\x02")
    searching.do(searching.page.set_input_files("#file", file))
    searching.expect("#query-error").to_have_text("c.txt is not a text file.")
    with file.open("wb") as large:
        large.truncate(20_000_001)
    searching.do(searching.page.set_input_files("#file", file))
    searching.expect("#query-error").to_have_text("c.txt is 20 MB; up to 20 MB can be read.")
    assert names(searching) == ["a.md", "b.txt"]


def test_drops_and_pastes_are_texts(searching: Visit) -> None:
    remove_all(searching)
    files = [["one.txt", LINES[0]], ["two.md", LINES[1]]]
    searching.do(searching.page.evaluate(DROP, files))
    searching.expect("#document-name").to_have_text("two.md")
    searching.do(searching.page.focus("#open"))
    assert not searching.do(searching.page.evaluate(PASTE, LINES[2])), "taken"
    searching.expect("#document-name").to_have_text("Pasted text")
    searching.do(searching.page.focus("#query"))
    assert searching.do(searching.page.evaluate(PASTE, "bread")), "left to the field"
    assert names(searching) == ["one.txt", "two.md", "Pasted text"]
    rank(searching, "bread")
    assert sorted(found(searching)) == sorted(LINES)


def test_typed_text_is_searched_and_kept(searching: Visit) -> None:
    remove_all(searching)
    searching.do(searching.page.click("#type-text"))
    searching.expect("#text").to_be_focused()
    searching.do(searching.page.keyboard.type("\n".join(LINES)))
    searching.do(searching.page.fill("#query", "sea life"))
    searching.do(searching.page.press("#text", "Control+Enter"))
    searching.expect("#ranking .text >> nth=0").to_have_text(LINES[2])
    searching.expect("#documents li").to_contain_text("3 lines · 3 passages")
    searching.do(searching.page.click("#edit-text"))
    searching.expect("#text").to_be_hidden()
    searching.expect("#reader .line").to_have_text(LINES)
    assert searching.do(searching.page.evaluate(PASTE, "x\n" * 15_000)) is False
    searching.expect("#document-name").to_have_text("Pasted text")
    searching.expect("#edit-text").to_be_visible()


def test_a_text_that_was_not_typed_is_gone(searching: Visit) -> None:
    only(searching, a_txt=LINES[0])
    searching.do(searching.page.click("#type-text"))
    searching.expect("#document-name").to_have_text("Typed text")
    assert names(searching) == ["a.txt", "Typed text"]
    searching.do(searching.page.click("#documents .name:text-is('a.txt')"))
    assert names(searching) == ["a.txt"]


def test_the_examples_make_room(searching: Visit) -> None:
    remove_all(searching)
    searching.do(searching.page.click("#examples"))
    searching.expect("#document-name").to_have_text("the-hut.md")
    assert names(searching) == ["the-hut.md", "forty-sentences.txt"]
    open_texts(searching, mine_txt=LINES[0])
    assert names(searching) == ["mine.txt"]


def test_reads_a_line_of_a_million_letters(searching: Visit) -> None:
    text = "start " + "letters " * 125_000 + "\nthe end"
    only(searching, wide_txt=text)
    searching.expect("#edit-text").to_be_hidden()
    searching.do(searching.page.evaluate("() => { reader.scrollTop = reader.scrollHeight; }"))
    searching.expect(".line >> nth=0").to_contain_text("start letters")


def test_10000_lines_never_stall_the_page(searching: Visit) -> None:
    document = long_document()
    assert document.count("\n") >= LONG
    remove_all(searching)
    searching.do(searching.page.evaluate(WATCH_TASKS))
    open_texts(searching, harbour_md=document)
    ask(searching, "small ships")
    searching.expect("#work-stage").to_contain_text("of 5,001 passages")
    searching.expect("#work-stage").to_contain_text(" a second · ")
    assert searching.text("#work-stage").endswith(" left")
    searching.do(searching.page.locator("#query").press_sequentially(" at rest", delay=20))
    searching.do(searching.page.evaluate("() => { reader.scrollTop = reader.scrollHeight / 2; }"))
    searching.expect("#engine").to_have_attribute("data-state", "working")
    searching.do(searching.page.click("#stop"))
    searching.expect("#summary").to_contain_text("Stopped: ")
    ranked, left = (
        int(word.replace(",", ""))
        for word in searching.text("#summary").split()
        if word[0].isdigit()
    )
    assert ranked + left == 5001
    assert ranked >= 4
    # The beginning of the text is what was embedded, and its places are found.
    searching.do(searching.page.locator("#ranking .place").first.click())
    searching.expect("mark >> nth=0").to_be_in_viewport()
    assert searching.text("#ranking .text").split()[0] in searching.text("mark")
    assert searching.do(searching.page.evaluate("window.tasks")) == [], "ms of tasks over 50"
    summary = rank_known(searching)
    assert f" {ranked} passages ranked" in summary.replace(",", ""), "what was done is kept"


def rank_known(visit: Visit) -> str:
    """The summary when the same is asked again and stopped at once."""
    ask(visit, "gulls")
    visit.expect("#work").to_be_visible()
    visit.do(visit.page.keyboard.press("Escape"))
    visit.expect("#work").to_be_hidden()
    visit.expect("#engine").to_have_attribute("data-state", "ready")
    return visit.text("#summary")


def test_the_newest_question_wins(searching: Visit) -> None:
    only(searching, pears_txt="\n".join(f"{i} pears" for i in range(2_500)))
    ask(searching, "a fruit")
    searching.expect("#work-stage").to_contain_text("of 2,500 passages")
    only(searching, lines_txt="\n".join(LINES))
    ask(searching, "sea life")
    searching.expect("#summary").to_contain_text("3 passages ranked")
    assert found(searching)[0] == LINES[2]
    searching.expect("#engine").to_have_attribute("data-state", "ready")
