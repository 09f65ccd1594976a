"""A graph as a drawing: inputs, ops and outputs from top to bottom, with shapes and dtypes.

Constants, states and scalars stand in the boxes of the ops that take them. Of equal layers that
follow each other the first is drawn, in a frame that says how often it comes; what is still more
than `MOST` ops is cut in the middle. The table lists every leaf.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from ..graph import Graph
from ..op import Tensor
from ..ops.state import after
from ..words import count, listed, size
from .fold import Run, runs
from .layout import Layout, Node, Point, layered
from .svg import (
    CONSTANT,
    INPUT,
    OUTPUT,
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

MOST = 60  # ops of a drawing
_CHIPS = 4  # leaves named in a box
_CHARACTERS = 34  # of a name
_COLOURS = {"input": INPUT, "constant": CONSTANT, "state": STATE, "scalar": SCALAR}
_MARGIN = 14.0
_TITLE, _LINE = 17.0, 13.5  # heights of lines


@dataclass(frozen=True)
class Box:
    """What stands in a node's box: a title or none, then smaller lines, each with its colour."""

    title: str
    lines: Sequence[tuple[str, str]] = ()
    colour: str = ""  # of an input or output
    about: str = ""
    dashed: bool = False  # a view: no kernel runs

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        widths = [width_of(self.title), *(width_of(text, 10.5) + 10 for text, _ in self.lines)]
        return max(widths) + 20, self.head + _LINE * len(self.lines) + 7

    @property
    def head(self) -> float:
        """Down to the title's line."""
        return _TITLE if self.title else 3.0


@dataclass
class Diagram:
    """The boxes that are drawn, what leads where, and the frames of folded layers."""

    boxes: dict[Node, Box] = field(default_factory=dict)
    edges: list[tuple[Node, Node]] = field(default_factory=list)
    frames: list[tuple[str, list[Node]]] = field(default_factory=list)

    @classmethod
    def of(cls, graph: Graph, most: int = MOST) -> Diagram:
        """Fold, cut, and name what is left."""
        self = cls()
        ops = _ops(graph)
        found = runs([_signature(t) for t in ops])
        shown = _shown(len(ops), found, most)
        at = {id(t): shown[i] for i, t in enumerate(ops)}
        for name, leaf in graph.inputs.items():
            about = f"input {name!r}: {leaf.spec}"
            self.boxes["input", name] = Box(_short(name), [(str(leaf.spec), "")], INPUT, about)
            at[id(leaf)] = "input", name
        cut = sum(node == "cut" for node in shown)
        for i, t in enumerate(ops):
            if shown[i] == "cut":
                self.boxes["cut"] = Box("", [(f"… {count(cut, 'more op')}", "")], dashed=True)
            elif shown[i] == i:
                self.boxes[i] = _box(t)
        for i, t in enumerate(ops):
            if shown[i] in (i, "cut"):
                self._link(t, shown[i], at)
        for name, t in graph.outputs.items():
            about = f"output {name!r}: {t.spec}"
            self.boxes["output", name] = Box(_short(name), [(str(t.spec), "")], OUTPUT, about)
            self._edge(at.get(id(_through(t))), ("output", name))
        for run in found:
            members: list[Node] = [
                i for i in range(run.start, run.start + run.length) if shown[i] == i
            ]
            if members:
                self.frames.append((f"× {run.times}", members))
        return self

    def _link(self, t: Tensor, node: Node, at: Mapping[int, Node]) -> None:
        for operand in t.inputs:
            self._edge(at.get(id(_through(operand))), node)

    def _edge(self, start: Node | None, end: Node) -> None:
        if start is not None and start != end and (start, end) not in self.edges:
            self.edges.append((start, end))


def svg(graph: Graph, *, most: int = MOST) -> Element:
    """The drawing."""
    diagram = Diagram.of(graph, most)
    place = layered({n: b.size for n, b in diagram.boxes.items()}, diagram.edges)
    parts = [_frame(place, diagram, *frame) for frame in diagram.frames]
    parts += [_arrow(place.lines[edge]) for edge in diagram.edges]
    parts += [part for n, b in diagram.boxes.items() for part in _drawn(place.centres[n], b)]
    shift = f"translate({_MARGIN:g} {_MARGIN:g})"
    width, height = place.width + 2 * _MARGIN, place.height + 2 * _MARGIN
    return drawing(width, height, summary(graph), element("g", *parts, transform=shift))


def summary(graph: Graph) -> str:
    """One line: how many ops, and what they take."""
    return listed(
        [
            count(len(_ops(graph)), "op"),
            count(len(graph.inputs), "input"),
            *(
                f"{count(len(leaves), what)} ({size(sum(t.spec.nbytes for t in leaves.values()))})"
                for what, leaves in (("constant", graph.constants), ("state", graph.states))
                if leaves
            ),
            count(len(graph.outputs), "output"),
        ]
    )


def html(graph: Graph) -> Element:
    """The drawing, and tables of the leaves and of the ops."""
    named = [*graph.leaves.items(), *graph.outputs.items()]
    roles = [t.role for t in graph.leaves.values()] + ["output"] * len(graph.outputs)
    rows = [(r, n, str(t.spec), t.spec.nbytes) for r, (n, t) in zip(roles, named, strict=True)]
    names = Counter(t.op.name for t in _ops(graph) if t.op)
    return figure(
        element("p", summary(graph)),
        svg(graph),
        folded(
            count(len(rows), "tensor by name", "tensors by name"),
            table(("what", "name", "dtype and shape", "bytes"), rows),
        ),
        folded(
            count(len(names), "kind of op", "kinds of op"), table(("op", "times"), _most(names))
        ),
    )


def _most(names: Counter[str]) -> list[tuple[str, int]]:
    return sorted(names.items(), key=lambda item: (-item[1], item[0]))


def _ops(graph: Graph) -> list[Tensor]:
    """What is computed; `after` only says which contents of a state are meant."""
    return [t for t in graph.nodes() if t.op and t.op is not after]


def _through(t: Tensor) -> Tensor:
    return t.inputs[-1] if t.op is after else t


def _leaves(t: Tensor) -> list[Tensor]:
    """The operands that stand in the box."""
    operands = [a.inputs[0] if a.op is after else a for a in t.inputs]
    return [a for a in operands if a.role and a.role != "input"]


def _signature(t: Tensor) -> tuple[object, ...]:
    assert t.op
    operands = tuple((a.role, str(a.spec)) for a in _leaves(t))
    return t.op.name, str(t.spec), operands


def _shown(ops: int, found: Sequence[Run], most: int) -> list[Node]:
    """For each op the one that is drawn for it: itself, the first layer's, or the cut."""
    shown: list[Node] = [*range(ops)]
    for run in found:
        for i in range(run.start + run.length, run.end):
            shown[i] = run.start + (i - run.start) % run.length
    kept = [i for i in range(ops) if shown[i] == i]
    for i in kept[most * 2 // 3 : len(kept) - most // 3] if len(kept) > most else ():
        shown[i] = "cut"
    return [shown[n] if isinstance(n, int) else n for n in shown]


def _box(t: Tensor) -> Box:
    assert t.op
    leaves = _leaves(t)
    lines = [(_named(a), _COLOURS[a.role]) for a in leaves[:_CHIPS] if a.role]
    if more := len(leaves) - len(lines):
        lines.append((f"and {more} more", ""))
    about = f"{t.op.name}({', '.join(_arguments(t))}) → {t.spec}"
    if t.op.lower is None:
        return Box("", [(f"{t.op.name} {t.spec}", ""), *lines], "", about, dashed=True)
    return Box(t.op.name, [(str(t.spec), ""), *lines], "", about)


def _named(leaf: Tensor) -> str:
    name, spec = _short(leaf.name), str(leaf.spec)
    return name if name.endswith(spec) else f"{name} {spec}"  # a program's say it already


def _arguments(t: Tensor) -> Iterator[str]:
    def said(value: object) -> str:
        if not isinstance(value, Tensor):
            return shortened(repr(value), 60)
        return f"{value.op.name if value.op else value.name}: {value.spec}"

    yield from map(said, t.args)
    yield from (f"{name}={said(value)}" for name, value in t.kwargs.items())


def _short(name: str) -> str:
    return shortened(name, _CHARACTERS)


def _drawn(centre: Point, b: Box) -> Iterator[Element]:
    width, height = b.size
    x, y = centre[0] - width / 2, centre[1] - height / 2
    dash = {"stroke_dasharray": "4 3"} if b.dashed else {}
    yield box(
        x, y, width, height, rx=6, about=b.about or b.title,
        fill=b.colour or "currentColor", fill_opacity=0.16 if b.colour else 0.05,
        stroke=b.colour or "currentColor", stroke_opacity=0.9 if b.colour else 0.4, **dash,
    )  # fmt: skip
    at = y + b.head
    still = {"text_anchor": "middle", "pointer_events": "none"}
    if b.title:
        yield label(centre[0], at, b.title, font_weight=600, **still)
    for text, colour in b.lines:
        at += _LINE
        yield label(
            centre[0], at, text, font_size=10.5, fill=colour or "currentColor",
            fill_opacity=1 if colour else QUIET, **still,
        )  # fmt: skip


def _arrow(points: Sequence[Point]) -> Element:
    """A smooth line that leaves and arrives upright, and its head."""
    (x, y), *rest = points
    path = [f"M{x:.1f} {y:.1f}"]
    for to_x, to_y in rest:
        middle = (y + to_y) / 2
        path.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    line = element("path", d=" ".join(path), fill="none", stroke="currentColor")
    head = element("path", d=f"M{x:.1f} {y:.1f}l-3.5 -7h7z")
    return element("g", line, head, opacity=0.5)


def _frame(place: Layout, diagram: Diagram, times: str, members: Sequence[Node]) -> Element:
    spans = [(place.centres[n], diagram.boxes[n].size) for n in members]
    left, right = (
        min(x - w / 2 for (x, _), (w, _) in spans),
        max(x + w / 2 for (x, _), (w, _) in spans),
    )
    top, end = (
        min(y - h / 2 for (_, y), (_, h) in spans),
        max(y + h / 2 for (_, y), (_, h) in spans),
    )
    return element(
        "g",
        box(
            left - 10, top - 10, right - left + 20, end - top + 20, rx=10, fill=INPUT,
            fill_opacity=0.05, stroke=INPUT, stroke_opacity=0.7, stroke_dasharray="2 4",
        ),
        label(left - 8, top - 14, times, font_size=13, font_weight=700, fill=INPUT),
    )  # fmt: skip
