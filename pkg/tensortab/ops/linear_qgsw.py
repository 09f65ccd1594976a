"""y = x · dequantize(w)ᵀ (+ bias), w in symmetric groups along K; layouts as quant/ states them.

What a decoder does before and after may be asked for with it, since one row is then one dispatch:

    norm  float32 [K]: rms_norm(x, norm, eps, offset) in the place of x
    past  join_chunks(x, past, heads, K / heads, window) in the place of x, which is what
          attend_chunks left of one row: so y is [1, 1, N]
    act   "silu" or "gelu_tanh": y is glu(y, act), so half as wide
    add   float32, as y is: is added last

    linear_q4gsw   packed uint8 [N, K/2]
    linear_q8gsw   packed int8 [N, K]
    x       float32 […, K]
    scales  float32 or float16 [K/group, N]
    bias    float32 [N], optional
    y       float32 […, N], or […, N/2] with act

A group may also be a whole row: group = K, a multiple of 32. With `high_first` the high nibble is
the even k (ExecuTorch's et_vk.linear_qcs4w has both).

Strategies, `lower`'s choice unless one is named:

    tile            each invocation a tile of y; no barrier, anywhere; the choice for software
    vector          one row of x, everything in one dispatch; needs subgroups; where a GPU has
                    packed dot products x becomes integers of 16 bits, as with `dots`
    gemv_subgroups  up to 16 rows of x: a workgroup walks along K together, subgroups add up
    gemv            the same without subgroups, through workgroup memory
    gemm            many rows: tiles of x and of dequantized w through workgroup memory
    dots            many rows, low nibble first: x as integers of 16 bits, products by dot4I8Packed
                    (linear_dots.py: y is off by about 3e-5 of its largest magnitude)
    matrix          many rows, 4 bits, rows of y whole vec4s: the GPU's matrix units, where the
                    browser has them (linear_matrix.py: float16 products)

Many rows are one dispatch, after another for the norm; with `matrix` and `dots` the other one is
always there, since it rounds x, too. Where tiles of y are few, K is cut into slices, and one more
dispatch adds them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..dim import upper
from ..errors import ShapeError, UnsupportedError
from ..op import Array, Dispatch, Op, Spec, Tensor
from ..quant import q4gsw, q8gsw
from ..target import Target
from .attend_chunks import join_chunks, joined_row
from .chunks import Left
from .elementwise import add as plus
from .glu import glu, require_activation
from .layout import float32, require_float32, require_strategy, require_vector, rows_of
from .linear_dots import dots
from .linear_gemm import gemm
from .linear_matrix import ROWS as MATRIX_ROWS
from .linear_matrix import matrix
from .linear_matrix import takes as matrix_takes
from .linear_operands import sizes_of
from .linear_tiled import tiled
from .linear_vector import joins, vector
from .norm import rms_norm

_STRATEGIES = ("tile", "vector", "gemv_subgroups", "gemv", "gemm", "dots", "matrix")
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
    norm: Tensor | None = None,
    eps: float = 1e-6,
    offset: float = 0.0,
    act: str | None = None,
    add: Tensor | None = None,
    past: Tensor | int = 0,
    heads: int = 0,
    window: int | None = None,
    strategy: str | None = None,
) -> Spec:
    op = f"linear_q{bits}gsw"
    require_float32(op, x=x)
    if heads:
        x = joined_row(x, Left(past, heads, window), upper(packed.shape[-1]) * 8 // bits)
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
    require_vector(op, "bias", bias, n, f"N = {n} rows of packed")
    require_vector(op, "norm", norm, k, f"K = {k} weights a row")
    y = _result(op, Spec((*x.shape[:-1], n)), act)
    if add is not None and add.spec != y:
        raise ShapeError(f"{op}: add is {add.spec}, expected {y}, what it is added to")
    _check_strategy(op, bits, x, strategy, high_first=high_first)
    if strategy == "matrix" and not matrix_takes(upper(n), act):
        raise UnsupportedError(f"{op}: strategy 'matrix' takes y of whole vec4s a row, y is {y}")
    return y


def _check_strategy(
    op: str, bits: int, x: Tensor, strategy: str | None, *, high_first: bool
) -> None:
    """What each of them takes."""
    if high_first and bits != 4:
        raise UnsupportedError(f"{op}: high_first is for 4 bits, two codes to a byte")
    if high_first and strategy in ("vector", "dots", "matrix"):
        raise UnsupportedError(f"{op}: strategy {strategy!r} takes the low nibble first")
    if bits != 4 and strategy == "matrix":
        raise UnsupportedError(f"{op}: strategy 'matrix' takes 4 bits")
    require_strategy(op, strategy, _STRATEGIES)
    most = {"vector": 1, "gemv": _GEMV_ROWS, "gemv_subgroups": _GEMV_ROWS}.get(strategy or "")
    if most is not None and upper(rows_of(x)) > most:
        raise UnsupportedError(
            f"{op}: strategy {strategy!r} takes up to {most} rows, x is {x.spec}"
        )


def _result(op: str, y: Spec, act: str | None) -> Spec:
    """What the product becomes by `act`."""
    if act is None:
        return y
    require_activation(op, act)
    *rows, n = y.shape
    if not isinstance(n, int) or n % 2:
        raise ShapeError(f"{op}: act halves y, which is {y}; expected an even N")
    return Spec((*rows, n // 2))


def _reference(
    bits: int,
    x: Array,
    packed: Array,
    scales: Array,
    bias: Array | None = None,
    *,
    group: int,
    high_first: bool = False,
    norm: Array | None = None,
    eps: float = 1e-6,
    offset: float = 0.0,
    act: str | None = None,
    add: Array | None = None,
    past: Array | int = 0,
    heads: int = 0,
    window: int | None = None,
    strategy: str | None = None,
) -> Array:
    # A scale for every 32 weights: groups of any length that an op takes.
    codes = packed << 4 | packed >> 4 if high_first else packed
    weight = (q4gsw if bits == 4 else q8gsw).dequantize(codes, scales.repeat(group // 32, 0))
    if heads:
        k = weight.shape[1]
        x = join_chunks.reference(x, past, heads=heads, head_dim=k // heads, window=window)
        x = x.reshape(1, 1, k)
    v = x if norm is None else rms_norm.reference(x, norm, eps=eps, offset=offset)
    y = v.astype(np.float64) @ weight.T
    y = y if bias is None else y + bias
    y = y if act is None else glu.reference(y, act=act)
    return float32(y if add is None else y + add)


def _joined(target: Target, row: Tensor) -> Sequence[Dispatch]:
    """The dispatches of a joined_row, which takes the chunks' place: nobody reads them again."""
    joined = row.args[0]
    return join_chunks.lowered(target, joined, *joined.args, **joined.kwargs)


def _choose(target: Target, m: int, n: int, bits: int, act: str | None, *, high_first: bool) -> str:
    if target.software:
        return "tile"
    matrices = m >= MATRIX_ROWS and target.matrices and bits == 4
    if matrices and matrix_takes(n, act) and not high_first:
        return "matrix"
    if m > _FEW_ROWS:
        return "dots" if bits == 4 and not high_first and target.packed_dots else "gemm"
    if "subgroups" not in target.features:
        return "gemv"
    return "vector" if m == 1 and not high_first else "gemv_subgroups"


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
    norm: Tensor | None = None,
    eps: float = 1e-6,
    offset: float = 0.0,
    act: str | None = None,
    add: Tensor | None = None,
    past: Tensor | int = 0,
    heads: int = 0,
    window: int | None = None,
    strategy: str | None = None,
) -> list[Dispatch]:
    rows = 1 if heads else upper(rows_of(x))
    n = upper(packed.shape[0])
    chosen = strategy or _choose(target, rows, n, bits, act, high_first=high_first)
    operands = {"packed": packed, "scales": scales, "bias": bias}
    whole = operands | {"add": add}
    left, steps = Left(past, heads, window) if heads else None, list[Dispatch]()
    if left and not (chosen == "vector" and joins(target, left, x, packed, act)):
        x = joined_row(x, left, sizes_of(packed)[2])
        steps += _joined(target, x)
        left = None
    if chosen == "vector":
        surrounded = whole | {"norm": norm}
        step = vector(target, y, x, surrounded, group, act, left, eps=eps, offset=offset)
        return [*steps, step]
    if chosen in ("dots", "matrix"):
        by = dots if chosen == "dots" else matrix
        return [*steps, *by(target, y, x, whole, group, act, norm, eps=eps, offset=offset)]
    if norm is not None:
        normed = Tensor(x.spec)
        steps += rms_norm.lowered(target, normed, x, norm, eps=eps, offset=offset)
        x = normed
    if chosen == "gemm":
        return [*steps, *gemm(target, y, x, whole, group, act, high_first=high_first)]
    product = y if act is None and add is None else Tensor(Spec((*x.shape[:-1], packed.shape[0])))
    steps.append(tiled(chosen, target, product, x, operands, group, high_first=high_first))
    if act is not None:
        gated = y if add is None else Tensor(y.spec)
        steps += glu.lowered(target, gated, product, act=act)
        product = gated
    if add is not None:
        steps += plus.lowered(target, y, product, add)
    return steps


def _op(bits: int) -> Op[...]:
    return Op(
        f"linear_q{bits}gsw",
        partial(_shape, bits),
        partial(_reference, bits),
        partial(_lower, bits),
    )


linear_q4gsw = _op(4)
linear_q8gsw = _op(8)
