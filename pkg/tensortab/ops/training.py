"""What a training step needs. float32.

    adamw_moment   m ← β·m + (1 − β)·g, or with `squared` v ← β·v + (1 − β)·g²
    adamw_update   p ← (1 − lr·weight_decay)·p − lr · (m / correction1) / (√(v / correction2) + eps)
                   of the moments after their step; Loshchilov & Hutter, arXiv 1711.05101
    linear_q4gsw_backward   y[…, K] = g[…, N] · dequantize(w)[N, K], the gradient of
                            linear_q4gsw by its x
    requantize_q4gsw        w [N, K] → packed uint8 [N, ⌈K/2⌉] for given scales

The first two write their first operand. packed and scales are quant/'s q4gsw. A code is
clamp(round(w / scale), −8, 7), half to even, and 0 where the scale is 0; scales [⌈K/group⌉, N] may
have more columns than N. Divisions are as exact as the GPU's. Source: ExecuTorch's adamw_step,
linear_q4gsw_backward and q4gsw_requant (et_vk).
"""

from __future__ import annotations

import numpy as np

from ..dim import ceildiv, product, upper
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..quant import q4gsw
from ..target import Target
from .layout import float32, require_float32, rows_of

_ADAMW = load("adamw")
_BACKWARD = load("linear_q4gsw_backward")
_REQUANTIZE = load("requantize_q4gsw")
_FIRST, _SECOND, _UPDATE = 0, 1, 2


def _alike(op: str, state: Tensor, **tensors: Tensor) -> Spec:
    require_float32(op, state=state, **tensors)
    for name, t in tensors.items():
        if t.shape != state.shape:
            raise ShapeError(f"{op}: {name} is {t.spec}, expected {state.spec}, what is written")
    return state.spec


def _adamw_dispatch(
    target: Target, y: Tensor, a: Tensor, b: Tensor, code: int, **numbers: float
) -> list[Dispatch]:
    kernel = _ADAMW.specialise(OP=code)
    n = product(y.shape)
    fields = {"correction1": 1.0, "correction2": 1.0, "eps": 0.0, **numbers}
    grid = fold(target, ceildiv(n, kernel["WIDTH"]))
    return [dispatch(kernel, grid, a=a, b=b, state=y, n=n, **fields)]


def _moment_shape(state: Tensor, g: Tensor, *, beta: float, squared: bool = False) -> Spec:
    return _alike("adamw_moment", state, g=g)


def _moment_reference(state: Array, g: Array, *, beta: float, squared: bool = False) -> Array:
    v = g.astype(np.float64)
    return float32(beta * state.astype(np.float64) + (1 - beta) * (v * v if squared else v))


def _moment_lower(
    target: Target, y: Tensor, state: Tensor, g: Tensor, *, beta: float, squared: bool = False
) -> list[Dispatch]:
    return _adamw_dispatch(
        target, y, g, g, _SECOND if squared else _FIRST, keep=beta, gain=1 - beta
    )


adamw_moment = Op("adamw_moment", _moment_shape, _moment_reference, _moment_lower, writes=0)


def _update_shape(
    state: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    lr: float,
    eps: float,
    weight_decay: float,
    corrections: tuple[float, float],
) -> Spec:
    if 0 in corrections:
        raise ShapeError(f"adamw_update: corrections are {corrections}, expected none of them 0")
    return _alike("adamw_update", state, m=m, v=v)


def _update_reference(
    state: Array,
    m: Array,
    v: Array,
    *,
    lr: float,
    eps: float,
    weight_decay: float,
    corrections: tuple[float, float],
) -> Array:
    first, second = (a.astype(np.float64) / c for a, c in zip((m, v), corrections, strict=True))
    step = lr * first / (np.sqrt(second) + eps)
    return float32((1 - lr * weight_decay) * state.astype(np.float64) - step)


def _update_lower(
    target: Target,
    y: Tensor,
    state: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    lr: float,
    eps: float,
    weight_decay: float,
    corrections: tuple[float, float],
) -> list[Dispatch]:
    numbers = {"keep": 1 - lr * weight_decay, "gain": lr, "eps": eps}
    numbers |= {"correction1": corrections[0], "correction2": corrections[1]}
    return _adamw_dispatch(target, y, m, v, _UPDATE, **numbers)


adamw_update = Op("adamw_update", _update_shape, _update_reference, _update_lower, writes=0)


def _backward_shape(g: Tensor, packed: Tensor, scales: Tensor, *, group: int) -> Spec:
    op = "linear_q4gsw_backward"
    require_float32(op, g=g, scales=scales)
    if (
        packed.dtype != "uint8"
        or len(packed.shape) != 2
        or not g.shape
        or g.shape[-1] != packed.shape[0]
    ):
        raise ShapeError(
            f"{op}: g is {g.spec}, packed is {packed.spec}, expected […, N] and [N, K/2]"
        )
    n, k = packed.shape[0], upper(packed.shape[1]) * 2
    if group not in (32, 64, 128) or k % group or scales.shape != (k // group, n):
        raise ShapeError(
            f"{op}: scales is {scales.spec}, group is {group}, expected a group of 32, 64 or 128"
            f" that divides K = {k}, and [K/group, N] with N = {n}"
        )
    return Spec((*g.shape[:-1], k))


def _backward_reference(g: Array, packed: Array, scales: Array, *, group: int) -> Array:
    return float32(g.astype(np.float64) @ q4gsw.dequantize(packed, scales))


def _backward_lower(
    target: Target, y: Tensor, g: Tensor, packed: Tensor, scales: Tensor, *, group: int
) -> list[Dispatch]:
    m, n, k = rows_of(g), packed.shape[0], y.shape[-1]
    kernel = _BACKWARD.specialise(ROWS=min(max(upper(m), 1), 8))
    work = ceildiv(m, kernel["ROWS"]) * ceildiv(k, 8)
    operands = {"g": g, "packed": packed, "scales": scales, "y": y}
    grid = fold(target, ceildiv(work, kernel["WIDTH"]))
    return [dispatch(kernel, grid, **operands, M=m, N=n, K=k, group=group)]


linear_q4gsw_backward = Op(
    "linear_q4gsw_backward", _backward_shape, _backward_reference, _backward_lower
)


def _requantize_shape(w: Tensor, scales: Tensor, *, group: int) -> Spec:
    op = "requantize_q4gsw"
    require_float32(op, w=w, scales=scales)
    if len(w.shape) != 2 or group < 1:
        raise ShapeError(f"{op}: w is {w.spec}, group is {group}, expected [N, K] and at least 1")
    n, k = (upper(d) for d in w.shape)
    least = (-(-k // group), n)
    if len(scales.shape) != 2 or any(
        upper(a) < b for a, b in zip(scales.shape, least, strict=True)
    ):
        raise ShapeError(
            f"{op}: scales is {scales.spec}, expected at least {list(least)}"
            f" (K / group = {k} / {group}, N = {n} rows of w)"
        )
    return Spec((n, -(-k // 2)), "uint8")


def _requantize_reference(w: Array, scales: Array, *, group: int) -> Array:
    n, k = w.shape
    scale = scales[:, :n].T[:, np.arange(k) // group]
    ratio = np.divide(w, scale, out=np.zeros_like(w), where=scale != 0)
    codes = (np.clip(np.rint(ratio), -8, 7) + 8).astype(np.uint8)
    even, odd = codes[:, ::2], np.zeros((n, -(-k // 2)), np.uint8)
    odd[:, : k // 2] = codes[:, 1::2]
    return even | odd << 4


def _requantize_lower(
    target: Target, y: Tensor, w: Tensor, scales: Tensor, *, group: int
) -> list[Dispatch]:
    n = product(y.shape)
    grid = fold(target, ceildiv(n, 4 * _REQUANTIZE["WIDTH"]))
    fields = {"n": n, "K": w.shape[1], "group": group, "N": scales.shape[1]}
    return [dispatch(_REQUANTIZE, grid, w=w, scales=scales, y=y, **fields)]


requantize_q4gsw = Op(
    "requantize_q4gsw", _requantize_shape, _requantize_reference, _requantize_lower
)
