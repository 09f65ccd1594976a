"""A profile as two pictures: time by kernel as bars, and dispatch by dispatch as a timeline."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree.ElementTree import Element

from ..profile import Profile
from ..words import count, listed, time
from .svg import PALETTE, QUIET, box, drawing, element, label, shortened, width_of
from .table import figure, folded, table

MOST = 24  # kernels with a bar of their own
_BARS, _TIMELINE = 360.0, 760.0  # widths
_ROW, _BAR = 22.0, 14.0


def bars(report: Profile) -> Element:
    """A bar for each kernel: its part of the time, the most expensive first."""
    found = report.by_kernel()
    shown, rest = found[:MOST], found[MOST:]
    rows = [(name, ns, times, mean) for name, times, mean, ns in shown]
    if rest:
        ns, times = sum(r[3] for r in rest), sum(r[1] for r in rest)
        rows.append((f"{len(rest)} others", ns, times, ns / times))
    colours, total = _colours(report), max(report.total_ns, 1)
    names = [shortened(name, 32) for name, *_ in rows]
    left = max(map(width_of, names), default=0.0) + 12
    widest = max((ns for _, ns, _, _ in rows), default=1) or 1
    parts = []
    for i, (name, ns, times, mean) in enumerate(rows):
        y, long = _ROW * i + 4, _BARS * ns / widest
        about = f"{name}: {count(times, 'dispatch', 'dispatches')} of {time(mean)} on average"
        said = f"{time(ns)} · {ns / total:.1%} · ×{times}"
        parts += [
            label(left - 10, y + 11, names[i], text_anchor="end"),
            box(
                left, y, max(long, 1), _BAR, rx=2, fill=colours.get(name, PALETTE[-1]), about=about
            ),
            label(left + long + 8, y + 11, said, font_size=11, opacity=QUIET),
        ]
    height = _ROW * len(rows) + 6
    return drawing(left + _BARS + 170, height, f"Time by kernel, {summary(report)}", *parts)


def timeline(report: Profile) -> Element:
    """A box for each dispatch, from its start to its end on the GPU."""
    end = max((r.end_ns for r in report.rows), default=0) or 1
    unit = _TIMELINE / end
    colours = _colours(report)
    parts = [box(0, 10, _TIMELINE, 32, rx=4, fill_opacity=0.06)]
    for r in report.rows:
        about = f"{r.index} {r.op} ({r.kernel_name}): {time(r.duration_ns)} from {time(r.start_ns)}"
        start = (r.end_ns - r.duration_ns) * unit
        width = max(r.duration_ns * unit, 0.7)
        fill = colours.get(r.kernel_name, PALETTE[-1])
        parts.append(box(start, 10, width, 32, fill=fill, stroke="none", about=about))
    for i in range(5):
        x, anchor = _TIMELINE * i / 4, ("start", "middle", "middle", "middle", "end")[i]
        parts.append(box(min(x, _TIMELINE - 1), 42, 1, 5, fill_opacity=0.5))
        parts.append(
            label(x, 60, time(end * i / 4), text_anchor=anchor, font_size=11, opacity=QUIET)
        )
    about = f"{count(len(report.rows), 'dispatch', 'dispatches')} over {time(end)} on the GPU"
    return drawing(_TIMELINE + 2, 66, about, *parts)


def summary(report: Profile) -> str:
    """One line: dispatches, and the time they took."""
    return listed(
        [
            count(len(report.rows), "dispatch", "dispatches"),
            f"{time(report.total_ns)} on the GPU",
        ]
    )


def html(report: Profile) -> Element:
    """Both pictures and a table of the dispatches."""
    if not report.rows:
        return figure(element("p", str(report)))
    rows = [
        (r.index, r.op, r.kernel_name, _sizes(r.global_wg), _sizes(r.local_wg), r.duration_ns)
        for r in report.rows
    ]
    heading = ("#", "op", "kernel", "workgroups", "invocations", "ns")
    return figure(
        element("p", summary(report)),
        bars(report),
        timeline(report),
        folded(count(len(rows), "dispatch", "dispatches"), table(heading, rows)),
    )


def _colours(report: Profile) -> Mapping[str, str]:
    """The most expensive kernels have colours of their own."""
    return {name: c for (name, *_), c in zip(report.by_kernel(), PALETTE[:-1], strict=False)}


def _sizes(sizes: tuple[int, ...]) -> str:
    return " × ".join(map(str, sizes))
