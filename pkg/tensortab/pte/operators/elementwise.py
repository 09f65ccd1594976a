"""Operators that compute each element from one element of each operand."""

from __future__ import annotations

from ... import ops
from ...op import Tensor
from ..registry import Call, operator


@operator("aten.add.Tensor")
def _add(call: Call, a: Tensor, b: Tensor, alpha: float) -> Tensor:
    return ops.add(a, b) if alpha == 1 else ops.add(a, ops.mul(b, float(alpha)))
