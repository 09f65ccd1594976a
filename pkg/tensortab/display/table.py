"""Tables."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from .svg import element

MOST = 200  # rows of a table; a note says how many more there are


def table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> Element:
    """A table; numbers stand to the right."""
    head = element("tr", *(element("th", h, scope="col") for h in heading))
    body = [element("tr", *map(_cell, row)) for row in rows[:MOST]]
    if (more := len(rows) - MOST) > 0:
        body.append(element("tr", element("td", f"… {more:,} more", colspan=len(heading))))
    return element("table", element("thead", head), element("tbody", *body), class_="tensortab")


def folded(summary: str, *children: Element) -> Element:
    """What is seen when it is asked for."""
    return element("details", element("summary", summary), *children)


def figure(*children: Element) -> Element:
    """One display."""
    return element("div", *children, class_="tensortab")


def _cell(value: object) -> Element:
    if isinstance(value, Element):
        return element("td", value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = f"{value:,}" if number else str(value)
    return element("td", text, align="right" if number else "left")
