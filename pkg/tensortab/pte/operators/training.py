"""A training step's operators: the optimizer, the loss, gradients of 4-bit linears."""

from __future__ import annotations

from ... import ops
from ...dim import product
from ...op import Tensor
from ..registry import Call, operator


@operator("et_vk.adamw_step.default", mutates=(0, 1, 2))
def _adamw(
    call: Call,
    param: Tensor,
    m: Tensor,
    v: Tensor,
    g: Tensor,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    correction1: float,
    correction2: float,
) -> tuple[Tensor, ...]:
    first = ops.adamw_moment(m, g, beta=beta1)
    second = ops.adamw_moment(v, g, beta=beta2, squared=True)
    stepped = ops.adamw_update(
        param,
        first,
        second,
        lr=lr,
        eps=eps,
        weight_decay=weight_decay,
        corrections=(correction1, correction2),
    )
    written = (stepped, first, second)
    for position, tensor in enumerate(written):
        call.update(position, tensor)
    return written


@operator("et_vk.fused_ce.default")
def _fused_ce(call: Call, logits: Tensor, labels: Tensor, count: float) -> tuple[Tensor, Tensor]:
    loss = ops.sum(ops.cross_entropy(logits, labels, count=count))
    out = call.outputs[0]
    loss = ops.reshape(loss, out.shape) if out else loss
    return loss, ops.cross_entropy_gradient(logits, labels, count=count)


@operator("et_vk.linear_q4gsw_backward.default")
def _backward(call: Call, g: Tensor, packed: Tensor, scales: Tensor, group: int) -> Tensor:
    return ops.linear_q4gsw_backward(g, packed, scales, group=group)


@operator("et_vk.linear_dW.default")
def _weight_gradient(call: Call, g: Tensor, x: Tensor) -> Tensor:
    """Σ over rows of g[row, n] · x[row, k]."""
    rows, across = (ops.reshape(t, (product(t.shape[:-1]), t.shape[-1])) for t in (g, x))
    return ops.mm(ops.permute(rows, (1, 0)), across)


@operator("et_vk.q4gsw_requant.default")
def _requantize(call: Call, w: Tensor, scales: Tensor, group: int) -> Tensor:
    return ops.requantize_q4gsw(w, scales, group=group)
