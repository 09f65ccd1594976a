"""Rows of activations to 8 bits and back, each row with the scale and zero point it needs.

    choose_scale       scale[m] = max((high' − low') / (high − low), eps)      float32 [rows]
    choose_zero_point  zero_point[m] = clamp(low − round(low' / scale[m]), low, high)  int8 [rows]
    fake_quantize      y[m, k] = (clamp(round(x[m, k] · (1/scale[m])) + zero_point[m], low, high)
                                  − zero_point[m]) · scale[m]

    x  float32 […, K]; rows are all of its dimensions but the last

low' = min(row, 0) and high' = max(row, 0), so that 0 is a code. A row with NaN or ∞ has the scale
∞, and NaN once it is faked. low … high are the codes, −128 … 127 unless given. Rounding is half to
even, arithmetic float32; a GPU may divide less exactly than IEEE 754 asks, so that what lies within
a few ulp of half-way may round the other way. Source: torchao's choose_qparams_affine (asymmetric)
and fake quantization.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..dim import ceildiv, product
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import float32, require_float32, rows_of
from .norm import shared_rows
from .quantize import require_codes

_CHOOSE = load("choose_qparams")
_FAKE = load("fake_quantize")
_EPS = float(np.finfo(np.float32).eps)
_CODES = (-128, 127)
Ends = tuple[int, int]


def _check(op: str, x: Tensor, ends: Ends) -> None:
    require_float32(op, x=x)
    if not x.shape:
        raise ShapeError(f"{op}: x is {x.spec}, expected at least one dimension")
    if not _CODES[0] <= ends[0] <= 0 <= ends[1] <= _CODES[1] or ends[0] == ends[1]:
        raise ShapeError(
            f"{op}: codes from {ends[0]} to {ends[1]}, expected within −128 … 127, 0 among them"
        )


def _choose_shape(op: str, x: Tensor, *, ends: Ends = _CODES, eps: float = _EPS) -> Spec:
    _check(op, x, ends)
    return Spec(x.shape[:-1], "float32" if op == "choose_scale" else "int8")


def _choose_reference(op: str, x: Array, *, ends: Ends = _CODES, eps: float = _EPS) -> Array:
    v = np.where(np.isnan(x), np.inf, x)
    least, most = np.minimum(v.min(-1), 0), np.maximum(v.max(-1), 0)
    scale: Array = np.maximum((most - least) / np.float32(ends[1] - ends[0]), np.float32(eps))
    if op == "choose_scale":
        return scale
    place = np.divide(least, scale, out=np.zeros_like(scale), where=np.isfinite(scale))
    zero_point: Array = np.clip(ends[0] - np.rint(place), *ends)
    return zero_point


def _choose_lower(
    op: str, target: Target, y: Tensor, x: Tensor, *, ends: Ends = _CODES, eps: float = _EPS
) -> list[Dispatch]:
    points = op == "choose_zero_point"
    rows, k = rows_of(x), x.shape[-1]
    each = 4 if points else 1  # an invocation's rows
    kernel = shared_rows(_CHOOSE, target, each * k, ZERO_POINT=points)
    grid = fold(target, ceildiv(ceildiv(rows, each), kernel["ROWS"]))
    fields = {"rows": rows, "K": k, "low": ends[0], "high": ends[1], "eps": eps}
    return [dispatch(kernel, grid, x=x, y=y, **fields)]


def _choose(name: str) -> Op[...]:
    return Op(
        name,
        partial(_choose_shape, name),
        partial(_choose_reference, name),
        partial(_choose_lower, name),
    )


choose_scale = _choose("choose_scale")
choose_zero_point = _choose("choose_zero_point")


def _fake_shape(x: Tensor, scale: Tensor, zero_point: Tensor, *, ends: Ends = _CODES) -> Spec:
    _check("fake_quantize", x, ends)
    require_float32("fake_quantize", scale=scale)
    require_codes("fake_quantize", zero_point=zero_point)
    for name, t in (("scale", scale), ("zero_point", zero_point)):
        if product(t.shape) != rows_of(x):
            raise ShapeError(
                f"fake_quantize: {name} is {t.spec}, expected one for each row of x, {x.spec}"
            )
    return x.spec


def _fake_reference(x: Array, scale: Array, zero_point: Array, *, ends: Ends = _CODES) -> Array:
    s = scale.reshape(*x.shape[:-1], 1)
    zero = float32(zero_point.reshape(s.shape))
    codes: Array = np.clip(np.rint(x * (np.float32(1) / s)) + zero, *ends)
    return (codes - zero) * s


def _fake_lower(
    target: Target, y: Tensor, x: Tensor, scale: Tensor, zero_point: Tensor, *, ends: Ends = _CODES
) -> list[Dispatch]:
    n = product(x.shape)
    grid = fold(target, ceildiv(n, 4 * _FAKE["WIDTH"]))
    operands = {"x": x, "scales": scale, "zero_points": zero_point, "y": y}
    fields = {"n": n, "K": x.shape[-1], "low": ends[0], "high": ends[1]}
    return [dispatch(_FAKE, grid, **operands, **fields)]


fake_quantize = Op("fake_quantize", _fake_shape, _fake_reference, _fake_lower)
