"""y = x · dequantize(w)ᵀ (+ bias), w in symmetric groups along K; layouts as quant/ states them.

    linear_q4gsw   packed uint8 [N, K/2]
    linear_q8gsw   packed int8 [N, K]
    x       float32 […, K]
    scales  float32 or float16 [K/group, N]
    bias    float32 [N], optional
    y       float32 […, N]

A group may also be a whole row: group = K, a multiple of 32. With `high_first` the high nibble is
the even k (ExecuTorch's et_vk.linear_qcs4w has both).

Strategies, `lower`'s choice unless one is named:

    tile            each invocation a tile of y; no barrier, anywhere; the choice for software
    gemv_subgroups  up to 16 rows of x: a workgroup walks along K together, subgroups add up
    gemv            the same without subgroups, through workgroup memory
    gemm            many rows: tiles of x and of dequantized w through workgroup memory
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ..dim import Dim, ceildiv, upper
from ..errors import ShapeError, UnsupportedError
from ..kernel import Kernel, load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..quant import q4gsw, q8gsw
from ..target import Target
from .layout import float32, require_float32, require_strategy, require_vector, rows_of

_TILE = load("linear_qgsw_tile")
_GEMM = load("linear_qgsw_gemm")
_GEMV_SUBGROUPS = load("linear_qgsw_gemv")
# The same file where an invocation is a subgroup: the sum over it is the value.
_GEMV = replace(
    _GEMV_SUBGROUPS,
    source=_GEMV_SUBGROUPS.source.replace(
        "enable subgroups;", "fn subgroupAdd(v: vec4<f32>) -> vec4<f32> { return v; }"
    ),
)
_STRATEGIES = ("tile", "gemv_subgroups", "gemv", "gemm")
_GEMV_ROWS = 16  # LANES × 16 rows × a vec4 are the 16 KiB of workgroup memory every adapter has
_FEW_ROWS = 8  # up to here gemv is chosen
_DTYPE = {4: "uint8", 8: "int8"}


def _shape(
    bits: int,
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    bias: Tensor | None = None,
    *,
    group: int,
    high_first: bool = False,
    strategy: str | None = None,
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
    if group not in (32, 64, 128, k) or k % group or group % 32:
        raise ShapeError(
            f"{op}: group is {group}, expected 32, 64 or 128 and a divisor of K = {k}, or K itself"
            " if that is a multiple of 32"
        )
    if scales.shape != (k // group, n) or scales.dtype not in ("float32", "float16"):
        raise ShapeError(
            f"{op}: scales is {scales.spec}, expected float32[{k // group}, {n}]"
            f" (K / group = {k} / {group}, N = {n} rows of packed)"
        )
    if high_first and bits != 4:
        raise UnsupportedError(f"{op}: high_first is for 4 bits, two codes to a byte")
    require_vector(op, "bias", bias, n, f"N = {n} rows of packed")
    require_strategy(op, strategy, _STRATEGIES)
    if strategy in ("gemv", "gemv_subgroups") and upper(rows_of(x)) > _GEMV_ROWS:
        raise UnsupportedError(
            f"{op}: strategy {strategy!r} takes up to {_GEMV_ROWS} rows, x is {x.spec}"
        )
    return Spec((*x.shape[:-1], n))


def _reference(
    bits: int,
    x: Array,
    packed: Array,
    scales: Array,
    bias: Array | None = None,
    *,
    group: int,
    high_first: bool = False,
    strategy: str | None = None,
) -> Array:
    # A scale for every 32 weights: groups of any length that an op takes.
    codes = packed << 4 | packed >> 4 if high_first else packed
    weight = (q4gsw if bits == 4 else q8gsw).dequantize(codes, scales.repeat(group // 32, 0))
    y = x.astype(np.float64) @ weight.T
    return float32(y if bias is None else y + bias)


def _choose(target: Target, m: int) -> str:
    if target.software:
        return "tile"
    if m > _FEW_ROWS:
        return "gemm"
    return "gemv_subgroups" if "subgroups" in target.features else "gemv"


def _launch(strategy: str, m: Dim, n: Dim) -> tuple[Kernel, Dim]:
    """The kernel with its rows, and how many workgroups cover y."""
    rows = max(upper(m), 1)
    if strategy == "tile":
        kernel = _TILE.specialise(ROWS=min(rows, 16))
        tiles = ceildiv(m, kernel["ROWS"]) * ceildiv(n, 4)
        return kernel, ceildiv(tiles, kernel["WIDTH"])
    if strategy == "gemm":
        kernel = _GEMM.specialise(ROWS=min(-(-rows // 16), 4))
        return kernel, ceildiv(m, 16 * kernel["ROWS"]) * ceildiv(n, 64)
    kernel = _GEMV if strategy == "gemv" else _GEMV_SUBGROUPS
    return kernel.specialise(ROWS=rows), ceildiv(n, 4)


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
    high_first: bool = False,
    strategy: str | None = None,
) -> list[Dispatch]:
    m, n, k = rows_of(x), packed.shape[0], x.shape[-1]
    kernel, workgroups = _launch(strategy or _choose(target, upper(m)), m, n)
    kernel = kernel.specialise(
        BITS=bits,
        HIGH_FIRST=high_first,
        HALF=scales.dtype == "float16",
        BIAS=bias is not None,
    )
    operands = {"x": x, "packed": packed, "scales": scales, "bias": bias or x, "y": y}
    return [dispatch(kernel, fold(target, workgroups), **operands, M=m, N=n, K=k, group=group)]


def _op(bits: int) -> Op[...]:
    return Op(
        f"linear_q{bits}gsw",
        partial(_shape, bits),
        partial(_reference, bits),
        partial(_lower, bits),
    )


linear_q4gsw = _op(4)
linear_q8gsw = _op(8)
