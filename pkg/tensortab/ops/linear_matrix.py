"""The `matrix` strategy of linear_q4gsw: rows become float16, the GPU's matrix units multiply.

Products are of float16, sums float32: against the other strategies y is off by about 3e-4 of its
largest magnitude. Each row of x is scaled by a power of 2 first, so that nothing overflows.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import ceildiv, upper
from ..kernel import load
from ..op import Dispatch, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import rows_of

ROWS = 64  # from here on worth it
_MATRIX = load("linear_qgsw_matrix")
_HALVE = load("halve_rows")
_MANY_WORKGROUPS = 200  # by measurement (one H200): fewer of the large ones leave a GPU half empty


def matrix(
    target: Target, y: Tensor, x: Tensor, operands: Mapping[str, Tensor | None], group: int
) -> list[Dispatch]:
    """The dispatches for y = x · dequantize(packed)ᵀ (+ bias)."""
    bound = {name: t or x for name, t in operands.items()}
    m, n, k = rows_of(x), upper(bound["packed"].shape[0]), upper(x.shape[-1])
    halves, factor = Tensor(Spec((m, k), "float16")), Tensor(Spec((m,)))
    large = -(-upper(m) // 128) * -(-n // 128) >= _MANY_WORKGROUPS
    tiles = 4 if large else 2
    kernel = _MATRIX.specialise(
        HALF=bound["scales"].dtype == "float16",
        BIAS=operands["bias"] is not None,
        TILES=tiles,
        STEP=64 if not large and k % 64 == 0 else 32,
    )
    grid = fold(target, ceildiv(m, 32 * tiles) * ceildiv(n, 32 * tiles))
    return [
        dispatch(_HALVE, fold(target, m), x=x, halves=halves, factor=factor, M=m, K=k),
        dispatch(kernel, grid, **bound, x=halves, factor=factor, y=y, M=m, N=n, K=k, group=group),
    ]
