"""Ops that move elements or rename dimensions. Any dtype of 4 bytes.

permute  y[i_a, i_b, …] = x[…] with y's dimension j being x's dimension axes[j]
narrow   y = x[…, start : start + length, …] along one axis
concat   operands one after the other along one axis
reshape  the same elements in the same order under another shape: a view, no kernel
"""

from __future__ import annotations

import numpy as np

from ..dim import Dim, product
from ..errors import ShapeError
from ..op import Array, Dispatch, Op, Spec, Tensor
from ..target import Target
from .layout import contiguous
from .strided import strided


def _permute_shape(x: Tensor, axes: tuple[int, ...]) -> Spec:
    if sorted(axes) != list(range(len(x.shape))):
        raise ShapeError(
            f"permute: axes are {axes}, expected each of 0 … {len(x.shape) - 1} once"
            f" (x is {x.spec})"
        )
    _require_words("permute", x)
    return Spec(tuple(x.shape[a] for a in axes), x.dtype)


def _permute_lower(target: Target, y: Tensor, x: Tensor, axes: tuple[int, ...]) -> list[Dispatch]:
    strides = contiguous(x.shape)
    walk = tuple(strides[a] for a in axes)
    return [strided("permute", target, y, x, y.shape, walk, contiguous(y.shape))]


permute = Op("permute", _permute_shape, np.transpose, _permute_lower)


def _narrow_shape(x: Tensor, axis: int, start: int, length: int) -> Spec:
    _require_words("narrow", x)
    at = _axis("narrow", x, axis)
    n = x.shape[at]
    if not isinstance(n, int) or not 0 <= start <= start + length <= n or length < 1:
        raise ShapeError(
            f"narrow: {start} … {start + length} of dimension {axis} of {x.spec}, expected a"
            " range that is not empty, of a dimension that is not live"
        )
    return Spec((*x.shape[:at], length, *x.shape[at + 1 :]), x.dtype)


def _narrow_reference(x: Array, axis: int, start: int, length: int) -> Array:
    return np.take(x, range(start, start + length), axis)


def _narrow_lower(
    target: Target, y: Tensor, x: Tensor, axis: int, start: int, length: int
) -> list[Dispatch]:
    strides = contiguous(x.shape)
    first = start * strides[axis % len(x.shape)]
    return [strided("narrow", target, y, x, y.shape, strides, contiguous(y.shape), x0=first)]


narrow = Op("narrow", _narrow_shape, _narrow_reference, _narrow_lower)


def _concat_shape(*xs: Tensor, axis: int = -1) -> Spec:
    if not xs:
        raise ShapeError("concat: there are no operands, expected at least one")
    at = _axis("concat", xs[0], axis)
    rest = [(*t.shape[:at], *t.shape[at + 1 :], t.dtype, len(t.shape)) for t in xs]
    for t, shape in zip(xs, rest, strict=True):
        _require_words("concat", t)
        if shape != rest[0]:
            raise ShapeError(
                f"concat: {t.spec} does not join {xs[0].spec} along dimension {axis}: all else has"
                " to be the same"
            )
    joined: Dim = 0
    for t in xs:
        joined = joined + t.shape[at]
    return Spec((*xs[0].shape[:at], joined, *xs[0].shape[at + 1 :]), xs[0].dtype)


def _concat_reference(*xs: Array, axis: int = -1) -> Array:
    return np.concatenate(xs, axis)


def _concat_lower(target: Target, y: Tensor, *xs: Tensor, axis: int = -1) -> list[Dispatch]:
    strides = contiguous(y.shape)
    steps = []
    first: Dim = 0
    for x in xs:
        steps.append(
            strided("concat", target, y, x, x.shape, contiguous(x.shape), strides, y0=first)
        )
        first = first + x.shape[axis] * strides[axis]
    return steps


concat = Op("concat", _concat_shape, _concat_reference, _concat_lower)


def _axis(op: str, x: Tensor, axis: int) -> int:
    rank = len(x.shape)
    if not -rank <= axis < rank:
        raise ShapeError(f"{op}: axis is {axis}, expected {-rank} to {rank - 1} (x is {x.spec})")
    return axis % rank


def _require_words(op: str, x: Tensor) -> None:
    if np.dtype(x.dtype).itemsize != 4:
        raise ShapeError(f"{op}: x is {x.spec}, expected a dtype of 4 bytes")


def _reshape_shape(x: Tensor, shape: tuple[Dim, ...]) -> Spec:
    if product(shape) != product(x.shape):
        raise ShapeError(
            f"reshape: {x.spec} has {product(x.shape)} elements,"
            f" [{', '.join(map(str, shape))}] has {product(shape)}"
        )
    return Spec(tuple(shape), x.dtype)


def _reshape_reference(x: Array, shape: tuple[int, ...]) -> Array:
    return x.reshape(shape)


reshape = Op("reshape", _reshape_shape, _reshape_reference, None)
