"""Normalizations of x [N, C, …], with a weight and a bias for each channel. float32.

    batch_norm  y = (x − mean[c]) / √(var[c] + eps) · weight[c] + bias[c], statistics given
    group_norm  the same with mean and variance of the C/groups channels that c is in, in one n
    group_mean  mean of each group, float32 [N, groups]
    group_rstd  1 / √(var + eps) of each group, float32 [N, groups]

mean, var, weight and bias are [C]; weight and bias may be None. The variance is that of the whole
group (not of a sample). Ioffe & Szegedy, arXiv 1502.03167; Wu & He, arXiv 1803.08494.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..dim import Dim, ceildiv, product, upper
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import float32, require_float32, require_vector
from .norm import shared_rows

_CHANNELS = load("channel_norm")
_ROWS = load("row_norm")
_GROUP, _MEAN, _RSTD = 3, 4, 5


def _check(op: str, x: Tensor, **vectors: Tensor | None) -> None:
    require_float32(op, x=x)
    if len(x.shape) < 2:
        raise ShapeError(f"{op}: x is {x.spec}, expected [N, C, …]")
    for name, t in vectors.items():
        require_vector(op, name, t, x.shape[1], f"C of x, {x.spec}")


def _columns(v: Array | None, x: Array, default: float) -> Array:
    """A number for each channel, against x; `default` for none."""
    full = np.full(x.shape[1], default) if v is None else v.astype(np.float64)
    return full.reshape(-1, *[1] * (x.ndim - 2))


def _batch_shape(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
) -> Spec:
    _check("batch_norm", x, mean=mean, var=var, weight=weight, bias=bias)
    return x.spec


def _batch_reference(
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
) -> Array:
    centred = x.astype(np.float64) - _columns(mean, x, 0)
    normal = centred / np.sqrt(_columns(var, x, 1) + eps)
    return float32(normal * _columns(weight, x, 1) + _columns(bias, x, 0))


def _batch_lower(
    target: Target,
    y: Tensor,
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
) -> list[Dispatch]:
    kernel = _CHANNELS.specialise(WEIGHT=weight is not None, BIAS=bias is not None)
    n = product(x.shape)
    operands = {"x": x, "mean": mean, "variance": var, "weight": weight or x, "bias": bias or x}
    sizes = {"n": n, "C": x.shape[1], "cells": product(x.shape[2:])}
    grid = fold(target, ceildiv(n, kernel["WIDTH"]))
    return [dispatch(kernel, grid, **operands, y=y, **sizes, eps=eps)]


batch_norm = Op("batch_norm", _batch_shape, _batch_reference, _batch_lower)


def _check_groups(op: str, x: Tensor, groups: int) -> None:
    if groups < 1 or upper(x.shape[1]) % groups:
        raise ShapeError(f"{op}: groups is {groups}, expected a divisor of C = {x.shape[1]}")


def _grouped(x: Array, groups: int) -> Array:
    """X as [N, groups, elements], in float64."""
    return x.astype(np.float64).reshape(len(x), groups, -1)


def _group_dispatch(
    target: Target,
    y: Tensor,
    x: Tensor,
    groups: int,
    eps: float,
    code: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
) -> list[Dispatch]:
    cells: Dim = product(x.shape[2:])
    d = upper(x.shape[1]) // groups * cells
    rows = x.shape[0] * groups
    kernel = shared_rows(_ROWS, target, d, OP=code)
    operands = {"x": x, "weight": weight or x, "bias": bias or x, "y": y}
    fields = {"rows": rows, "D": d, "eps": eps, "offset": 0.0, "period": groups, "cells": cells}
    grid = fold(target, ceildiv(rows, kernel["ROWS"]))
    return [dispatch(kernel, grid, **operands, **fields)]


def _group_shape(
    x: Tensor, weight: Tensor, bias: Tensor, *, groups: int, eps: float = 1e-5
) -> Spec:
    _check("group_norm", x, weight=weight, bias=bias)
    _check_groups("group_norm", x, groups)
    return x.spec


def _group_reference(
    x: Array, weight: Array, bias: Array, *, groups: int, eps: float = 1e-5
) -> Array:
    v = _grouped(x, groups)
    centred = v - v.mean(-1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return float32(normal.reshape(x.shape) * _columns(weight, x, 1) + _columns(bias, x, 0))


def _group_lower(
    target: Target,
    y: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    groups: int,
    eps: float = 1e-5,
) -> list[Dispatch]:
    return _group_dispatch(target, y, x, groups, eps, _GROUP, weight, bias)


group_norm = Op("group_norm", _group_shape, _group_reference, _group_lower)


def _statistic_shape(op: str, x: Tensor, *, groups: int, eps: float = 1e-5) -> Spec:
    _check(op, x)
    _check_groups(op, x, groups)
    return Spec((x.shape[0], groups))


def _statistic_reference(op: str, x: Array, *, groups: int, eps: float = 1e-5) -> Array:
    v = _grouped(x, groups)
    return float32(v.mean(-1) if op == "group_mean" else 1 / np.sqrt(v.var(-1) + eps))


def _statistic_lower(
    op: str, target: Target, y: Tensor, x: Tensor, *, groups: int, eps: float = 1e-5
) -> list[Dispatch]:
    return _group_dispatch(target, y, x, groups, eps, _MEAN if op == "group_mean" else _RSTD)


def _statistic(name: str) -> Op[...]:
    return Op(
        name,
        partial(_statistic_shape, name),
        partial(_statistic_reference, name),
        partial(_statistic_lower, name),
    )


group_mean = _statistic("group_mean")
group_rstd = _statistic("group_rstd")
