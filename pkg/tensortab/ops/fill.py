"""Tensors made of numbers alone.

full    every element the same; float32, int32, uint8, int8 or bool
arange  start + i · step for i in 0 … n − 1; float32 or int32
pad     x with a value around it: widths (before, after) for each dimension; any dtype of 4 bytes
"""

from __future__ import annotations

import math
import struct

import numpy as np

from ..dim import Dim, ceildiv, product
from ..errors import ShapeError
from ..kernel import load, single
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .elementwise import DTYPES
from .layout import contiguous
from .strided import strided

_FILL = load("fill")
Widths = tuple[tuple[int, int], ...]


def _element(value: float, dtype: str) -> Array:
    """A number in a dtype: beyond float32's range it is infinite, integers keep their low bits."""
    if dtype == "float32":
        return np.asarray(single(value)).astype(dtype)
    if dtype == "bool":
        return np.asarray(value).astype(dtype)
    return np.asarray(int(value) & 0xFFFFFFFF, np.uint32).astype(dtype)


def _require_number(op: str, dtype: str, *values: float) -> None:
    if dtype != "float32" and not all(map(math.isfinite, values)):
        raise ShapeError(f"{op}: {values[0] if len(values) == 1 else values} in {dtype}, expected"
                         " finite numbers")  # fmt: skip


def _word(value: float, dtype: str) -> int:
    """The word that holds an element, or the same one four times."""
    data = _element(value, dtype).tobytes()
    word: int = struct.unpack("<I", data * (4 // len(data)))[0]
    return word


def _fill(target: Target, y: Tensor, words: Dim, ramp: int, start: int, step: int) -> Dispatch:
    kernel = _FILL.specialise(RAMP=ramp)
    grid = fold(target, ceildiv(words, kernel["WIDTH"]))
    return dispatch(kernel, grid, y=y, n=words, start=start, step=step)


def _full_shape(shape: tuple[Dim, ...], value: float, dtype: str = "float32") -> Spec:
    if dtype not in DTYPES:
        raise ShapeError(f"full: dtype is {dtype!r}, expected {' or '.join(DTYPES)}")
    _require_number("full", dtype, value)
    return Spec(tuple(shape), dtype)


def _full_reference(shape: tuple[int, ...], value: float, dtype: str = "float32") -> Array:
    return np.full(shape, _element(value, dtype))


def _full_lower(
    target: Target, y: Tensor, shape: tuple[Dim, ...], value: float, dtype: str = "float32"
) -> list[Dispatch]:
    words = ceildiv(product(shape), 4 // np.dtype(dtype).itemsize)
    return [_fill(target, y, words, 0, _word(value, dtype), 0)]


full = Op("full", _full_shape, _full_reference, _full_lower)


def _arange_shape(n: Dim, start: float, step: float, dtype: str = "float32") -> Spec:
    if dtype not in ("float32", "int32"):
        raise ShapeError(f"arange: dtype is {dtype!r}, expected float32 or int32")
    _require_number("arange", dtype, start, step)
    return Spec((n,), dtype)


def _arange_reference(n: int, start: float, step: float, dtype: str = "float32") -> Array:
    return (_element(start, dtype) + np.arange(n) * _element(step, dtype)).astype(dtype)


def _arange_lower(
    target: Target, y: Tensor, n: Dim, start: float, step: float, dtype: str = "float32"
) -> list[Dispatch]:
    ramp = 1 if dtype == "float32" else 2
    return [_fill(target, y, n, ramp, _word(start, dtype), _word(step, dtype))]


arange = Op("arange", _arange_shape, _arange_reference, _arange_lower)


def _pad_shape(x: Tensor, widths: Widths, value: float = 0.0) -> Spec:
    if np.dtype(x.dtype).itemsize != 4:
        raise ShapeError(f"pad: x is {x.spec}, expected a dtype of 4 bytes")
    if len(widths) != len(x.shape) or any(n < 0 for pair in widths for n in pair):
        raise ShapeError(
            f"pad: widths are {widths}, expected two numbers from 0 for each dimension of {x.spec}"
        )
    _require_number("pad", x.dtype, value)
    shape = tuple(a + n + b for (a, b), n in zip(widths, x.shape, strict=True))
    return Spec(shape, x.dtype)


def _pad_reference(x: Array, widths: Widths, value: float = 0.0) -> Array:
    return np.pad(x, widths, constant_values=_element(value, x.dtype.name))


def _pad_lower(
    target: Target, y: Tensor, x: Tensor, widths: Widths, value: float = 0.0
) -> list[Dispatch]:
    strides = contiguous(y.shape)
    first: Dim = 0
    for (before, _), stride in zip(widths, strides, strict=True):
        first = first + before * stride
    return [
        _fill(target, y, product(y.shape), 0, _word(value, y.dtype), 0),
        strided("pad", target, y, x, x.shape, contiguous(x.shape), strides, y0=first),
    ]


pad = Op("pad", _pad_shape, _pad_reference, _pad_lower)
