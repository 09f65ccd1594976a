"""A plan as a picture: which buffer holds a value at which dispatch, and what is reused.

A row is a buffer, a column a dispatch. A bar begins where a dispatch writes the buffer and ends
with the last that reads what was written; several bars in a row are memory used again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from ..plan import Plan, Slot, Step
from ..words import count, listed, size
from .svg import (
    INPUT,
    OUTPUT,
    PALETTE,
    QUIET,
    SCALAR,
    STATE,
    box,
    drawing,
    element,
    label,
    shortened,
    width_of,
)
from .table import figure, folded, table

MOST = 32  # rows of the picture
_COLOURS = {"input": INPUT, "work": PALETTE[1], "output": OUTPUT, "state": STATE, "scalar": SCALAR}
_WIDTH, _WIDEST = 640.0, 26.0  # of all dispatches, and of one at most
_ROW, _BAR = 19.0, 12.0


@dataclass(frozen=True)
class Held:
    """A value in a buffer: the dispatch that writes it (−1: there before), and its last reader."""

    slot: int
    first: int
    last: int


def held(made: Plan) -> list[Held]:
    """Every value that is not a constant."""
    found: list[Held] = []
    current = {i: Held(i, -1, -1) for i, slot in enumerate(made.slots) if slot.role != "constant"}
    for i, step in enumerate(made.steps):
        for slot, binding in zip(step.slots, step.kernel.bindings, strict=True):
            if (now := current.get(slot)) is None:
                continue
            if binding.access == "read":
                current[slot] = Held(slot, now.first, i)
            else:
                found.append(now)
                current[slot] = Held(slot, i, i)
    found += current.values()
    kept = [h for h in found if h.last >= 0]
    results = {slot for slot, _ in made.outputs.values()}
    end = len(made.steps) - 1  # outputs are read when all is done
    return [
        Held(h.slot, h.first, end) if h.slot in results and h is current[h.slot] else h
        for h in kept
    ]


def svg(made: Plan) -> Element:
    """The picture."""
    values = held(made)
    slots = _rows({h.slot for h in values}, made)
    steps = max(len(made.steps), 1)
    unit = min(_WIDTH / steps, _WIDEST)
    names = {i: _name(made.slots[i], i) for i in slots}
    sizes = {i: size(made.slots[i].nbytes) for i in slots}
    left = max((width_of(n, 11) for n in names.values()), default=0.0) + 28
    left += max((width_of(n, 11) for n in sizes.values()), default=0.0)
    top, axis = _axis(made, left, unit)
    rows = {i: top + _ROW * row for row, i in enumerate(slots)}
    parts = [axis]
    for i, y in rows.items():
        parts += [
            label(0, y + 10, names[i], font_size=11),
            label(left - 12, y + 10, sizes[i], font_size=11, text_anchor="end", opacity=QUIET),
            box(left, y + _BAR / 2, unit * steps, 0.75, fill_opacity=0.18),
        ]
    parts += [_bar(made, h, left, unit, rows[h.slot]) for h in values if h.slot in rows]
    end = top + _ROW * len(slots) + 4
    if more := len({h.slot for h in values}) - len(slots):
        said = f"and {count(more, 'buffer')} more, of states and smaller ones"
        parts.append(label(0, end + 10, said, font_size=11, opacity=QUIET))
        end += _ROW
    return drawing(left + unit * steps + 70, end, summary(made), *parts)


def summary(made: Plan) -> str:
    """One line: dispatches, kernels, and memory by what it is for."""
    sizes: Counter[str] = Counter()
    for slot in made.slots:
        sizes[slot.role] += slot.nbytes
    work = [i for i, s in enumerate(made.slots) if s.role == "work"]
    values = sum(h.slot in {*work} for h in held(made))
    roles = [f"{size(sizes[r])} of {r}s" for r in ("constant", "state") if sizes[r]]
    reuse = f"{count(values, 'value')} in {count(len(work), 'work buffer')} ({size(sizes['work'])})"
    return listed(
        [
            count(len(made.steps), "dispatch", "dispatches"),
            count(len({s.kernel.name for s in made.steps}), "kernel file"),
            reuse if work else "",
            *roles,
        ]
    )


def html(made: Plan) -> Element:
    """The picture, and tables of dispatches and buffers."""
    names = [_name(slot, i) for i, slot in enumerate(made.slots)]
    steps = [(i, s.op, s.kernel.name, _grid(s), _bound(s, names)) for i, s in enumerate(made.steps)]
    slots = [(n, s.role, s.nbytes) for n, s in zip(names, made.slots, strict=True)]
    return figure(
        element("p", summary(made)),
        svg(made),
        folded(
            count(len(steps), "dispatch", "dispatches"),
            table(("#", "op", "kernel", "workgroups", "buffers"), steps),
        ),
        folded(count(len(slots), "buffer"), table(("buffer", "for", "bytes"), slots)),
    )


def _rows(slots: Iterable[int], made: Plan) -> list[int]:
    """The buffers with a row: first those that are used again; then in the order of use."""
    order = {role: i for i, role in enumerate(_COLOURS)}
    importance = {"work": 0, "input": 1, "output": 1, "state": 2, "scalar": 3}

    def rank(i: int) -> tuple[int, int]:
        return importance[made.slots[i].role], -made.slots[i].nbytes

    return sorted(sorted(slots, key=rank)[:MOST], key=lambda i: (order[made.slots[i].role], i))


def _axis(made: Plan, left: float, unit: float) -> tuple[float, Element]:
    """The ops, or where there is no room the numbers of dispatches; and how high that is."""
    steps = made.steps
    if unit >= 13:
        ops = [shortened(step.op, 20) for step in steps]
        top = 12 + 0.71 * max((width_of(op, 10.5) for op in ops), default=0.0)
        named = [(left + unit * (i + 0.5), op) for i, op in enumerate(ops)]
        slanted = [
            label(0, 0, op, transform=f"translate({x:.1f} {top - 6:.1f}) rotate(-45)")
            for x, op in named
        ]
        return top, element("g", *slanted, font_size=10.5, opacity=QUIET)
    every = next(n for k in range(9) for n in (10**k, 2 * 10**k, 5 * 10**k) if n * unit >= 34)
    numbers = [
        label(left + unit * (i + 0.5), 12, str(i), text_anchor="middle")
        for i in range(0, len(steps), every)
    ]
    return 24.0, element("g", *numbers, font_size=10.5, opacity=QUIET)


def _bar(made: Plan, h: Held, left: float, unit: float, y: float) -> Element:
    slot = made.slots[h.slot]
    writer = f"written by dispatch {h.first} ({made.steps[h.first].label})"
    since = writer if h.first >= 0 else "there before"
    first = max(h.first, 0)
    gap = min(unit / 8, 1.5)
    return box(
        left + unit * first + gap / 2, y, max(unit * (h.last - first + 1) - gap, 0.6), _BAR,
        rx=min(unit / 4, 3), fill=_COLOURS[slot.role], fill_opacity=0.8,
        about=f"{_name(slot, h.slot)}: {since}, in use to dispatch {h.last}",
    )  # fmt: skip


def _name(slot: Slot, number: int) -> str:
    return shortened(slot.name or f"work {number}", 28)


def _grid(step: Step) -> str:
    return " × ".join(map(str, step.grid))


def _bound(step: Step, names: Sequence[str]) -> str:
    """The buffers of a dispatch, those that it writes marked."""
    return ", ".join(
        f"{b.name} = {names[slot]}{'' if b.access == 'read' else ' ✎'}"
        for slot, b in zip(step.slots, step.kernel.bindings, strict=True)
    )
