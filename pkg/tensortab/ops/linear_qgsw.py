"""y = x · dequantize(w)ᵀ (+ bias), w in symmetric groups along K; layouts as quant/ states them.

    linear_q4gsw   packed uint8 [N, K/2]
    linear_q8gsw   packed int8 [N, K]
    x       float32 […, K]
    scales  float32 or float16 [K/group, N]
    bias    float32 [N], optional
    y       float32 […, N]

Strategies: `tile` (each invocation a tile of y, no barrier, anywhere).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..dim import ceildiv, upper
from ..errors import ShapeError
from ..graph import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..kernel import load
from ..quant import q4gsw, q8gsw
from ..target import Target
from .layout import float32, require_float32, require_vector, rows_of

_TILE = load("linear_qgsw_tile")
_DTYPE = {4: "uint8", 8: "int8"}


def _shape(
    bits: int, x: Tensor, packed: Tensor, scales: Tensor, bias: Tensor | None = None, *, group: int
) -> Spec:
    op = f"linear_q{bits}gsw"
    require_float32(op, x=x)
    if len(packed.shape) != 2 or packed.dtype != _DTYPE[bits]:
        raise ShapeError(f"{op}: packed is {packed.spec}, expected {_DTYPE[bits]}[N, K·{bits}/8]")
    n, k = packed.shape[0], upper(packed.shape[1]) * 8 // bits
    if not x.shape or x.shape[-1] != k:
        raise ShapeError(
            f"{op}: packed is {packed.spec}, so it holds K = {k} weights a row; x is {x.spec}"
        )
    if group not in (32, 64, 128) or k % group:
        raise ShapeError(f"{op}: group is {group}, expected 32, 64 or 128 and a divisor of K = {k}")
    if scales.shape != (k // group, n) or scales.dtype not in ("float32", "float16"):
        raise ShapeError(
            f"{op}: scales is {scales.spec}, expected float32[{k // group}, {n}]"
            f" (K / group = {k} / {group}, N = {n} rows of packed)"
        )
    require_vector(op, "bias", bias, n, f"N = {n} rows of packed")
    return Spec((*x.shape[:-1], n))


def _reference(
    bits: int, x: Array, packed: Array, scales: Array, bias: Array | None = None, *, group: int
) -> Array:
    weight = (q4gsw if bits == 4 else q8gsw).dequantize(packed, scales)
    y = x.astype(np.float64) @ weight.T
    return float32(y if bias is None else y + bias)


def _lower(
    bits: int,
    target: Target,
    y: Tensor,
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    bias: Tensor | None = None,
    *,
    group: int,
) -> list[Dispatch]:
    m, n, k = rows_of(x), packed.shape[0], x.shape[-1]
    kernel = _TILE.specialise(
        BITS=bits,
        HALF=scales.dtype == "float16",
        BIAS=bias is not None,
        ROWS=4 if upper(m) > 1 else 1,
    )
    tiles = ceildiv(m, kernel["ROWS"]) * ceildiv(n, kernel["COLS"])
    operands = {"x": x, "packed": packed, "scales": scales, "bias": bias or x, "y": y}
    grid = fold(target, ceildiv(tiles, kernel["WIDTH"]))
    return [dispatch(kernel, grid, **operands, M=m, N=n, K=k, group=group)]


def _op(bits: int) -> Op[...]:
    parts = (partial(f, bits) for f in (_shape, _reference, _lower))
    return Op(f"linear_q{bits}gsw", *parts)


linear_q4gsw = _op(4)
linear_q8gsw = _op(8)
