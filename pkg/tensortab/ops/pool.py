"""mean_pool: y[b, :] = the mean of x[b, s, :] over the positions s whose mask is 1.

x     float32 [B, S, D]
mask  float32 [B, S], 1 where a token is, 0 where padding is; weights between count as such
y     float32 [B, D]; zeros where a row's mask is all 0
"""

from __future__ import annotations

import numpy as np

from ..dim import ceildiv
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import float32, require_float32

_KERNEL = load("mean_pool")


def _shape(x: Tensor, mask: Tensor) -> Spec:
    require_float32("mean_pool", x=x, mask=mask)
    if len(x.shape) != 3 or mask.shape != x.shape[:2]:
        raise ShapeError(
            f"mean_pool: x is {x.spec}, mask is {mask.spec}, expected [B, S, D], [B, S]"
        )
    return Spec((x.shape[0], x.shape[2]))


def _reference(x: Array, mask: Array) -> Array:
    weight = mask.astype(np.float64)[..., None]
    return float32((x * weight).sum(1) / np.maximum(weight.sum(1), 1))


def _lower(target: Target, y: Tensor, x: Tensor, mask: Tensor) -> list[Dispatch]:
    b, s, d = x.shape
    grid = fold(target, ceildiv(b * d, _KERNEL["WIDTH"]))
    return [dispatch(_KERNEL, grid, x=x, mask=mask, y=y, B=b, S=s, D=d)]


mean_pool = Op("mean_pool", _shape, _reference, _lower)
