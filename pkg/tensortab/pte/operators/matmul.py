"""Products of matrices, float32 and 4-bit."""

from __future__ import annotations

from ... import ops
from ...op import Tensor
from ..registry import Call, operator


@operator("aten.mm.default")
def _mm(call: Call, a: Tensor, b: Tensor) -> Tensor:
    return ops.mm(a, b)


@operator("aten.bmm.default")
def _bmm(call: Call, a: Tensor, b: Tensor) -> Tensor:
    return ops.bmm(a, b)


@operator("aten.addmm.default")
def _addmm(call: Call, bias: Tensor, a: Tensor, b: Tensor, beta: float, alpha: float) -> Tensor:
    y = ops.mm(a, b)
    y = y if alpha == 1 else ops.mul(y, alpha)
    return ops.add(y, bias if beta == 1 else ops.mul(bias, beta))


@operator("aten.linear.default")
def _linear(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return ops.linear(x, weight, bias)


@operator("et_vk.linear_q4gsw.default")
def _linear_q4gsw(
    call: Call, x: Tensor, packed: Tensor, scales: Tensor, group: int, bias: Tensor | None
) -> Tensor:
    return ops.linear_q4gsw(x, packed, scales, bias, group=group)


@operator("et_vk.embedding_q4gsw.default")
def _embedding_q4gsw(
    call: Call, packed: Tensor, scales: Tensor, group: int, ids: Tensor, linear: bool
) -> Tensor:
    return ops.embedding_q4gsw(
        ids, packed, scales, group=group, scales_by_row=True, high_first=not linear
    )
