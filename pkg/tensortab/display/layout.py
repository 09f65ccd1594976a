"""A layered drawing of a directed acyclic graph, from top to bottom (after Sugiyama et al., 1981).

Nodes go to the layer after their last operand, edges over several layers through points of their
own, the order within layers is by the mean of the neighbours' (a few sweeps down and up), and x is
as near to that mean as the distances allow, in the least squares' sense.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]
Node = Hashable

SWEEPS = 8
GAP = 18.0  # between nodes of a layer
FLOOR = 30.0  # between layers
_THIN = 8.0  # of an edge that passes through a layer


@dataclass(frozen=True)
class Layout:
    """Where all is, in the drawing's units."""

    centres: Mapping[Node, Point]
    lines: Mapping[tuple[Node, Node], Sequence[Point]]  # from the end of one to the head of another
    width: float
    height: float


def layered(
    sizes: Mapping[Node, tuple[float, float]], edges: Sequence[tuple[Node, Node]]
) -> Layout:
    """Lay nodes of (width, height) out; they are given in an order in which operands come first."""
    depth: dict[Node, int] = {}
    for node in sizes:
        depth[node] = max((depth[a] + 1 for a, b in edges if b == node), default=0)
    first: dict[Node, int] = {}
    for a, b in edges:  # what nothing feeds stands right above what it feeds
        first[a] = min(first.get(a, depth[b]), depth[b])
    fed = {b for _, b in edges}
    for node in sizes:
        if node not in fed and node in first:
            depth[node] = first[node] - 1
    chains, wide = _chains(depth, edges), {n: w for n, (w, _) in sizes.items()}
    links = [pair for chain in chains.values() for pair in pairwise(chain)]
    for chain in chains.values():
        for step, node in enumerate(chain):
            depth.setdefault(node, depth[chain[0]] + step)
            wide.setdefault(node, _THIN)
    layers: list[list[Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node, at in depth.items():
        layers[at].append(node)
    x = _places(layers, links, wide)
    left = min((x[n] - wide[n] / 2 for n in x), default=0.0)
    right = max((x[n] + wide[n] / 2 for n in x), default=0.0)
    x = {n: at - left for n, at in x.items()}
    tall = [max((sizes[n][1] for n in layer if n in sizes), default=0.0) for layer in layers]
    tops = [sum(tall[:i]) + FLOOR * i for i in range(len(tall))]
    y = {n: tops[at] + tall[at] / 2 for n, at in depth.items()}
    lines = {}
    for (a, b), chain in chains.items():
        # Straight through a layer, from its top to its end; curves are between layers.
        line = [(x[n], y[n] + side * tall[depth[n]] / 2) for n in chain for side in (-1, 1)]
        start, end = (x[a], y[a] + sizes[a][1] / 2), (x[b], y[b] - sizes[b][1] / 2)
        lines[a, b] = [start, *line[1:-1], end]
    height = tops[-1] + tall[-1] if tops else 0.0
    return Layout({n: (x[n], y[n]) for n in sizes}, lines, right - left, height)


def _chains(
    depth: Mapping[Node, int], edges: Sequence[tuple[Node, Node]]
) -> dict[tuple[Node, Node], list[Node]]:
    """Each edge as nodes of adjacent layers: its ends, and points between."""
    return {
        (a, b): [a, *(("through", a, b, i) for i in range(depth[b] - depth[a] - 1)), b]
        for a, b in edges
    }


def _places(
    layers: list[list[Node]], links: Sequence[tuple[Node, Node]], wide: Mapping[Node, float]
) -> dict[Node, float]:
    above: dict[Node, list[Node]] = {n: [] for layer in layers for n in layer}
    below: dict[Node, list[Node]] = {n: [] for layer in layers for n in layer}
    for a, b in links:
        above[b].append(a)
        below[a].append(b)
    x = dict.fromkeys(above, 0.0)
    for layer in layers:
        _spread(layer, {n: _mean(x, above[n], 0.0) for n in layer}, wide, x)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else layers[::-1]:
            near = above if down else below
            wanted = {n: _mean(x, near[n], x[n]) for n in layer}
            layer.sort(key=wanted.__getitem__)
            _spread(layer, wanted, wide, x)
    for layer in layers[::-1]:  # the order stands; at last to the middle of both sides
        _spread(layer, {n: _mean(x, above[n] + below[n], x[n]) for n in layer}, wide, x)
    return x


def _mean(x: Mapping[Node, float], near: Sequence[Node], otherwise: float) -> float:
    return sum(x[n] for n in near) / len(near) if near else otherwise


def _spread(
    layer: Sequence[Node],
    wanted: Mapping[Node, float],
    wide: Mapping[Node, float],
    x: dict[Node, float],
) -> None:
    """Put a layer's nodes where they want to be, in order and apart: isotonic regression."""
    offsets = [0.0]
    for a, b in pairwise(layer):
        offsets.append(offsets[-1] + (wide[a] + wide[b]) / 2 + GAP)
    blocks: list[tuple[float, int]] = []  # mean and how many
    for node, offset in zip(layer, offsets, strict=True):
        mean, n = wanted[node] - offset, 1
        while blocks and blocks[-1][0] > mean:
            before, m = blocks.pop()
            mean, n = (before * m + mean * n) / (m + n), m + n
        blocks.append((mean, n))
    places = [mean for mean, n in blocks for _ in range(n)]
    x.update((n, p + o) for n, p, o in zip(layer, places, offsets, strict=True))
