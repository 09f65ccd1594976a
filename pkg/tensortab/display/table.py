"""Tables, numbers and sizes as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def size(nbytes: float) -> str:
    """Bytes with a unit: 1 KB is 1,000 bytes, as downloads and disks count."""
    return f"{nbytes} bytes" if nbytes < 1000 else _scaled(nbytes / 1000, ("KB", "MB", "GB"))


def time(ns: float) -> str:
    """A duration with a unit."""
    return _scaled(ns, ("ns", "µs", "ms", "s")) if ns else "0"


def _scaled(number: float, units: Sequence[str]) -> str:
    """Three digits, and the unit that this takes, each a thousand of the one before."""
    power = 0
    while number >= 999.5 and power < len(units) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.3g} {units[power]}"


def count(n: int, what: str, many: str = "") -> str:
    """A number and its noun."""
    return f"{n:,} {what if n == 1 else many or what + 's'}"


def listed(parts: Iterable[str]) -> str:
    """Parts with a dot between; those that are empty are left out."""
    return " · ".join(filter(None, parts))


def _cell(value: object) -> Element:
    if isinstance(value, Element):
        return element("td", value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = f"{value:,}" if number else str(value)
    return element("td", text, align="right" if number else "left")
