"""cross_entropy: y[…] = log Σ exp(logits[…, :]) − logits[…, targets[…]], −log p of a token.

logits   float32 […, V], one at least of a row finite
targets  int32 […]; one outside of 0 … V − 1 gives 0, so that a row without a target adds nothing
y        float32 […], natural logarithm

One float a row comes back instead of V logits: what perplexity needs of a large vocabulary.
"""

from __future__ import annotations

import numpy as np

from ..dim import ceildiv
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import float32, require_float32, rows_of
from .norm import shared_rows

_KERNEL = load("cross_entropy")


def _shape(logits: Tensor, targets: Tensor) -> Spec:
    require_float32("cross_entropy", logits=logits)
    if not logits.shape:
        raise ShapeError(f"cross_entropy: logits is {logits.spec}, expected […, V]")
    want = Spec(logits.shape[:-1], "int32")
    if targets.spec != want:
        raise ShapeError(
            f"cross_entropy: targets is {targets.spec}, expected {want}, one for each row of logits"
        )
    return Spec(want.shape)


def _reference(logits: Array, targets: Array) -> Array:
    x = logits.astype(np.float64)
    top = x.max(-1)
    total = top + np.log(np.exp(x - top[..., None]).sum(-1))
    inside = (targets >= 0) & (targets < x.shape[-1])
    chosen = np.take_along_axis(x, np.where(inside, targets, 0)[..., None], -1)[..., 0]
    return float32(np.where(inside, total - chosen, 0))


def _lower(target: Target, y: Tensor, logits: Tensor, targets: Tensor) -> list[Dispatch]:
    kernel = shared_rows(_KERNEL, target, logits.shape[-1])
    rows = rows_of(logits)
    grid = fold(target, ceildiv(rows, kernel["ROWS"]))
    operands = {"x": logits, "targets": targets, "y": y}
    return [dispatch(kernel, grid, **operands, rows=rows, V=logits.shape[-1])]


cross_entropy = Op("cross_entropy", _shape, _reference, _lower)
