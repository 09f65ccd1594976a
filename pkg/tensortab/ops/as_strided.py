"""Copies of parts of a tensor, read in another order. Any dtype of 4 bytes.

as_strided  y[i…] = x.flat[offset + Σ i · stride]; every place has to lie within x
expand      dimensions of 1 repeated, and new ones in front
flip        some dimensions backwards
repeat      x times as often along each dimension, as numpy's tile
slice       x[…, start : end : step, …] along one dimension; start and end may be live

All but the first are what the first makes of x for some strides. Strides and the offset may be
negative on the way: kernels count modulo 2³².
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..dim import Dim, ceildiv, lower, maximum, minimum, product, upper
from ..errors import ShapeError
from ..op import Array, Composite, Dispatch, Limit, Op, Spec, Tensor
from ..target import Target
from .layout import Shape, contiguous
from .permute import reshape
from .strided import strided


def _shape(x: Tensor, shape: Shape, strides: Shape, offset: Dim = 0) -> Spec:
    if np.dtype(x.dtype).itemsize != 4:
        raise ShapeError(f"as_strided: x is {x.spec}, expected a dtype of 4 bytes")
    if len(shape) != len(strides):
        raise ShapeError(f"as_strided: {len(strides)} strides, expected {len(shape)}, as of sizes")
    beyond, _, what = _limit(x, shape, strides, offset)
    if lower(beyond) > 0:
        raise ShapeError(f"as_strided: {what}, {x.spec}, is {beyond}, expected 0")
    return Spec(tuple(shape), x.dtype)


def _reference(
    x: Array, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0
) -> Array:
    steps = np.array(strides, np.int64).reshape(-1, *[1] * len(shape))
    at = offset + (np.indices(shape) * steps).sum(0, dtype=np.int64)
    found: Array = x.reshape(-1)[at]
    return found


def _lower(
    target: Target, y: Tensor, x: Tensor, shape: Shape, strides: Shape, offset: Dim = 0
) -> list[Dispatch]:
    return [strided("as_strided", target, y, x, shape, strides, contiguous(shape), x0=offset)]


def _limit(x: Tensor, shape: Shape, strides: Shape, offset: Dim = 0) -> Limit:
    """Sizes from 0 on, and every place within x: how far they are from that."""
    last, least = offset, offset
    for n, s in zip(shape, strides, strict=True):
        reach = (n - 1) * s
        last, least = last + maximum(reach, 0), least + minimum(reach, 0)
    beyond: Dim = maximum(last - (product(x.shape) - 1), -least)
    if any(n == 0 for n in shape):
        beyond = 0
    for n in shape:
        beyond = maximum(beyond, -n)
    return beyond, 0, f"how far the places {_text(shape)} by {_text(strides)} are beyond x"


as_strided = Op("as_strided", _shape, _reference, _lower, limit=_limit)


def axis_of(op: str, x: Tensor, axis: int) -> int:
    """A dimension counted from the front."""
    rank = len(x.shape)
    if not -rank <= axis < rank:
        raise ShapeError(f"{op}: axis is {axis}, expected {-rank} to {rank - 1} (x is {x.spec})")
    return axis % rank


@Composite
def expand(x: Tensor, shape: Shape) -> Tensor:
    """Repeat dimensions of 1 up to `shape`, which may have more dimensions in front."""
    lead = len(shape) - len(x.shape)
    pairs = zip(x.shape, shape[lead:], strict=lead >= 0)
    if lead < 0 or any(n not in (1, m) for n, m in pairs):
        raise ShapeError(f"expand: x is {x.spec}, which does not repeat to [{_text(shape)}]")
    own = zip(x.shape, contiguous(x.shape), shape[lead:], strict=True)
    strides = (*[0] * lead, *(s if n == m else 0 for n, s, m in own))
    return as_strided(x, tuple(shape), strides)


@Composite
def flip(x: Tensor, axes: Iterable[int]) -> Tensor:
    """Read the dimensions `axes` from their ends."""
    turned = {axis_of("flip", x, a) for a in axes}
    strides = contiguous(x.shape)
    offset: Dim = 0
    for a in turned:
        offset = offset + (x.shape[a] - 1) * strides[a]
    walk = tuple(-s if a in turned else s for a, s in enumerate(strides))
    return as_strided(x, x.shape, walk, offset)


@Composite
def repeat(x: Tensor, times: tuple[int, ...]) -> Tensor:
    """Lay x beside itself; more numbers than dimensions mean new ones in front."""
    lead = len(times) - len(x.shape)
    if lead < 0 or any(n < 0 for n in times):
        raise ShapeError(f"repeat: times are {times}, expected numbers from 0, {len(x.shape)} or"
                         f" more (x is {x.spec})")  # fmt: skip
    sizes = (*[1] * lead, *x.shape)
    y = x
    for axis, n in enumerate(times):  # one at a time: few strides, whatever the rank
        if n != 1:
            strides = contiguous(sizes)
            split = (*sizes[:axis], n, *sizes[axis:])
            y = as_strided(y, split, (*strides[:axis], 0, *strides[axis:]))
            sizes = (*sizes[:axis], n * sizes[axis], *sizes[axis + 1 :])
    return _renamed(y, sizes)


@Composite
def slice(  # noqa: A001  # PyTorch's name
    x: Tensor, axis: int, start: Dim = 0, end: Dim | None = None, step: int = 1
) -> Tensor:
    """Take every `step`th of start … end − 1 along one dimension.

    Whole numbers count from the end where negative, and are cut to the dimension; live ones have
    to lie within it.
    """
    at = axis_of("slice", x, axis)
    n = x.shape[at]
    if step < 1:
        raise ShapeError(f"slice: step is {step}, expected at least 1")
    first, last = _place(start, n), n if end is None else _place(end, n)
    length = last - first
    if isinstance(length, int):
        length = max(length, 0)
    elif lower(length) < 0 and upper(length) > upper(n):
        raise ShapeError(f"slice: {first} … {last} of {x.spec}, a length that may be anything")
    strides = contiguous(x.shape)
    walk = (*strides[:at], strides[at] * step, *strides[at + 1 :])
    shape = (*x.shape[:at], ceildiv(length, step), *x.shape[at + 1 :])
    return as_strided(x, shape, walk, first * strides[at])


def _place(place: Dim, n: Dim) -> Dim:
    if not isinstance(place, int):
        return place
    if place < 0:
        place_from_end = n + place
        return max(place_from_end, 0) if isinstance(place_from_end, int) else place_from_end
    return n if place >= upper(n) else place


def _renamed(x: Tensor, shape: Shape) -> Tensor:
    return x if x.shape == shape else reshape(x, shape)


def _text(shape: Shape) -> str:
    return ", ".join(map(str, shape))
