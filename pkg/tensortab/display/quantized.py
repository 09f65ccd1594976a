"""The error of a quantized weight as a histogram."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from ..quant import Comparison
from ..words import listed
from .svg import PALETTE, QUIET, box, drawing, label
from .table import figure, table

_WIDTH, _HEIGHT = 440.0, 120.0


def svg(found: Comparison) -> Element:
    """How many weights moved by how much."""
    n, k = found.shape
    most, total = max(found.counts), sum(found.counts)
    unit, top = _WIDTH / len(found.counts), 22
    title = listed([found.format, f"group {found.group}", f"[{n}, {k}]"])
    step = 2 * found.reach / len(found.counts)
    parts = [label(0, 12, title, font_weight=600)]
    for i, weights in enumerate(found.counts):
        tall = _HEIGHT * weights / most
        low = -found.reach + i * step
        start = f"{low:.3g}" if i else "all below"  # what lies beyond is counted at the ends
        end = f"{low + step:.3g}" if i < len(found.counts) - 1 else "all above"
        about = f"{start} to {end}: {weights:,} weights ({weights / total:.2%})"
        parts.append(
            box(unit * i + 0.5, top + _HEIGHT - tall, unit - 1, tall, fill=PALETTE[0], about=about)
        )
    line = top + _HEIGHT
    parts.append(box(0, line, _WIDTH, 1, fill_opacity=0.4))
    for at, anchor in (
        (-1.0, "start"),
        (-0.5, "middle"),
        (0.0, "middle"),
        (0.5, "middle"),
        (1.0, "end"),
    ):
        x = _WIDTH * (at + 1) / 2
        text = f"{at * found.reach:.2g}".replace("-", "−")
        parts.append(label(x, line + 15, text, text_anchor=anchor, font_size=11, opacity=QUIET))
    for side in (-1, 1):  # where the rms is
        x = _WIDTH * (side * min(found.rms_error / found.reach, 1) + 1) / 2
        mark = {"fill": PALETTE[1], "about": f"rms {found.rms_error:.3g}"}
        parts.append(box(x - 0.75, top, 1.5, _HEIGHT, **mark))
    said = f"rms {found.rms_error:.2g}"
    parts.append(label(_WIDTH, 12, said, font_size=11, text_anchor="end", fill=PALETTE[1]))
    return drawing(_WIDTH, line + 20, str(found), *parts)


def html(found: Comparison) -> Element:
    """The histogram and the numbers."""
    rows = [
        ("bits a weight, scales included", f"{found.bits:.4g}"),
        ("largest error", f"{found.max_error:.3g}"),
        ("mean error", f"{found.mean_error:.3g}"),
        ("rms error", f"{found.rms_error:.3g}"),
        ("rms error / rms weight", f"{found.relative_error:.2%}"),
    ]
    return figure(svg(found), table(("measure", "value"), rows))
