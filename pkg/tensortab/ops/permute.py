"""Ops that move elements or rename dimensions. Any dtype of 4 bytes.

permute  y[i_a, i_b, …] = x[…] with y's dimension j being x's dimension axes[j]
reshape  the same elements in the same order under another shape: a view, no kernel
"""

from __future__ import annotations

import numpy as np

from ..dim import Dim, ceildiv, product
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import contiguous, fold4

_KERNEL = load("strided_copy")


def _permute_shape(x: Tensor, axes: tuple[int, ...]) -> Spec:
    if sorted(axes) != list(range(len(x.shape))):
        raise ShapeError(
            f"permute: axes are {axes}, expected each of 0 … {len(x.shape) - 1} once"
            f" (x is {x.spec})"
        )
    if np.dtype(x.dtype).itemsize != 4:
        raise ShapeError(f"permute: x is {x.spec}, expected a dtype of 4 bytes")
    return Spec(tuple(x.shape[a] for a in axes), x.dtype)


def _permute_lower(target: Target, y: Tensor, x: Tensor, axes: tuple[int, ...]) -> list[Dispatch]:
    strides = contiguous(x.shape)
    shape, walk = fold4("permute", y.shape, tuple(strides[a] for a in axes))
    grid = fold(target, ceildiv(product(y.shape), _KERNEL["WIDTH"]))
    fields = {f"d{i}": n for i, n in enumerate(shape)} | {f"s{i}": s for i, s in enumerate(walk)}
    return [dispatch(_KERNEL, grid, x=x, y=y, **fields)]


permute = Op("permute", _permute_shape, np.transpose, _permute_lower)


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
