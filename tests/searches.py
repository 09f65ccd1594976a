"""What tests of the view that searches do in it."""

from visit import Visit

LINES = [
    "Knead the dough for ten minutes, then let it rest.",
    "The central bank raised interest rates again.",
    "Octopuses have three hearts and blue blood.",
]


def open_texts(visit: Visit, **texts: str) -> None:
    """Open files of these texts: notes_md="…" is notes.md."""
    files = [
        {"name": name.replace("_", "."), "mimeType": "text/plain", "buffer": text.encode()}
        for name, text in texts.items()
    ]
    visit.do(visit.page.set_input_files("#file", files))
    visit.expect("#document-name").to_have_text(files[-1]["name"])


def only(visit: Visit, **texts: str) -> None:
    """Have these texts and no other."""
    remove_all(visit)
    open_texts(visit, **texts)


def remove_all(visit: Visit) -> None:
    while visit.do(visit.page.locator("#documents li").count()):
        visit.do(visit.page.click("#documents li:last-child button:text-is('Remove')"))


def ask(visit: Visit, query: str) -> None:
    visit.do(visit.page.fill("#query", query))
    visit.do(visit.page.press("#query", "Enter"))


def rank(visit: Visit, query: str) -> str:
    """A query typed and entered; the summary of the answer."""
    visit.do(visit.page.evaluate("document.querySelector('#summary').textContent = ''"))
    ask(visit, query)
    visit.expect("#summary").not_to_be_empty()
    return visit.text("#summary")


def found(visit: Visit) -> list[str]:
    return visit.do(visit.page.locator("#ranking .text").all_inner_texts())


def names(visit: Visit) -> list[str]:
    return visit.do(visit.page.locator("#documents .name").all_inner_texts())
