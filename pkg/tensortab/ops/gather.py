"""Ops that read where an int32 tensor says. x is of any dtype of 4 bytes.

gather        y[…, j, …] = x[…, index[…, j, …], …] along one axis; index has x's rank, and along the
              other dimensions at most its sizes
index_select  y = x[…, index, …] along one axis, for an index of any shape

An index below 0 counts from the end; one out of range is clamped, as a kernel cannot raise.
"""

from __future__ import annotations

import numpy as np

from ..dim import ceildiv, lower, product, upper
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .as_strided import axis_of
from .layout import Shape, contiguous, fold4

_KERNEL = load("gather")


def _check(op: str, x: Tensor, index: Tensor, axis: int) -> int:
    if np.dtype(x.dtype).itemsize != 4:
        raise ShapeError(f"{op}: x is {x.spec}, expected a dtype of 4 bytes")
    if index.dtype != "int32":
        raise ShapeError(f"{op}: index is {index.spec}, expected int32")
    at = axis_of(op, x, axis)
    if lower(x.shape[at]) < 1:
        raise ShapeError(f"{op}: x is {x.spec}, expected elements along dimension {axis}")
    return at


def _launch(
    op: str, target: Target, y: Tensor, x: Tensor, index: Tensor, at: int, s: Shape, t: Shape
) -> list[Dispatch]:
    """One dispatch: s are strides of x, t of index, in y's dimensions."""
    folded = zip("dst", fold4(op, y.shape, s, t), strict=True)
    fields = {f"{k}{i}": v for k, vs in folded for i, v in enumerate(vs)}
    grid = fold(target, ceildiv(product(y.shape), _KERNEL["WIDTH"]))
    along = {"pick": contiguous(x.shape)[at], "N": x.shape[at]}
    return [dispatch(_KERNEL, grid, x=x, index=index, y=y, **along, **fields)]


def _gather_shape(x: Tensor, index: Tensor, axis: int) -> Spec:
    at = _check("gather", x, index, axis)
    sizes = zip(index.shape, x.shape, strict=False)
    if len(index.shape) != len(x.shape) or any(
        upper(n) > upper(m) for d, (n, m) in enumerate(sizes) if d != at
    ):
        raise ShapeError(
            f"gather: index is {index.spec}, expected the rank of x, {x.spec}, and its sizes at"
            f" most but along dimension {axis}"
        )
    return Spec(index.shape, x.dtype)


def _gather_reference(x: Array, index: Array, axis: int) -> Array:
    n = x.shape[axis]
    rows = np.clip(np.where(index < 0, index + n, index), 0, n - 1)
    cut = tuple(slice(None) if d == axis % x.ndim else slice(m) for d, m in enumerate(index.shape))
    return np.take_along_axis(x[cut], rows, axis)


def _gather_lower(target: Target, y: Tensor, x: Tensor, index: Tensor, axis: int) -> list[Dispatch]:
    at = axis % len(x.shape)
    s = tuple(0 if d == at else n for d, n in enumerate(contiguous(x.shape)))
    return _launch("gather", target, y, x, index, at, s, contiguous(index.shape))


gather = Op("gather", _gather_shape, _gather_reference, _gather_lower)


def _select_shape(x: Tensor, index: Tensor, axis: int) -> Spec:
    at = _check("index_select", x, index, axis)
    return Spec((*x.shape[:at], *index.shape, *x.shape[at + 1 :]), x.dtype)


def _select_reference(x: Array, index: Array, axis: int) -> Array:
    n = x.shape[axis]
    return x.take(np.clip(np.where(index < 0, index + n, index), 0, n - 1), axis)


def _select_lower(target: Target, y: Tensor, x: Tensor, index: Tensor, axis: int) -> list[Dispatch]:
    at = axis % len(x.shape)
    strides, own = contiguous(x.shape), contiguous(index.shape)
    s = (*strides[:at], *[0] * len(own), *strides[at + 1 :])
    t = (*[0] * at, *own, *[0] * (len(x.shape) - at - 1))
    return _launch("index_select", target, y, x, index, at, s, t)


index_select = Op("index_select", _select_shape, _select_reference, _select_lower)
