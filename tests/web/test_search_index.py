"""What the view that searches keeps between visits: texts and their vectors."""

import asyncio
from collections.abc import Iterator

import pytest
from playwright.async_api import BrowserContext, Route

import harness
from searches import LINES, ask, found, names, only, open_texts, rank, remove_all
from visit import Visit

BREAK = {
    "forbidden": """Object.defineProperty(globalThis, "indexedDB", {
  get() { throw new DOMException("no", "SecurityError"); },
});""",
    "full": """IDBObjectStore.prototype.put = function () {
  throw new DOMException("no room", "QuotaExceededError");
};""",
}
STORE = """async (most) => {
  const { keptCount, Vectors } = await import("/search/vectors.js");
  const texts = ["a", "b", "c", "d", "e"];
  const one = await Vectors.open("model", most);
  for (const [i, text] of texts.entries()) {
    await one.add([text], [new Float32Array([i])]);
    await new Promise((resolve) => setTimeout(resolve, 5)); // another time of use
  }
  const two = await Vectors.open("model", most);
  await two.recall([...texts, "none"]);
  const other = await Vectors.open("another model", most);
  await other.recall(texts);
  return [[...two.known].map(([text, [v]]) => [text, v]), other.known.size, await keptCount()];
}"""


FORGET = """async () => {
  for (const name of ["tensortab-search-index", "tensortab-search-texts"])
    await new Promise((resolve) => (indexedDB.deleteDatabase(name).onsuccess = resolve));
}"""


@pytest.fixture(scope="module")
def home(loop: harness.Loop, chrome: harness.Tab) -> Iterator[BrowserContext]:
    """A profile of these tests' own, with the page's files in its cache."""
    context = loop.run(chrome.page.browser.new_context(service_workers="block"))
    yield context
    loop.run(context.close())


@pytest.fixture
def fresh(loop: harness.Loop, chrome: harness.Tab, home: BrowserContext) -> Iterator[Visit]:
    """A visit with no texts and no vectors kept."""
    visit = Visit.start(loop.run, chrome, home)
    loop.run(visit.page.goto(f"{visit.address}boot.json"))
    loop.run(visit.page.evaluate(FORGET))
    yield visit
    loop.run(visit.page.close())


def test_embeds_only_what_is_new(searching: Visit) -> None:
    only(searching, lines_txt="\n".join(LINES))
    rank(searching, "bread")
    assert rank(searching, "animals of the sea").endswith("; all 3 remembered.")
    open_texts(searching, more_txt="A shark never stops swimming.")
    summary = rank(searching, "animals of the sea")
    assert "; 1 embedded in " in summary
    assert summary.endswith("3 remembered.")


def test_a_second_visit_finds_texts_and_vectors(fresh: Visit) -> None:
    fresh.open("search", "ready")
    assert names(fresh) == ["the-hut.md", "forty-sentences.txt"]
    only(fresh, lines_txt="\n".join(LINES), more_md="# Baking\n")
    rank(fresh, "bread")
    fresh.expect("#index-told").to_have_text("Kept in this browser: 4 vectors, 0 MB.")
    scores = fresh.text("#ranking")
    fresh.open("search", "ready")
    assert names(fresh) == ["lines.txt", "more.md"]
    assert fresh.do(fresh.page.input_value("#query")) == "bread"
    assert rank(fresh, "bread").endswith("; all 4 remembered.")
    assert fresh.text("#ranking") == scores
    fresh.do(fresh.page.click("#forget"))
    fresh.expect("#forget").to_be_hidden()
    assert "; 4 embedded in " in rank(fresh, "bread")


def test_a_reload_while_embedding_loses_nothing_that_was_done(fresh: Visit) -> None:
    fresh.open("search", "ready")
    only(fresh, pears_txt="\n".join(f"{i} pears" for i in range(400)))
    ask(fresh, "a fruit")
    fresh.expect("#work-stage").to_contain_text(" left")
    done = int(fresh.text("#work-stage").split()[1])
    assert done >= 4
    fresh.do(fresh.page.reload())
    fresh.expect("#engine").to_have_attribute("data-state", "ready")
    assert names(fresh) == ["pears.txt"]
    ask(fresh, fresh.do(fresh.page.input_value("#query")))
    fresh.expect("#work-stage").to_contain_text("Embedding: 0 of ")
    left = int(fresh.text("#work-stage").split()[3])
    assert 0 < left <= 400 - done
    fresh.do(fresh.page.click("#stop"))
    fresh.expect("#summary").to_contain_text("Stopped: ")


def test_two_tabs_add_to_what_is_kept(fresh: Visit) -> None:
    fresh.open("search", "ready")
    other = Visit(fresh.do, fresh.address, fresh.context, fresh.do(fresh.context.new_page()))
    other.open("search", "ready")
    only(fresh, one_txt=LINES[0])
    only(other, two_txt=LINES[1])
    ask(fresh, "bread")  # at the same time
    ask(other, "bread")
    fresh.expect("#summary").to_contain_text("1 passage ranked")
    other.expect("#summary").to_contain_text("1 passage ranked")
    open_texts(fresh, three_txt=LINES[1])
    assert rank(fresh, "bread").endswith("; all 2 remembered.")
    fresh.expect("#index-told").to_contain_text("2 vectors")
    other.open("search", "loading")
    other.expect("#documents .name").to_have_text(["one.txt", "two.txt", "three.txt"])
    fresh.do(other.page.close())


@pytest.mark.parametrize("storage", BREAK)
def test_works_where_nothing_can_be_kept(fresh: Visit, storage: str) -> None:
    fresh.do(fresh.page.add_init_script(BREAK[storage]))
    fresh.replace("**/worker.js", lambda text: BREAK[storage] + text)
    fresh.open("search", "ready")
    assert names(fresh) == ["the-hut.md", "forty-sentences.txt"]
    only(fresh, lines_txt="\n".join(LINES))
    assert "; 3 embedded in " in rank(fresh, "bread")
    assert rank(fresh, "sea life").endswith("; all 3 remembered.")
    assert found(fresh)[0] == LINES[2]
    fresh.expect("#index-told").to_contain_text("This browser has no room for this page's texts")
    assert fresh.complaints == []


def test_the_oldest_vectors_make_room(fresh: Visit) -> None:
    fresh.do(fresh.page.goto(f"{fresh.address}boot.json"))
    assert fresh.do(fresh.page.evaluate(STORE, 3)) == [[["c", 2], ["d", 3], ["e", 4]], 0, 3]


def test_examples_that_come_late_make_room(fresh: Visit) -> None:
    opened = asyncio.Event()

    async def late(route: Route) -> None:
        await opened.wait()
        await route.continue_()

    async def let() -> None:
        async with fresh.page.expect_response("**/forty-sentences.txt") as response:
            opened.set()
        await (await response.value).finished()

    fresh.do(fresh.page.route("**/forty-sentences.txt", late))
    fresh.open("search", "loading")
    open_texts(fresh, mine_txt=LINES[0])
    fresh.do(let())
    fresh.do(fresh.page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 300))"))
    fresh.expect("#documents .name").to_have_text(["mine.txt"])
    fresh.expect("#document-name").to_have_text("mine.txt")


def test_removed_texts_stay_removed(fresh: Visit) -> None:
    fresh.open("search", "loading")
    only(fresh, one_txt=LINES[0], two_txt=LINES[1])
    fresh.do(fresh.page.click("button[aria-label='Remove one.txt']"))
    fresh.open("search", "loading")
    fresh.expect("#documents .name").to_have_text(["two.txt"])
    remove_all(fresh)
    fresh.open("search", "loading")
    fresh.expect("#documents .name").to_have_text(["the-hut.md", "forty-sentences.txt"])
