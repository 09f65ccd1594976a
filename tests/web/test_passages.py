"""Texts cut into passages, by the module itself in a page without a model."""

from collections.abc import Iterator
from typing import Any

import pytest

import harness
from visit import Visit

# Words of at most eight letters count as one piece, longer ones as one for every eight.
FITTED = """async ([name, text]) => {
  const { fitted, isMarkdown, passages } = await import("/search/passages.js");
  const pieces = (t) =>
    t.split(" ").reduce((sum, word) => sum + Math.ceil(word.length / 8), 0);
  const found = passages(text, isMarkdown(name, text));
  const all = await fitted(text, found, async (texts) => texts.map(pieces));
  return all.map((p) => ({ ...p, raw: text.slice(p.start, p.end), pieces: pieces(p.text) }));
}"""

MARKDOWN = """---
title: ignored
---
# One #

A paragraph that is
**wrapped**, with a [link](https://example.org/a) and `code`.
- an item
  that goes on
- [ ] to do
  1. below it

     more of it

> quoted
> twice

```python
# no heading

x = 1
```

Two
===
    indented = True

    after_a_gap = True

| a | b |
|---|---|
| c | d |

### Three
***
end
"""


@pytest.fixture(scope="module")
def empty(loop: harness.Loop, chrome: harness.Tab) -> Iterator[Visit]:
    visit = Visit.start(loop.run, chrome)
    loop.run(visit.page.goto(f"{visit.address}boot.json"))
    yield visit
    loop.run(visit.context.close())


def fitted(visit: Visit, name: str, text: str) -> list[dict[str, Any]]:
    return visit.do(visit.page.evaluate(FITTED, [name, text]))


def test_markdown(empty: Visit) -> None:
    found = fitted(empty, "a.md", MARKDOWN)
    assert [(p["line"], p["kind"], p["text"], p["headings"]) for p in found] == [
        (1, "code", "---\ntitle: ignored\n---", []),
        (4, "heading", "One", []),
        (6, "paragraph", "A paragraph that is wrapped, with a link and code.", ["One"]),
        (8, "item", "an item that goes on", ["One"]),
        (10, "item", "to do", ["One"]),
        (11, "item", "below it", ["One"]),
        (13, "paragraph", "more of it", ["One"]),
        (15, "paragraph", "quoted twice", ["One"]),
        (18, "code", "# no heading\n\nx = 1", ["One"]),
        (24, "heading", "Two", []),
        (26, "code", "    indented = True\n\n    after_a_gap = True", ["Two"]),
        (30, "row", "a, b", ["Two"]),
        (32, "row", "c, d", ["Two"]),
        (34, "heading", "Three", ["Two"]),
        (36, "paragraph", "end", ["Two", "Three"]),
    ]


def test_a_passage_stands_where_it_says(empty: Visit) -> None:
    for passage in fitted(empty, "a.md", MARKDOWN):
        before = MARKDOWN[: passage["start"]]
        assert MARKDOWN[passage["start"] : passage["end"]] == passage["raw"]
        assert before.count("\n") + 1 == passage["line"]


def test_plain_text_is_paragraphs_or_lines(empty: Visit) -> None:
    lines = fitted(empty, "a.txt", "one\n  two\n# three\n")
    assert [(p["line"], p["text"]) for p in lines] == [(1, "one"), (2, "two"), (3, "# three")]
    paragraphs = fitted(empty, "a.txt", "\n\none\ntwo\n \nthree\n\n\n")
    assert [(p["line"], p["text"]) for p in paragraphs] == [(3, "one two"), (6, "three")]
    assert fitted(empty, "a.txt", " \n\n") == []


@pytest.mark.parametrize(
    ("name", "text", "kinds"),
    [
        ("Typed text", "# A heading\nand more", ["heading", "paragraph"]),
        ("Typed text", "no marks\nat all", ["line", "line"]),
        ("a.txt", "# A heading\nand more", ["line", "line"]),
        ("a.MD", "no marks\nat all", ["paragraph"]),
    ],
)
def test_markdown_is_told_by_name_or_looks(
    empty: Visit, name: str, text: str, kinds: list[str]
) -> None:
    assert [p["kind"] for p in fitted(empty, name, text)] == kinds


def test_a_long_paragraph_is_parted_at_sentences(empty: Visit) -> None:
    sentences = [f"Sentence {i} has seven words\nin it." for i in range(200)]
    text = "# Top\n\n" + " ".join(sentences)
    parts = fitted(empty, "a.md", text)[1:]
    # 7 pieces each, of which 36 fit into 254.
    assert [p["text"].count("Sentence") for p in parts] == [36, 36, 36, 36, 36, 20]
    assert all(p["text"].startswith("Sentence") and p["text"].endswith("it.") for p in parts)
    assert all(p["headings"] == ["Top"] for p in parts)
    assert [p["line"] for p in parts] == [3 + 36 * i for i in range(6)]
    assert " ".join(p["text"] for p in parts) == " ".join(sentences).replace("\n", " ")


@pytest.mark.parametrize(
    "text",
    [
        "word " * 3000,  # no sentence ends
        "\n".join(f"- {i} a line" for i in range(20)) + "x" * 30_000,  # no space either
        "한국어" * 4000,
        "a, b; " * 2000 + "\U0001f600" * 700,
    ],
)
def test_nothing_is_longer_than_the_model_reads(empty: Visit, text: str) -> None:
    parts = fitted(empty, "a.md", text)
    assert max(p["pieces"] for p in parts) <= 254
    letters = "".join(p["raw"] for p in parts).replace(" ", "").replace("\n", "")
    assert letters == text.replace(" ", "").replace("\n", "")


@pytest.mark.parametrize(
    "text",
    [
        "#" + " " * 200_000 + "x",
        " " * 200_000 + "\n" + "> " * 100_000,
        "[" * 200_000,
        "**a " * 50_000,
        "a" + "\n" * 200_000,
        "`" * 100_000 + " x",
    ],
)
def test_hostile_texts_take_no_longer(empty: Visit, text: str) -> None:
    took = empty.do(
        empty.page.evaluate(
            f"async (a) => {{ const t = performance.now(); await ({FITTED})(a);"
            " return performance.now() - t; }",
            ["a.md", text],
        )
    )
    assert took < 3000
