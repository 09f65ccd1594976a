"""Ops of one operand, element by element: each is a case of unary.wgsl and a numpy function.

exp, log, sqrt, rsqrt, sin, cos, tanh, sigmoid, hardswish     float32
round (halves to even), floor                                 float32
abs, neg                                                      float32 or int32
clamp       min(max(x, low), high)                            float32 or int32
relu        max(x, 0)                                         float32 or int32
leaky_relu  x where x > 0, else x · slope                     float32
bitwise_not, logical_not                                      int32 or bool
convert     x in another dtype: float32, int32, uint8, int8 or bool. To integers the fraction is
            dropped, what is beyond int32 becomes its end and NaN 0; to bool all but 0 is true;
            to 8 bits the low 8 of the integer are kept

The names are PyTorch's. Of NaN all else is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..errors import ShapeError
from ..kernel import single
from ..op import Array, Composite, Dispatch, Op, Spec, Tensor
from ..target import Target
from .elementwise import DTYPES, unary_lower

_REAL, _NUMBER, _BITS = ("float32",), ("float32", "int32"), ("int32", "bool")
_CONVERT = 10


def _check(name: str, dtypes: tuple[str, ...], x: Tensor) -> None:
    if x.dtype not in dtypes:
        raise ShapeError(f"{name}: x is {x.spec}, expected {' or '.join(dtypes)}")


def _same(name: str, dtypes: tuple[str, ...], x: Tensor) -> Spec:
    _check(name, dtypes, x)
    return x.spec


def _wide(function: Callable[[Array], Array], x: Array) -> Array:
    """A function of real numbers, computed in float64."""
    return function(x.astype(np.float64) if x.dtype.kind == "f" else x)


def _unary(
    name: str, code: int, function: Callable[[Array], Array], dtypes: tuple[str, ...] = _REAL
) -> Op[[Tensor]]:
    shape, reference = partial(_same, name, dtypes), partial(_wide, function)
    return Op(name, shape, reference, partial(unary_lower, code))


def _rsqrt(x: Array) -> Array:
    found: Array = 1 / np.sqrt(x)
    return found


def _sigmoid(x: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-x))
    return found


def _hardswish(x: Array) -> Array:
    found: Array = x * np.clip(x / 6 + 0.5, 0, 1)
    return found


abs = _unary("abs", 11, np.abs, _NUMBER)  # noqa: A001  # PyTorch's name
neg = _unary("neg", 12, np.negative, _NUMBER)
exp = _unary("exp", 13, np.exp)
sqrt = _unary("sqrt", 14, np.sqrt)
rsqrt = _unary("rsqrt", 15, _rsqrt)
sin = _unary("sin", 16, np.sin)
cos = _unary("cos", 17, np.cos)
tanh = _unary("tanh", 18, np.tanh)
round = _unary("round", 19, np.round)  # noqa: A001
sigmoid = _unary("sigmoid", 20, _sigmoid)
hardswish = _unary("hardswish", 22, _hardswish)
log = _unary("log", 24, np.log)
floor = _unary("floor", 25, np.floor)
bitwise_not = _unary("bitwise_not", 30, np.invert, _BITS)
logical_not = _unary("logical_not", 31, np.logical_not, _BITS)


def _clamp_shape(x: Tensor, low: float = -np.inf, high: float = np.inf) -> Spec:
    return _same("clamp", _NUMBER, x)


def _clamp_reference(x: Array, low: float = -np.inf, high: float = np.inf) -> Array:
    return np.minimum(
        np.maximum(x, single(low)), single(high)
    )  # high wins where the two are crossed


def _clamp_lower(
    target: Target, y: Tensor, x: Tensor, low: float = -np.inf, high: float = np.inf
) -> list[Dispatch]:
    return unary_lower(21, target, y, x, low, high)


clamp = Op("clamp", _clamp_shape, _clamp_reference, _clamp_lower)


@Composite
def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return clamp(x, 0.0)


def _leaky_shape(x: Tensor, slope: float = 0.01) -> Spec:
    return _same("leaky_relu", _REAL, x)


def _leaky_reference(x: Array, slope: float = 0.01) -> Array:
    return np.where(x > 0, x, x * np.float32(slope))


def _leaky_lower(target: Target, y: Tensor, x: Tensor, slope: float = 0.01) -> list[Dispatch]:
    return unary_lower(23, target, y, x, slope)


leaky_relu = Op("leaky_relu", _leaky_shape, _leaky_reference, _leaky_lower)


def _convert_shape(x: Tensor, dtype: str) -> Spec:
    _check("convert", DTYPES, x)
    if dtype not in DTYPES:
        raise ShapeError(f"convert: dtype is {dtype!r}, expected {' or '.join(DTYPES)}")
    return Spec(x.shape, dtype)


def _convert_reference(x: Array, dtype: str) -> Array:
    if x.dtype.kind != "f" or dtype in ("float32", "bool"):
        return x.astype(dtype)
    whole = np.clip(np.trunc(np.nan_to_num(x.astype(np.float64))), -(1 << 31), (1 << 31) - 1)
    return whole.astype(np.int32).astype(dtype)


def _convert_lower(target: Target, y: Tensor, x: Tensor, dtype: str) -> list[Dispatch]:
    return unary_lower(_CONVERT, target, y, x)


convert = Op("convert", _convert_shape, _convert_reference, _convert_lower)
