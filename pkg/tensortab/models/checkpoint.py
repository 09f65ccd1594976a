"""A graph's weights and a checkpoint's tensors: which constant comes from which tensor, and how.

A float weight is a constant of the tensor's own name; a quantized one two constants, `NAME.packed`
and `NAME.scales`. Building the graph declares them; `fill` streams the file through: float32
tensors go to the device as they lie, without a copy in the Python heap; the others are read,
converted or quantized, written and dropped, one at a time. A checkpoint may also hold a weight
quantized already, under the constants' two names; then both go to the device as they lie.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from ..dim import Dim
from ..errors import FormatError
from ..graph import Graph
from ..op import Spec, Tensor
from ..ops import embedding as float_embedding
from ..ops import embedding_q4gsw, embedding_q8gsw, linear_q4gsw, linear_q8gsw
from ..ops import linear as float_linear
from ..quant.recipe import Recipe
from ..session import Session
from ..weights.safetensors import Entry, File

Progress = Callable[[str, int, int], None]  # stage, done, total (bytes or items)

_LINEAR = {"q4gsw": linear_q4gsw, "q8gsw": linear_q8gsw}
_EMBEDDING = {"q4gsw": embedding_q4gsw, "q8gsw": embedding_q8gsw}
_STORED = {"float32": "F32", "float16": "F16", "uint8": "U8", "int8": "I8"}  # as safetensors says


class Weights:
    """Declares a graph's constants under their tensors' names, in the formats of a recipe."""

    def __init__(self, graph: Graph, recipe: Recipe, prefix: str = "") -> None:
        self.graph = graph
        self.recipe = recipe
        self.prefix = prefix
        self.quantized: dict[str, tuple[int, int]] = {}  # tensor -> its [N, K]

    def vector(self, name: str, *shape: int) -> Tensor:
        """A float32 constant of any shape."""
        return self.graph.constant(self.prefix + name, Spec(shape))

    def linear(self, x: Tensor, name: str, n: int, *, bias: bool = True) -> Tensor:
        """The product x · Wᵀ (+ bias) with `NAME.weight` [n, K] and `NAME.bias` [n]."""
        k: Dim = x.shape[-1]
        assert isinstance(k, int)
        b = self.vector(f"{name}.bias", n) if bias else None
        chosen = self.recipe.format(f"{self.prefix}{name}.weight")
        weight = self._matrix(name, n, k)
        if not chosen.quantized:
            return float_linear(x, weight[0], b)
        return _LINEAR[chosen.name](x, *weight, b, group=chosen.group)

    def embedding(self, ids: Tensor, name: str, n: int, k: int) -> Tensor:
        """Rows of `NAME.weight` [n, k]; a head tied to it uses the same constant."""
        chosen = self.recipe.format(f"{self.prefix}{name}.weight")
        table = self._matrix(name, n, k)
        if not chosen.quantized:
            return float_embedding(ids, table[0])
        return _EMBEDDING[chosen.name](ids, *table, group=chosen.group)

    def _matrix(self, name: str, n: int, k: int) -> list[Tensor]:
        """`NAME.weight` [n, k] as one float constant, or as packed and scales."""
        weight = f"{self.prefix}{name}.weight"
        chosen = self.recipe.format(weight)
        specs = {weight: Spec((n, k))}
        if chosen.quantized:
            self.quantized[weight] = n, k
            packed = Spec((n, k * chosen.packing.bits // 8), np.dtype(chosen.packing.stored).name)
            scales = Spec((k // chosen.group, n), chosen.scales)
            specs = {f"{weight}.packed": packed, f"{weight}.scales": scales}
        known = self.graph.constants
        return [known[n] if n in known else self.graph.constant(n, s) for n, s in specs.items()]

    @property
    def bits(self) -> float:
        """Bits a weight over the quantized matrices, scales included."""
        sizes = {name: n * k for name, (n, k) in self.quantized.items()}
        total = sum(size * self.recipe.format(name).bits for name, size in sizes.items())
        return total / max(sum(sizes.values()), 1) if sizes else 32.0

    async def fill(self, session: Session, file: File, progress: Progress | None = None) -> None:
        """Read every constant of the graph from `file`; FormatError for a missing or odd tensor."""
        wanted = self._wanted(file)
        self._check(file, wanted)
        total = sum(_nbytes(file.tensors[n]) for n in wanted)
        done = 0
        for name in sorted(wanted, key=lambda n: file.tensors[n].start):
            await self._fill(session, file, name)
            done += _nbytes(file.tensors[name])
            if progress:
                progress("weights", done, total)
            await asyncio.sleep(0)  # a page's messages get their turn

    def _wanted(self, file: File) -> dict[str, Spec]:
        """The tensors to read; a quantized weight may lie there packed already."""
        parts = {f"{n}.{part}": n for n in self.quantized for part in ("packed", "scales")}
        wanted = {}
        for name, leaf in self.graph.constants.items():
            whole = parts.get(name)
            if whole is not None and name not in file.tensors:
                wanted[whole] = Spec(self.quantized[whole])
            elif name not in self.graph.values:  # those were computed, not trained
                wanted[name] = leaf.spec
        return wanted

    def _check(self, file: File, wanted: dict[str, Spec]) -> None:
        for name, spec in wanted.items():
            if name not in file.tensors:
                raise FormatError(
                    f"{file.source.name}: there is no tensor {name!r}, which the model's config"
                    " asks for"
                )
            found = file.tensors[name]
            packed = name not in self.quantized and spec.dtype != "float32"
            if found.shape != spec.at({}) or (packed and found.dtype != _STORED[spec.dtype]):
                raise FormatError(
                    f"{file.source.name}: {name!r} is {found.dtype}{list(found.shape)},"
                    f" expected {spec} (from the model's config)"
                )

    async def _fill(self, session: Session, file: File, name: str) -> None:
        if name in self.quantized:
            packed, scales = self.recipe.format(name).quantize(await file.array(name), name)
            session.fill(f"{name}.packed", packed)
            session.fill(f"{name}.scales", scales)
        elif file.tensors[name].dtype == _STORED[self.graph.constants[name].dtype]:
            session.fill(name, await file.foreign(name))
        else:
            session.fill(name, (await file.array(name)).astype(np.float32))


def _nbytes(entry: Entry) -> int:
    return entry.end - entry.start
