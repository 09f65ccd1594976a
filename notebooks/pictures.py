"""Small pictures for notebooks, of numpy arrays alone: pixels, a heat map, bars.

Lines and letters take the notebook's own colour, so that they are seen on light and dark.
"""

import base64
import html
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

COLOUR = "#3b82f6"
STYLE = "font: 12px sans-serif; fill: currentColor"


@dataclass(frozen=True)
class Picture:
    """What a cell shows when this is its last expression."""

    markup: str

    def _repr_html_(self) -> str:
        return self.markup

    def __add__(self, other: "Picture") -> "Picture":
        """Both side by side."""
        both = f'<span style="margin-right: 8px">{self.markup}</span>{other.markup}'
        return Picture(both)


def pixels(array: np.ndarray, scale: int = 4) -> Picture:
    """An array [H, W] as grey pixels, each `scale` wide: the least is black, the greatest white."""
    low, high = float(array.min()), float(array.max())
    grey = ((array - low) * (255 / ((high - low) or 1))).astype(np.uint8)
    height, width = grey.shape
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in grey)  # 0: the row as it is
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    size = f'width="{width * scale}" height="{height * scale}"'
    return Picture(f'<img src="{address}" {size} style="image-rendering: pixelated" alt="pixels">')


def heatmap(weights: np.ndarray, names: Sequence[str], cell: int = 26) -> Picture:
    """A square array of weights 0 to 1: row i is what item i gives to each other item."""
    n, left, top = len(names), 90, 60
    parts = []
    for i, name in enumerate(map(_visible, names)):
        at = cell * i + cell / 2
        parts.append(f'<text x="{left - 6}" y="{top + at + 4}" text-anchor="end">{name}</text>')
        place = f"translate({left + at + 4} {top - 6}) rotate(-60)"
        parts.append(f'<text transform="{place}">{name}</text>')
    for i, j in zip(*np.nonzero(weights > 0.004), strict=True):
        parts.append(
            f'<rect x="{left + cell * j}" y="{top + cell * i}" width="{cell - 1}"'
            f' height="{cell - 1}" fill="{COLOUR}" fill-opacity="{weights[i, j]:.3f}">'
            f"<title>{weights[i, j]:.0%}</title></rect>"
        )
    return _svg(left + cell * n + 40, top + cell * n + 4, parts)


def bars(values: Mapping[str, float]) -> Picture:
    """A bar for each name, as long as its value, 0 to 1."""
    parts = []
    for i, (name, value) in enumerate(values.items()):
        y = 22 * i
        parts.append(f'<text x="104" y="{y + 15}" text-anchor="end">{_visible(name)}</text>')
        parts.append(
            f'<rect x="110" y="{y + 3}" width="{300 * value:.1f}" height="16" fill="{COLOUR}"/>'
        )
        parts.append(f'<text x="{116 + 300 * value:.1f}" y="{y + 15}">{value:.1%}</text>')
    return _svg(470, 22 * len(values), parts)


def _visible(name: str) -> str:
    return html.escape(name.replace("\n", "⏎").replace(" ", "·"))


def _svg(width: int, height: int, parts: Sequence[str]) -> Picture:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return Picture(f'<svg {size} role="img" style="{STYLE}">{"".join(parts)}</svg>')
