"""The loss of a classifier's logits, and its gradient: natural logarithms.

    cross_entropy           y[…] = (log Σ exp(logits[…, :]) − logits[…, label]) / count
    cross_entropy_gradient  y[…, V] = (softmax(logits) − one-hot(label)) / count

    logits  float32 […, V], one at least of a row finite
    labels  int32 […]; one outside of 0 … V − 1 has neither loss nor gradient
    count   what a mean divides by; 1 gives −log p of each label

One float a row comes back instead of V logits: what perplexity needs of a large vocabulary. With
the count of labels it is ExecuTorch's fused_ce (et_vk).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..dim import ceildiv
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import float32, require_float32, rows_of
from .norm import shared_rows

_KERNEL = load("cross_entropy")


def _shape(gradient: bool, logits: Tensor, labels: Tensor, *, count: float = 1.0) -> Spec:
    op = _name(gradient)
    require_float32(op, logits=logits)
    if not logits.shape:
        raise ShapeError(f"{op}: logits is {logits.spec}, expected […, V]")
    want = Spec(logits.shape[:-1], "int32")
    if labels.spec != want:
        raise ShapeError(
            f"{op}: labels is {labels.spec}, expected {want}, one for each row of logits"
        )
    if count <= 0:
        raise ShapeError(f"{op}: count is {count}, expected above 0")
    return logits.spec if gradient else Spec(want.shape)


def _reference(gradient: bool, logits: Array, labels: Array, *, count: float = 1.0) -> Array:
    v = logits.astype(np.float64)
    shifted = v - v.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    inside = (labels >= 0) & (labels < v.shape[-1])
    at = np.where(inside, labels, 0)[..., None]
    if gradient:
        hot = np.arange(v.shape[-1]) == at
        return float32((np.exp(logs) - hot) * inside[..., None] / count)
    losses = -np.take_along_axis(logs, at, -1)[..., 0] / count
    return float32(np.where(inside, losses, 0))


def _lower(
    gradient: bool,
    target: Target,
    y: Tensor,
    logits: Tensor,
    labels: Tensor,
    *,
    count: float = 1.0,
) -> list[Dispatch]:
    rows, v = rows_of(logits), logits.shape[-1]
    kernel = shared_rows(_KERNEL, target, v, GRADIENT=gradient)
    grid = fold(target, ceildiv(rows, kernel["ROWS"]))
    operands = {"logits": logits, "labels": labels, "y": y}
    return [dispatch(kernel, grid, **operands, rows=rows, V=v, count=count)]


def _name(gradient: bool) -> str:
    return "cross_entropy_gradient" if gradient else "cross_entropy"


def _op(gradient: bool) -> Op[...]:
    parts = (partial(f, gradient) for f in (_shape, _reference, _lower))
    return Op(_name(gradient), *parts)  # type: ignore[arg-type]  # a generator has one type


cross_entropy = _op(gradient=False)
cross_entropy_gradient = _op(gradient=True)
