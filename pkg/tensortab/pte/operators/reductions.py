"""Reductions, softmax, and normalizations along trailing dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import ops
from ...dim import product
from ...op import Tensor
from ...ops.as_strided import axis_of
from ..registry import Call, operator
from .elementwise import as_dtype
from .views import swapped

_OVER_DIMS: dict[str, Callable[..., Tensor]] = {
    "aten.amax.default": ops.amax,
    "aten.amin.default": ops.amin,
}
_OVER_DIMS_TO_DTYPE: dict[str, Callable[..., Tensor]] = {
    "aten.sum.dim_IntList": ops.sum,
    "aten.mean.dim": ops.mean,
}


def _enter(name: str, op: Callable[..., Tensor]) -> None:
    @operator(name)
    def build(call: Call, x: Tensor, dims: tuple[int, ...] | None, keep: bool, *_: Any) -> Tensor:
        word = "float32" if call.out.dtype == "float32" else "int32"
        return as_dtype(op(as_dtype(x, word), dims or (), keep=keep), call.out.dtype)


for _name, _op in (_OVER_DIMS | _OVER_DIMS_TO_DTYPE).items():
    _enter(_name, _op)


def _last(x: Tensor, dim: int, op: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply what works along the last dimension along another one."""
    if not x.shape:
        return ops.reshape(op(ops.reshape(x, (1,))), ())
    return swapped(op(swapped(x, dim, -1)), dim, -1)


@operator("aten.argmax.default")
def _argmax(call: Call, x: Tensor, dim: int | None, keep: bool) -> Tensor:
    return _arg(x, dim, keep)


@operator("aten.argmin.default")
def _argmin(call: Call, x: Tensor, dim: int | None, keep: bool) -> Tensor:
    x = _word(x)
    return _arg(ops.neg(x) if x.dtype == "float32" else ops.bitwise_not(x), dim, keep)


def _word(x: Tensor) -> Tensor:
    return x if x.dtype == "float32" else as_dtype(x, "int32")


def _arg(x: Tensor, dim: int | None, keep: bool) -> Tensor:
    """The index of the greatest element along a dimension, or of all."""
    x = _word(x)
    if dim is None or not x.shape:
        found = ops.argmax(ops.reshape(x, (product(x.shape),)))
        return ops.reshape(found, (1,) * len(x.shape)) if keep else found
    at = axis_of("argmax", x, dim)
    found = ops.argmax(swapped(x, at, -1))  # the last dimension stands where `dim` was
    rest = (*x.shape[:at], *x.shape[at + 1 :])
    if at < len(x.shape) - 1:
        found = swapped_back(found, at)
    return ops.reshape(found, (*x.shape[:at], 1, *x.shape[at + 1 :]) if keep else rest)


def swapped_back(x: Tensor, at: int) -> Tensor:
    """The last dimension's place after `at` and the last were swapped and the last went."""
    axes = [*range(at), *range(at + 1, len(x.shape)), at]
    return ops.permute(x, tuple(axes))


@operator("aten._softmax.default")
def _softmax(call: Call, x: Tensor, dim: int, _half: bool) -> Tensor:
    return _last(x, dim, ops.softmax)


@operator("aten._log_softmax.default")
def _log_softmax(call: Call, x: Tensor, dim: int, _half: bool) -> Tensor:
    axes = (axis_of("log_softmax", x, dim),)
    shifted = ops.sub(x, ops.amax(x, axes, keep=True))
    return ops.sub(shifted, ops.log(ops.sum(ops.exp(shifted), axes, keep=True)))


@operator("aten.native_layer_norm.default")
def _layer_norm(
    call: Call,
    x: Tensor,
    sizes: tuple[int, ...],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, ...]:
    lead = x.shape[: len(x.shape) - len(sizes)]
    if not sizes or x.shape[len(lead) :] != sizes:
        raise call.malformed(f"normalized_shape is {sizes}, of {x.spec}")
    width = product(sizes)
    rows = ops.reshape(x, (*lead, width))
    flat = [
        ops.full((width,), value) if t is None else ops.reshape(t, (width,))
        for t, value in ((weight, 1.0), (bias, 0.0))
    ]
    y = ops.reshape(ops.layer_norm(rows, flat[0], flat[1], eps=eps), x.shape)
    mean = ops.mean(rows, (-1,), keep=True)
    centred = ops.sub(rows, mean)
    spread = ops.rsqrt(ops.add(ops.mean(ops.mul(centred, centred), (-1,), keep=True), eps))
    ones = (1,) * len(sizes)
    return y, ops.reshape(mean, (*lead, *ones)), ops.reshape(spread, (*lead, *ones))


@operator("et_vk.rms_norm.default")
def _rms_norm(call: Call, x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return ops.rms_norm(x, weight, eps=eps)
