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

from ..dim import ceildiv, lower
from ..errors import ShapeError
from ..kernel import Kernel, load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import require_strategy, rows_of

_KERNEL = load("argmax")
STRATEGIES = ("narrow", "wide")


def _kernel(strategy: str) -> Kernel:
    if strategy == "wide":
        return _KERNEL.specialise(LANES=64, CHUNK=1024)
    return _KERNEL.specialise(LANES=1, ROWS=16, CHUNK=256)


def choose(target: Target, strategy: str | None) -> str:
    """The strategy for a device, unless one is named."""
    return strategy or ("narrow" if target.software else "wide")


def passes(target: Target, y: Tensor, x: Tensor, strategy: str | None) -> list[Dispatch]:
    """The dispatches that fill y, an index of 4 bytes for each row of x."""
    first = _kernel(choose(target, strategy)).specialise(WHOLE=x.dtype == "int32")
    last = first.specialise(FINAL=True)
    rows, d = rows_of(x), x.shape[-1]
    chunks = ceildiv(d, first["CHUNK"])
    pairs = Tensor(Spec((rows, chunks, 2), "uint32"))
    grid = fold(target, ceildiv(rows * chunks, first["ROWS"]))
    final = fold(target, ceildiv(rows, last["ROWS"]))
    return [
        dispatch(first, grid, x=x, y=pairs, rows=rows, D=d, chunks=chunks),
        dispatch(last, final, x=pairs, y=y, rows=rows, D=chunks, chunks=1),
    ]


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
    return passes(target, y, x, strategy)


argmax = Op("argmax", _shape, _reference, _lower)
