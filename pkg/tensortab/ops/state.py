"""Ops that write what outlives a run.

assign   state := x                    the same elements
advance  scalar := scalar + by         on the GPU, so that several steps need no host
after    a view of the state as an op left it that updates it beside a result of its own
"""

from __future__ import annotations

import numpy as np

from ..dim import Dim, product
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, buffer_of, dispatch, overwritten
from ..target import Target
from .strided import strided

_ADVANCE = load("advance")


def _assign_shape(state: Tensor, x: Tensor) -> Spec:
    if x.dtype != state.dtype or product(x.shape) != product(state.shape):
        raise ShapeError(f"assign: x is {x.spec}, expected {state.spec}, the state's")
    if np.dtype(x.dtype).itemsize != 4:
        raise ShapeError(f"assign: x is {x.spec}, expected a dtype of 4 bytes")
    return state.spec


def _assign_reference(state: Array, x: Array) -> Array:
    return x.reshape(state.shape)


def _assign_lower(target: Target, y: Tensor, state: Tensor, x: Tensor) -> list[Dispatch]:
    return [strided("assign", target, y, x, (product(x.shape),), (1,), (1,))]


assign = Op("assign", _assign_shape, _assign_reference, _assign_lower, writes=0)


def _advance_shape(scalar: Tensor, by: Dim = 1) -> Spec:
    _ = scalar.dim
    return scalar.spec


def _advance_reference(scalar: Array, by: Dim = 1) -> Array:
    return scalar + by


def _advance_lower(target: Target, y: Tensor, scalar: Tensor, by: Dim = 1) -> list[Dispatch]:
    return [dispatch(_ADVANCE, (1, 1, 1), scalar=y, by=by)]


def _advance_becomes(scalar: Tensor, by: Dim = 1) -> Dim:
    return scalar.dim + by


advance = Op(
    "advance",
    _advance_shape,
    _advance_reference,
    _advance_lower,
    writes=0,
    becomes=(0, _advance_becomes),
)


def _after_shape(state: Tensor, op: Tensor) -> Spec:
    if not any(buffer_of(state) is written for written in overwritten(op)):
        raise ShapeError(f"after: {op!r} does not write {state!r}")
    return state.spec


def _after_reference(state: Array, op: Array) -> Array:
    return state


after = Op("after", _after_shape, _after_reference, None)
