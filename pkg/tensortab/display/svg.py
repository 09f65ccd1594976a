"""Elements of SVG and HTML, as trees: what is put into them is escaped when they are written.

No ids, scripts, styles or foreign addresses, so that pictures go into any page, however strict its
Content-Security-Policy. Lines and texts are currentColor, and colours of medium lightness, so that
they are read on light and on dark.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, tostring

MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
ADVANCE = 0.61  # of those fonts, in ems
PALETTE = ("#4f7fe8", "#d9822b", "#2a9d70", "#a964d6", "#d8547a", "#1f9bb3", "#9b8a2e", "#7d7f8c")
INPUT, CONSTANT, OUTPUT, STATE, SCALAR = PALETTE[0], PALETTE[1], PALETTE[2], PALETTE[3], PALETTE[5]
QUIET = 0.65  # the opacity of what matters less

_ILLEGAL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML at all


def element(name: str, *children: Element | str, **attributes: object) -> Element:
    """An element; `_` in an attribute's name stands for `-`, a last one is dropped."""
    named = {k.rstrip("_").replace("_", "-"): _text(v) for k, v in attributes.items()}
    made = Element(name, named)
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + _text(child)
        else:
            made.text = (made.text or "") + _text(child)
    return made


def written(made: Element) -> str:
    """The text of an element; right as XML and as HTML, where `<td/>` would not be."""
    return tostring(made, "unicode", short_empty_elements=False)


def drawing(width: float, height: float, about: str, *children: Element) -> Element:
    """An <svg> with what it shows in words."""
    return element(
        "svg",
        element("title", about),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        class_="tensortab",
        role="img",
        width=width,
        height=height,
        viewBox=f"0 0 {_text(width)} {_text(height)}",
        font_family=MONO,
        font_size=12,
        fill="currentColor",
    )


def label(x: float, y: float, text: str, **attributes: object) -> Element:
    """A line of text."""
    return element("text", text, x=x, y=y, **attributes)


def box(x: float, y: float, width: float, height: float, **attributes: object) -> Element:
    """A rectangle; `about` is shown when it is pointed at."""
    about = attributes.pop("about", None)
    inside = [] if about is None else [element("title", str(about))]
    return element("rect", *inside, x=x, y=y, width=width, height=height, **attributes)


def width_of(text: str, size: float = 12) -> float:
    """About how wide a line of text is."""
    return len(text) * size * ADVANCE


def shortened(text: str, most: int) -> str:
    """At most so many characters, the last ones: a name's end says more than its beginning."""
    return text if len(text) <= most else f"…{text[len(text) - most + 1 :]}"


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return _ILLEGAL.sub("\ufffd", str(value))
