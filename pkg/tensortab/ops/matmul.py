"""Products of float32 matrices.

mm      y[M, N] = a[M, K] · w[K, N]
bmm     y[…, M, N] = a[…, M, K] · w[…, K, N], the leading dimensions alike
linear  y[…, N] = x[…, K] · w[N, K]ᵀ (+ bias[N])

With `transposed`, bmm's w is […, N, K]. Strategies, `lower`'s choice unless one is named:

    tile  each invocation a tile of y; no barrier, anywhere; the choice for software and few rows
    gemm  many rows: tiles of a and w through workgroup memory
"""

from __future__ import annotations

import numpy as np

from ..dim import Dim, ceildiv, product, upper
from ..errors import ShapeError
from ..kernel import Kernel, load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import float32, require_float32, require_strategy, require_vector, rows_of

_TILE = load("matmul_tile")
_GEMM = load("matmul_gemm")
_STRATEGIES = ("tile", "gemm")
_FEW_ROWS = 8  # up to here a tile of gemm would be mostly empty


def _product_lower(
    target: Target,
    y: Tensor,
    a: Tensor,
    w: Tensor,
    bias: Tensor | None,
    sizes: tuple[Dim, Dim, Dim, Dim],
    batched: bool,
    transposed: bool,
    strategy: str | None,
) -> list[Dispatch]:
    batch, m, n, k = sizes
    few = target.software or upper(m) <= _FEW_ROWS
    kernel, workgroups = _launch(strategy or ("tile" if few else "gemm"), batch, m, n)
    return [
        dispatch(
            kernel.specialise(TRANSPOSED=transposed, BIAS=bias is not None),
            fold(target, workgroups),
            a=a,
            w=w,
            bias=bias or w,
            y=y,
            B=batch,
            M=m,
            N=n,
            K=k,
            a_batch=m * k if batched else 0,
            w_batch=n * k if batched else 0,
        )
    ]


def _launch(strategy: str, batch: Dim, m: Dim, n: Dim) -> tuple[Kernel, Dim]:
    """The kernel with its rows, and how many workgroups cover y."""
    rows = upper(m)
    if strategy == "tile":
        kernel = _TILE.specialise(ROWS=min(max(rows, 1), 16))
        tiles = batch * ceildiv(m, kernel["ROWS"]) * ceildiv(n, 4)
        return kernel, ceildiv(tiles, kernel["WIDTH"])
    kernel = _GEMM.specialise(ROWS=min(max(-(-rows // 16), 1), 4))
    return kernel, batch * ceildiv(m, 16 * kernel["ROWS"]) * ceildiv(n, 64)


def _bmm_shape(
    a: Tensor, w: Tensor, *, transposed: bool = False, strategy: str | None = None
) -> Spec:
    return _product_shape("bmm", a, w, transposed, strategy)


def _product_shape(op: str, a: Tensor, w: Tensor, transposed: bool, strategy: str | None) -> Spec:
    require_float32(op, a=a, w=w)
    require_strategy(op, strategy, _STRATEGIES)
    if len(a.shape) < 2 or len(w.shape) != len(a.shape) or a.shape[:-2] != w.shape[:-2]:
        raise ShapeError(f"{op}: a is {a.spec}, w is {w.spec}, expected matrices in equal batches")
    n, k = (w.shape[-2], w.shape[-1]) if transposed else (w.shape[-1], w.shape[-2])
    if k != a.shape[-1]:
        raise ShapeError(
            f"{op}: a is {a.spec}, so K = {a.shape[-1]}; w is {w.spec}"
            f"{' transposed' if transposed else ''}, so K = {k}"
        )
    return Spec((*a.shape[:-1], n))


def _bmm_reference(
    a: Array, w: Array, *, transposed: bool = False, strategy: str | None = None
) -> Array:
    return float32(a.astype(np.float64) @ (w.swapaxes(-1, -2) if transposed else w))


def _bmm_lower(
    target: Target,
    y: Tensor,
    a: Tensor,
    w: Tensor,
    *,
    transposed: bool = False,
    strategy: str | None = None,
) -> list[Dispatch]:
    sizes = product(a.shape[:-2]), y.shape[-2], y.shape[-1], a.shape[-1]
    return _product_lower(target, y, a, w, None, sizes, True, transposed, strategy)


bmm = Op("bmm", _bmm_shape, _bmm_reference, _bmm_lower)


def _mm_shape(a: Tensor, w: Tensor, *, strategy: str | None = None) -> Spec:
    if len(a.shape) != 2:
        raise ShapeError(f"mm: a is {a.spec}, expected two dimensions")
    return _product_shape("mm", a, w, transposed=False, strategy=strategy)


def _mm_reference(a: Array, w: Array, *, strategy: str | None = None) -> Array:
    return _bmm_reference(a, w)


def _mm_lower(
    target: Target, y: Tensor, a: Tensor, w: Tensor, *, strategy: str | None = None
) -> list[Dispatch]:
    return _bmm_lower(target, y, a, w, strategy=strategy)


mm = Op("mm", _mm_shape, _mm_reference, _mm_lower)


def _linear_shape(
    x: Tensor, w: Tensor, bias: Tensor | None = None, *, strategy: str | None = None
) -> Spec:
    require_float32("linear", x=x, w=w)
    require_strategy("linear", strategy, _STRATEGIES)
    if len(w.shape) != 2 or not x.shape or x.shape[-1] != w.shape[1]:
        raise ShapeError(f"linear: x is {x.spec}, w is {w.spec}, expected […, K] and [N, K]")
    require_vector("linear", "bias", bias, w.shape[0], f"N = {w.shape[0]} rows of w")
    return Spec((*x.shape[:-1], w.shape[0]))


def _linear_reference(
    x: Array, w: Array, bias: Array | None = None, *, strategy: str | None = None
) -> Array:
    y = x.astype(np.float64) @ w.T
    return float32(y if bias is None else y + bias)


def _linear_lower(
    target: Target,
    y: Tensor,
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    strategy: str | None = None,
) -> list[Dispatch]:
    sizes = 1, rows_of(x), w.shape[0], w.shape[1]
    return _product_lower(target, y, x, w, bias, sizes, False, True, strategy)


linear = Op("linear", _linear_shape, _linear_reference, _linear_lower)
