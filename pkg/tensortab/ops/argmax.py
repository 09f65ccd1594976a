"""argmax: y[…] = the index of the greatest element of x[…, :], the lowest where several are.

x  float32 or int32 […, D]; NaN is the greatest; −0 and denormals count as 0, as GPUs flush them
y  int32 […]

Two passes, so that a long row is shared by many workgroups: the best of each chunk, then of those.
Strategies, `lower`'s choice unless one is named:

    narrow  an invocation a chunk; no barrier; the choice for software
    wide    64 invocations a chunk
"""

from __future__ import annotations

import numpy as np

from ..dim import Dim, ceildiv, lower
from ..errors import ShapeError
from ..kernel import Kernel, load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import require_strategy, rows_of

_KERNEL = load("argmax")
STRATEGIES = ("narrow", "wide")


def kernel_for(strategy: str) -> Kernel:
    """The first pass, as a strategy has it."""
    if strategy == "wide":
        return _KERNEL.specialise(LANES=64, CHUNK=1024)
    return _KERNEL.specialise(LANES=1, ROWS=16, CHUNK=256)


def choose(target: Target, strategy: str | None) -> str:
    """The strategy for a device, unless one is named."""
    return strategy or ("narrow" if target.software else "wide")


def best_of_chunks(
    target: Target, kernel: Kernel, x: Tensor, **given: Tensor | Dim
) -> tuple[Dispatch, Tensor]:
    """The first pass, and its (image, index) pairs uint32 [rows, chunks, 2].

    `given` are the operands of a kernel that penalizes.
    """
    rows, d = rows_of(x), x.shape[-1]
    chunks = ceildiv(d, kernel["CHUNK"])
    pairs = Tensor(Spec((rows, chunks, 2), "uint32"))
    grid = fold(target, ceildiv(rows * chunks, kernel["ROWS"]))
    named = {**_unused(x), "rows": rows, "D": d, "chunks": chunks, **given}
    return dispatch(kernel, grid, x=x, y=pairs, **named), pairs


def best_of_pairs(target: Target, kernel: Kernel, y: Tensor, pairs: Tensor) -> Dispatch:
    """The pass after that: y is an index a row, or with `INDEX` off a pair."""
    rows, chunks = pairs.shape[:2]
    grid = fold(target, ceildiv(rows, kernel["ROWS"]))
    named = {**_unused(pairs), "rows": rows, "D": chunks, "chunks": 1}
    return dispatch(kernel.specialise(FINAL=True), grid, x=pairs, y=y, **named)


def _unused(x: Tensor) -> dict[str, Tensor | Dim]:
    scores = Tensor(Spec((1,), "uint32"))
    return {"seen": x, "settings": x, "fed": x, "scores": scores, "flags": 1}


def _shape(x: Tensor, *, strategy: str | None = None) -> Spec:
    if x.dtype not in ("float32", "int32"):
        raise ShapeError(f"argmax: x is {x.spec}, expected float32 or int32")
    require_strategy("argmax", strategy, STRATEGIES)
    if not x.shape or lower(x.shape[-1]) < 1:
        raise ShapeError(f"argmax: x is {x.spec}, expected […, D] with D at least 1")
    return Spec(x.shape[:-1], "int32")


def _reference(x: Array, *, strategy: str | None = None) -> Array:
    if x.dtype.kind == "f":
        x = np.where(np.abs(x) < np.finfo(np.float32).tiny, 0, x)
    return np.asarray(np.argmax(x, -1))


def _lower(target: Target, y: Tensor, x: Tensor, *, strategy: str | None = None) -> list[Dispatch]:
    kernel = kernel_for(choose(target, strategy)).specialise(WHOLE=x.dtype == "int32")
    first, pairs = best_of_chunks(target, kernel, x)
    return [first, best_of_pairs(target, kernel.specialise(INDEX=True), y, pairs)]


argmax = Op("argmax", _shape, _reference, _lower)
