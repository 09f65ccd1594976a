"""Operators that compute each element from one element of each operand: a line an operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ... import ops
from ...op import Tensor, buffer_of
from ...ops.layout import contiguous
from ..registry import Call, Number, operator

_Make: TypeAlias = Callable[..., Tensor]
_UNARY: dict[str, _Make] = {
    "aten.abs.default": ops.abs,
    "aten.exp.default": ops.exp,
    "aten.sqrt.default": ops.sqrt,
    "aten.rsqrt.default": ops.rsqrt,
    "aten.sin.default": ops.sin,
    "aten.cos.default": ops.cos,
    "aten.tanh.default": ops.tanh,
    "aten.round.default": ops.round,
    "aten.neg.default": ops.neg,
    "aten.relu.default": ops.relu,
    "aten.sigmoid.default": ops.sigmoid,
    "aten.hardswish.default": ops.hardswish,
    "aten.bitwise_not.default": ops.bitwise_not,
}
_SCALED: dict[str, _Make] = {
    "aten.add.Tensor": ops.add,
    "aten.sub.Tensor": ops.sub,
}  # b comes with a factor
_BINARY: dict[str, _Make] = {
    "aten.mul.Tensor": ops.mul,
    "aten.div.Tensor": ops.div,
    "aten.minimum.default": ops.minimum,
    "aten.pow.Tensor_Tensor": ops.pow,
}
_COMPARED: dict[str, _Make] = {
    "eq": ops.eq,
    "ne": ops.ne,
    "lt": ops.lt,
    "le": ops.le,
    "gt": ops.gt,
    "ge": ops.ge,
}
_BITWISE: dict[str, _Make] = {"and": ops.bitwise_and, "or": ops.bitwise_or}


def as_dtype(x: Tensor, dtype: str) -> Tensor:
    """The tensor in a dtype; itself where it has it."""
    return x if x.dtype == dtype else ops.convert(x, dtype)


def computed(op: _Make, dtype: str, *operands: Tensor) -> Tensor:
    """An op on tensors of a dtype; of codes of 8 bits in int32, of which the low bits stay."""
    word = "int32" if dtype in ("uint8", "int8") else dtype
    return as_dtype(op(*(as_dtype(t, word) for t in operands)), dtype)


def _common(a: Tensor, b: Tensor) -> str:
    """The dtype in which two tensors meet."""
    if a.dtype == b.dtype:
        return a.dtype
    return "float32" if "float32" in (a.dtype, b.dtype) else "int32"


def _number(x: Tensor, value: Number) -> tuple[Tensor, float]:
    """Operands of an op with a number: whole tensors meet a fraction as float32."""
    whole = float(value).is_integer() and -(1 << 31) <= value < 1 << 31
    return (x if whole else as_dtype(x, "float32")), float(value)


def _enter_unary(name: str, op: _Make) -> None:
    @operator(name)
    def build(call: Call, x: Tensor) -> Tensor:
        return computed(op, call.out.dtype, x)


def _enter_binary(name: str, op: _Make) -> None:
    @operator(name)
    def build(call: Call, a: Tensor, b: Tensor) -> Tensor:
        return computed(op, call.out.dtype, a, b)


def _enter_scaled(name: str, op: _Make) -> None:
    @operator(name)
    def build(call: Call, a: Tensor, b: Tensor, alpha: float) -> Tensor:
        def scaled(a: Tensor, b: Tensor) -> Tensor:
            return op(a, b if alpha == 1 else ops.mul(b, alpha))

        return computed(scaled, call.out.dtype, a, b)


def _enter_compared(name: str, op: _Make) -> None:
    @operator(f"aten.{name}.Tensor")
    def tensors(call: Call, a: Tensor, b: Tensor) -> Tensor:
        dtype = _common(a, b)
        return op(as_dtype(a, dtype), as_dtype(b, dtype))

    @operator(f"aten.{name}.Scalar")
    def scalar(call: Call, a: Tensor, b: Number) -> Tensor:
        return op(*_number(a, b))


def _enter_bitwise(name: str, op: _Make) -> None:
    @operator(f"aten.bitwise_{name}.Tensor")
    def bits(call: Call, a: Tensor, b: Tensor) -> Tensor:
        return computed(op, call.out.dtype, a, b)

    @operator(f"aten.logical_{name}.default")
    def logical(call: Call, a: Tensor, b: Tensor) -> Tensor:
        return op(as_dtype(a, "bool"), as_dtype(b, "bool"))


for _name, _op in _UNARY.items():
    _enter_unary(_name, _op)
for _name, _op in _BINARY.items():
    _enter_binary(_name, _op)
for _name, _op in _SCALED.items():
    _enter_scaled(_name, _op)
for _name, _op in _COMPARED.items():
    _enter_compared(_name, _op)
for _name, _op in _BITWISE.items():
    _enter_bitwise(_name, _op)


@operator("aten.logical_not.default")
def _logical_not(call: Call, x: Tensor) -> Tensor:
    return ops.logical_not(as_dtype(x, "bool"))


@operator("aten.gelu.default")
def _gelu(call: Call, x: Tensor, approximate: str) -> Tensor:
    return ops.gelu(x, approximate=approximate)


@operator("aten.clamp.default", "aten.hardtanh.default")
def _clamp(call: Call, x: Tensor, low: float | None, high: float | None) -> Tensor:
    ends = -np.inf if low is None else low, np.inf if high is None else high
    return computed(lambda t: ops.clamp(t, *ends), call.out.dtype, x)


@operator("aten.leaky_relu.default")
def _leaky_relu(call: Call, x: Tensor, slope: float) -> Tensor:
    return ops.leaky_relu(x, slope)


@operator("aten.pow.Tensor_Scalar")
def _pow_scalar(call: Call, x: Tensor, exponent: float) -> Tensor:
    return ops.pow(x, exponent)


@operator("aten.div.Tensor_mode")
def _div_mode(call: Call, a: Tensor, b: Tensor, mode: str | None) -> Tensor:
    divisions: dict[str | None, _Make] = {
        None: ops.div,
        "floor": ops.floor_divide,
        "trunc": ops.trunc_divide,
    }
    if mode not in divisions:
        raise call.malformed(f"rounding_mode is {mode!r}, expected one of {[*divisions]}")
    return computed(divisions[mode], call.out.dtype, a, b)


@operator("aten.where.self")
def _where(call: Call, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    dtype = call.out.dtype
    word = "float32" if dtype == "float32" else "int32"
    chosen = ops.where(as_dtype(condition, "bool"), as_dtype(a, word), as_dtype(b, word))
    return as_dtype(chosen, dtype)


@operator(
    "aten._to_copy.default",
    "dim_order_ops._to_dim_order_copy.default",
    "dim_order_ops._clone_dim_order.default",
    "aten.clone.default",
    "aten.alias_copy.default",
)
def _copy(call: Call, x: Tensor, *_: Any) -> Tensor:
    copied = ops.as_strided(x, x.shape, contiguous(x.shape)) if written(x) else x
    return as_dtype(copied, call.out.dtype)


def written(x: Tensor) -> bool:
    """Whether x lies in a state, where it may be overwritten: words, as only those are."""
    return buffer_of(x).role == "state"
