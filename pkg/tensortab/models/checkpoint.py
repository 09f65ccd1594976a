"""A graph's weights and a checkpoint's tensors: which constant is made of which rows, and how.

A weight of the graph is rows of one or several tensors, one below the other, in one format. In
float it is one constant; quantized it is two, `NAME.packed` and `NAME.scales`. Weights that
multiply the same input are joined, so that one kernel does the work of three; a weight that is
larger than one binding may be comes in blocks of rows. Building the graph declares all this, and
fill.py streams a checkpoint through.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from ..dim import Dim
from ..graph import Graph
from ..op import Spec, Tensor
from ..ops import (
    add,
    concat,
    embedding_q4gsw,
    embedding_q8gsw,
    glu,
    linear_q4gsw,
    linear_q8gsw,
    rms_norm,
)
from ..ops import embedding as float_embedding
from ..ops import linear as float_linear
from ..ops.attend_chunks import joined_row
from ..ops.chunks import Left
from ..quant.recipe import FLOAT, Format, Recipe

_LINEAR = {"q4gsw": linear_q4gsw, "q8gsw": linear_q8gsw}
_EMBEDDING = {"q4gsw": embedding_q4gsw, "q8gsw": embedding_q8gsw}
_ALIGNED = 8  # rows of a block: whole quads of columns, whole words of float16 scales


@dataclass(frozen=True)
class Piece:
    """Rows of a tensor of the checkpoint."""

    tensor: str
    first: int
    rows: int


@dataclass(frozen=True)
class Weight:
    """A weight of the graph: pieces one below the other, in one format."""

    pieces: tuple[Piece, ...]
    row: tuple[int, ...]  # the shape of a row; quantized weights have [K]
    format: Format
    name: str  # of its constant, or the stem of its two

    @property
    def rows(self) -> int:
        return sum(p.rows for p in self.pieces)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows, *self.row

    @property
    def constants(self) -> dict[str, Spec]:
        """The constants of the graph it is, by name."""
        if not self.format.quantized:
            return {self.name: Spec(self.shape)}
        (k,), packing = self.row, self.format.packing
        packed = Spec((self.rows, k * packing.bits // 8), np.dtype(packing.stored).name)
        scales = Spec((k // self.format.group, self.rows), self.format.scales)
        return {f"{self.name}.packed": packed, f"{self.name}.scales": scales}


@dataclass(frozen=True)
class Norm:
    """An rms_norm's weight and numbers."""

    weight: Tensor
    eps: float
    offset: float


class Weights:
    """Declares a graph's constants from their tensors' names, in the formats of a recipe.

    `most` is the size in bytes that no constant goes beyond (maxStorageBufferBindingSize).
    `also` gives tensors a second name for the recipe: a tied table is the head, too.
    """

    def __init__(
        self,
        graph: Graph,
        recipe: Recipe,
        prefix: str = "",
        *,
        most: int = 1 << 32,
        also: Mapping[str, str] | None = None,
    ) -> None:
        self.graph = graph
        self.recipe = recipe
        self.prefix = prefix
        self.most = most
        self.also = also or {}
        self.weights: dict[str, Weight] = {}

    def vector(self, name: str, *shape: int) -> Tensor:
        """A float32 constant of any shape."""
        piece = Piece(self.prefix + name, 0, shape[0])
        return self._constants(_weight([piece], shape[1:], FLOAT, {piece.tensor: shape[0]}))[0]

    def linear(
        self,
        x: Tensor,
        name: str,
        n: int,
        *,
        bias: bool = True,
        norm: Norm | None = None,
        plus: Tensor | None = None,
        left: Left | None = None,
    ) -> Tensor:
        """The product x · Wᵀ (+ bias) with `NAME.weight` [n, K] and `NAME.bias` [n].

        Of x normed where there is a norm, of the row that x is chunks of where that is `left`;
        what is to be added to the product goes with it.
        """
        return self.joined(x, [(name, n)], bias=bias, norm=norm, plus=plus, left=left)

    def joined(
        self,
        x: Tensor,
        parts: Sequence[tuple[str, int]],
        *,
        bias: bool,
        norm: Norm | None = None,
        act: str | None = None,
        plus: Tensor | None = None,
        left: Left | None = None,
    ) -> Tensor:
        """The products of several linears with one x, side by side: […, Σ n], or their glu."""
        k: Dim = x.shape[-1]
        assert isinstance(k, int)
        k -= 4 * left.heads if left else 0
        blocks = self._blocks(parts, k)
        one, sizes = len(blocks) == 1, dict(parts)
        if (
            one and (chosen := blocks[0].format).quantized
        ):  # all of it is one op, and often one dispatch
            w, b = self._constants(blocks[0]), self._bias_of(blocks[0], sizes) if bias else None
            before: dict[str, Any] = {}
            if norm:
                before = {"norm": norm.weight, "eps": norm.eps, "offset": norm.offset}
            if left:
                before |= {"past": left.pos, "heads": left.heads, "window": left.window}
            return _LINEAR[chosen.name](x, *w, b, group=chosen.group, act=act, add=plus, **before)
        if left:
            x = joined_row(x, left, k)
        if norm:
            x = rms_norm(x, norm.weight, eps=norm.eps, offset=norm.offset)
        products = [self._product(x, w, self._bias_of(w, sizes) if bias else None) for w in blocks]
        y = products[0] if one else concat(*products)
        y = y if act is None else glu(y, act=act)
        return y if plus is None else add(plus, y)

    def _product(self, x: Tensor, weight: Weight, bias: Tensor | None) -> Tensor:
        w = self._constants(weight)
        if weight.format.quantized:
            return _LINEAR[weight.format.name](x, *w, bias, group=weight.format.group)
        return float_linear(x, w[0], bias)

    def _bias_of(self, weight: Weight, parts: Mapping[str, int]) -> Tensor:
        """The elements of the tensors' biases that belong to a block's rows."""
        rows = [Piece(_bias(p.tensor), p.first, p.rows) for p in weight.pieces]
        sizes = {f"{self.prefix}{name}.bias": n for name, n in parts.items()}
        return self._constants(_weight(rows, (), FLOAT, sizes))[0]

    def embedding(self, ids: Tensor, name: str, n: int, k: int) -> Tensor:
        """Rows of `NAME.weight` [n, k]; a head tied to it uses the same constants."""
        blocks = self._blocks([(name, n)], k)
        found = []
        for block in blocks:
            table = self._constants(block)
            first = block.pieces[0].first if len(blocks) > 1 else None
            if block.format.quantized:
                op = _EMBEDDING[block.format.name]
                found.append(op(ids, *table, group=block.format.group, first=first))
            else:
                found.append(float_embedding(ids, table[0], first=first))
        return reduce(add, found)

    def _blocks(self, parts: Sequence[tuple[str, int]], k: int) -> list[Weight]:
        """The weights of `parts`, joined as far as formats and `most` let them be."""
        blocks: list[tuple[Format, list[Piece]]] = []
        sizes = {f"{self.prefix}{name}.weight": n for name, n in parts}
        for tensor, n in sizes.items():
            chosen = self.recipe.format(tensor, *filter(None, [self.also.get(tensor)]))
            bits = chosen.packing.bits if chosen.quantized else 32
            most = max(self.most * 8 // (k * bits) // _ALIGNED * _ALIGNED, _ALIGNED)
            for first in range(0, n, most):
                piece = Piece(tensor, first, min(most, n - first))
                fits = blocks and sum(p.rows for p in blocks[-1][1]) + piece.rows <= most
                if fits and blocks[-1][0] == chosen:
                    blocks[-1][1].append(piece)
                else:
                    blocks.append((chosen, [piece]))
        return [_weight(pieces, (k,), chosen, sizes) for chosen, pieces in blocks]

    def _constants(self, weight: Weight) -> list[Tensor]:
        self.weights[weight.name] = weight
        known = self.graph.constants
        named = weight.constants.items()
        return [known[n] if n in known else self.graph.constant(n, s) for n, s in named]

    @property
    def tensors(self) -> dict[str, Weight]:
        """Every tensor of the checkpoint that the graph is made of, by name, whole."""
        last = {p.tensor: (p, w) for w in self.weights.values() for p in w.pieces}
        return {
            name: Weight((Piece(name, 0, p.first + p.rows),), w.row, w.format, name)
            for name, (p, w) in last.items()
        }

    @property
    def bits(self) -> float:
        """Bits a weight over the quantized matrices, scales included."""
        sizes = {w: math.prod(w.shape) for w in self.weights.values() if w.format.quantized}
        total = sum(size * w.format.bits for w, size in sizes.items())
        return total / max(sum(sizes.values()), 1) if sizes else 32.0


def _weight(
    pieces: Sequence[Piece], row: tuple[int, ...], chosen: Format, sizes: Mapping[str, int]
) -> Weight:
    """A weight with a name of its own: its tensors', and where one is cut, the rows."""
    whole = (p.rows == sizes[p.tensor] for p in pieces)
    labels = [
        p.tensor if w else f"{p.tensor}[{p.first}:{p.first + p.rows}]"
        for p, w in zip(pieces, whole, strict=True)
    ]
    return Weight(tuple(pieces), row, chosen, "+".join(labels))


def _bias(tensor: str) -> str:
    return tensor.removesuffix("weight") + "bias"
