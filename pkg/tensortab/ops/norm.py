"""Normalizations along the last dimension, D. float32.

layer_norm    y = (x − mean) / √(var + eps) · weight + bias;  Ba et al., arXiv 1607.06450
rms_norm      y = x / √(mean(x²) + eps) · (offset + weight);  Zhang & Sennrich, arXiv 1910.07467;
              offset is 0, or 1 for weights stored as their distance from one (Gemma's)
l2_normalize  y = x / max(‖x‖, eps)
softmax       y = exp(x) / Σ exp(x); a row that is all −∞ (masked) gives zeros, one with ∞
              or NaN gives NaN

weight and bias are [D].
"""

from __future__ import annotations

import numpy as np

from ..dim import Dim, ceildiv, upper
from ..errors import ShapeError
from ..kernel import Kernel, load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import float32, require_float32, require_vector, rows_of

_NORM = load("row_norm")
_SOFTMAX = load("softmax")
_LAYER, _RMS, _L2 = 0, 1, 2


# llvmpipe ends an invocation after 65,535 turns of its loops; a lone lane walks a row three times.
_LONGEST_ALONE = 16384


def shared_rows(kernel: Kernel, target: Target, d: Dim, **knobs: int) -> Kernel:
    """Set how a row of `d` is shared: by no one, so without barriers, where the GPU is imitated."""
    if target.software and upper(d) <= _LONGEST_ALONE:
        return kernel.specialise(LANES=1, ROWS=8, **knobs)
    return kernel.specialise(LANES=256 if upper(d) >= 1024 else 64, ROWS=1, **knobs)


def _check(op: str, x: Tensor, **vectors: Tensor) -> Spec:
    require_float32(op, x=x)
    if not x.shape:
        raise ShapeError(f"{op}: x is {x.spec}, expected at least one dimension")
    for name, t in vectors.items():
        require_vector(op, name, t, x.shape[-1], f"the last dimension of x, {x.spec}")
    return x.spec


def _lower(
    code: int,
    target: Target,
    y: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    offset: float = 0.0,
) -> list[Dispatch]:
    kernel = shared_rows(_NORM, target, x.shape[-1], OP=code)
    grid = fold(target, ceildiv(rows_of(x), kernel["ROWS"]))
    operands = {"x": x, "weight": weight, "bias": bias, "y": y}
    sizes = {"rows": rows_of(x), "D": x.shape[-1], "period": 1, "cells": 1}
    return [dispatch(kernel, grid, **operands, **sizes, eps=eps, offset=offset)]


def _layer_shape(x: Tensor, weight: Tensor, bias: Tensor, *, eps: float = 1e-5) -> Spec:
    return _check("layer_norm", x, weight=weight, bias=bias)


def _layer_reference(x: Array, weight: Array, bias: Array, *, eps: float = 1e-5) -> Array:
    v = x.astype(np.float64)
    centred = v - v.mean(-1, keepdims=True)
    return float32(centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias)


def _layer_lower(
    target: Target, y: Tensor, x: Tensor, weight: Tensor, bias: Tensor, *, eps: float = 1e-5
) -> list[Dispatch]:
    return _lower(_LAYER, target, y, x, weight, bias, eps)


layer_norm = Op("layer_norm", _layer_shape, _layer_reference, _layer_lower)


def _rms_shape(x: Tensor, weight: Tensor, *, eps: float = 1e-6, offset: float = 0.0) -> Spec:
    return _check("rms_norm", x, weight=weight)


def _rms_reference(x: Array, weight: Array, *, eps: float = 1e-6, offset: float = 0.0) -> Array:
    v = x.astype(np.float64)
    return float32(v / np.sqrt((v**2).mean(-1, keepdims=True) + eps) * (offset + weight))


def _rms_lower(
    target: Target,
    y: Tensor,
    x: Tensor,
    weight: Tensor,
    *,
    eps: float = 1e-6,
    offset: float = 0.0,
) -> list[Dispatch]:
    return _lower(_RMS, target, y, x, weight, weight, eps, offset)


rms_norm = Op("rms_norm", _rms_shape, _rms_reference, _rms_lower)


def _l2_shape(x: Tensor, *, eps: float = 1e-12) -> Spec:
    return _check("l2_normalize", x)


def _l2_reference(x: Array, *, eps: float = 1e-12) -> Array:
    v = x.astype(np.float64)
    return float32(v / np.maximum(np.sqrt((v**2).sum(-1, keepdims=True)), eps))


def _l2_lower(target: Target, y: Tensor, x: Tensor, *, eps: float = 1e-12) -> list[Dispatch]:
    return _lower(_L2, target, y, x, x, x, eps)


l2_normalize = Op("l2_normalize", _l2_shape, _l2_reference, _l2_lower)


def _softmax_shape(x: Tensor) -> Spec:
    return _check("softmax", x)


def _softmax_reference(x: Array) -> Array:
    v = x.astype(np.float64)
    e = np.exp(v - np.maximum(v.max(-1, keepdims=True), np.finfo(np.float32).min))
    total = e.sum(-1, keepdims=True)
    return float32(np.divide(e, total, out=np.zeros_like(e), where=total != 0))


def _softmax_lower(target: Target, y: Tensor, x: Tensor) -> list[Dispatch]:
    kernel = shared_rows(_SOFTMAX, target, x.shape[-1])
    grid = fold(target, ceildiv(rows_of(x), kernel["ROWS"]))
    return [dispatch(kernel, grid, x=x, y=y, rows=rows_of(x), D=x.shape[-1])]


softmax = Op("softmax", _softmax_shape, _softmax_reference, _softmax_lower)
