"""y[…, :] = table[ids[…], :].

ids    int32 […]; an id outside of the table is clamped to it (a kernel cannot raise)
table  float32 [V, D]
y      float32 […, D]
"""

from __future__ import annotations

import numpy as np

from ..dim import ceildiv, product
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target

_KERNEL = load("embedding")


def _shape(ids: Tensor, table: Tensor) -> Spec:
    if ids.dtype != "int32":
        raise ShapeError(f"embedding: ids is {ids.spec}, expected int32")
    if len(table.shape) != 2 or table.dtype != "float32":
        raise ShapeError(f"embedding: table is {table.spec}, expected float32[V, D]")
    return Spec((*ids.shape, table.shape[1]))


def _reference(ids: Array, table: Array) -> Array:
    result: Array = table[np.clip(ids, 0, len(table) - 1)]
    return result


def _lower(target: Target, y: Tensor, ids: Tensor, table: Tensor) -> list[Dispatch]:
    count, (rows, width) = product(ids.shape), table.shape
    grid = fold(target, ceildiv(count * width, _KERNEL["WIDTH"]))
    return [dispatch(_KERNEL, grid, ids=ids, table=table, y=y, count=count, V=rows, D=width)]


embedding = Op("embedding", _shape, _reference, _lower)
