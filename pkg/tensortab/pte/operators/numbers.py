"""Operators that make tensors of numbers alone, and those on live integers."""

from __future__ import annotations

import math
from typing import Any

from ... import ops
from ...dim import Dim, Expr, lower, upper
from ...op import Tensor
from ...ops.as_strided import axis_of
from ..registry import Call, Number, operator

# A live integer is a size or a position; what a kernel's i32 and a plan's sums of them hold.
_MOST = (1 << 24) - 1
_LONGEST = 16  # terms of a live integer, and factors of a term


def _filled(call: Call, shape: tuple[Dim, ...], value: Number) -> Tensor:
    return ops.full(shape, value, call.out.dtype)


@operator("aten.full.default")
def _full(call: Call, shape: tuple[Dim, ...], value: Number, *_: Any) -> Tensor:
    return _filled(call, shape, value)


@operator("aten.full_like.default")
def _full_like(call: Call, x: Tensor, value: Number, *_: Any) -> Tensor:
    return _filled(call, x.shape, value)


@operator("aten.zeros.default")
def _zeros(call: Call, shape: tuple[Dim, ...], *_: Any) -> Tensor:
    return _filled(call, shape, 0)


@operator("aten.ones.default")
def _ones(call: Call, shape: tuple[Dim, ...], *_: Any) -> Tensor:
    return _filled(call, shape, 1)


@operator("aten.zeros_like.default")
def _zeros_like(call: Call, x: Tensor, *_: Any) -> Tensor:
    return _filled(call, x.shape, 0)


@operator("aten.ones_like.default")
def _ones_like(call: Call, x: Tensor, *_: Any) -> Tensor:
    return _filled(call, x.shape, 1)


@operator("aten.scalar_tensor.default")
def _scalar_tensor(call: Call, value: Number, *_: Any) -> Tensor:
    return _filled(call, (), value)


@operator("aten.arange.start_step")
def _arange(call: Call, start: float, end: float, step: float, *_: Any) -> Tensor:
    if step == 0 or not all(map(math.isfinite, (start, end, step))):
        raise call.malformed(f"from {start} to {end} by {step}, expected numbers, and no step of 0")
    count = max(math.ceil(min((end - start) / step, 1 << 32)), 0)  # no tensor is longer
    return ops.arange(count, start, step, call.out.dtype)


@operator("et_vk.select_as_symint.default")
def _select_as_symint(call: Call, x: Tensor, dim: int, index: int) -> Dim:
    axis = axis_of("select_as_symint", x, dim)
    at = tuple(index if a == axis else 0 for a in range(len(x.shape)))
    if any(not isinstance(n, int) or not -n <= i < n for i, n in zip(at, x.shape, strict=True)):
        raise call.malformed(f"element {at} of {x.spec}")
    name = f"{call.prefix}{x.name}{list(at)}"
    if name in call.graph.symints:
        return call.graph.symints[name]
    return call.graph.select_as_symint(x, at, name, _MOST).dim


@operator("sym_size.int")
def _sym_size(call: Call, x: Tensor, dim: int) -> Dim:
    return x.shape[axis_of("sym_size", x, dim)]


@operator("add")
def _add(call: Call, a: Dim, b: Dim) -> Dim:
    return _live(call, a + b)


@operator("sub")
def _sub(call: Call, a: Dim, b: Dim) -> Dim:
    return _live(call, a - b)


@operator("mul")
def _mul(call: Call, a: Dim, b: Dim) -> Dim:
    return _live(call, a * b)


@operator("floordiv")
def _floordiv(call: Call, a: Dim, b: Dim) -> Dim:
    if (lower(b), upper(b)) == (0, 0):
        raise call.malformed("division by 0")
    return _live(call, a // b)


def _live(call: Call, value: Dim) -> Dim:
    """Refuse what grows with every step: products of products, quotients of quotients."""
    if _length(value) > _LONGEST or not -(1 << 63) <= lower(value) <= upper(value) < 1 << 63:
        raise call.unsupported(
            f"a live integer of {_length(value)} parts up to {upper(value)}, expected at most"
            f" {_LONGEST}, and 64 bits"
        )
    return value


def _length(value: Dim) -> int:
    """How many numbers and sizes an expression is made of."""
    if not isinstance(value, Expr):
        return 1
    parts = (d for atoms, _ in value.terms for a in atoms for d in getattr(a, "args", (1,)))
    return len(value.terms) + sum(map(_length, parts))
