"""One kernel for all that is a matter of strides."""

from __future__ import annotations

from ..dim import Dim, ceildiv, lower, product
from ..kernel import load
from ..op import Dispatch, Tensor, dispatch, fold
from ..target import Target
from .layout import Shape, fold4

_KERNEL = load("strided_copy")


def strided(
    op: str,
    target: Target,
    y: Tensor,
    x: Tensor,
    shape: Shape,
    s: Shape,
    t: Shape,
    *,
    x0: Dim = 0,
    y0: Dim = 0,
) -> Dispatch:
    """Copy `shape` elements from x at x0, by the strides s, to y at y0, by the strides t.

    Strides of x may be negative: the kernel counts modulo 2³².
    """
    folded = dict(zip("dst", fold4(op, shape, s, t), strict=True))
    fields = {f"{name}{i}": n for name, row in folded.items() for i, n in enumerate(row)}
    fields = {k: n if lower(n) >= 0 else n + (1 << 32) for k, n in fields.items()}
    grid = fold(target, ceildiv(product(shape), _KERNEL["WIDTH"]))
    return dispatch(_KERNEL, grid, x=x, y=y, **fields, x0=x0, y0=y0)
