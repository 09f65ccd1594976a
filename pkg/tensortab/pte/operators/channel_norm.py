"""Batch and group normalization."""

from __future__ import annotations

from typing import Any

from ...op import Tensor
from ...ops import batch_norm, group_mean, group_norm, group_rstd
from ..registry import Call, operator


@operator("aten._native_batch_norm_legit_no_training.default")
def _batch_norm(
    call: Call,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Tensor | None, ...]:
    return batch_norm(x, mean, var, weight, bias, eps=eps), None, None


@operator("aten.native_group_norm.default")
def _group_norm(
    call: Call,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    n: Any,
    channels: Any,
    cells: Any,
    groups: int,
    eps: float,
) -> tuple[Tensor, ...]:
    y = group_norm(x, weight, bias, groups=groups, eps=eps)
    statistics = (op(x, groups=groups, eps=eps) for op in (group_mean, group_rstd))
    return y, *statistics
