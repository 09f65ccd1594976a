"""Ops of two operands, element by element with broadcasting: each is a case of binary.wgsl.

minimum, maximum       float32 or int32
pow                    float32; of a negative base for whole exponents only, else NaN
floor_divide           ⌊a / b⌋, trunc_divide towards zero, remainder a − ⌊a / b⌋ · b, of b's sign;
                       float32, int32. They are exact where float32 can hold the quotient
eq ne lt le gt ge      float32, int32, uint8, int8 or bool; y is bool
bitwise_and, _or, _xor int32 or bool; of bools they are logical
where                  a where the condition (bool) holds, else b; any dtype of 4 bytes

b may be a Python number, but for `where`. The names are PyTorch's. Of NaN comes NaN, and a
comparison with it is false but for ne. A kernel cannot raise: an integer a divided by 0 is a, with
a remainder of 0.
"""

from __future__ import annotations

import numpy as np

from ..dim import ceildiv, product
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .elementwise import DTYPES, binary
from .layout import broadcast, fold4, strides_in

_WHERE = load("where")
_BITS = ("int32", "bool")


def _alike(a: Array, b: Array | float) -> Array:
    """B in a's dtype; integers in int64, with 1 for 0, by which a is its own quotient."""
    if a.dtype.kind == "f":
        return np.asarray(b, a.dtype)
    return np.where(np.equal(b, 0), 1, b).astype(np.int64)


def _floor_divide(a: Array, b: Array) -> Array:
    return np.floor_divide(a, _alike(a, b))


def _trunc_divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.trunc(a.astype(np.float64) / b)
    wide, by = a.astype(np.int64), _alike(a, b)
    found: Array = np.sign(wide) * np.sign(by) * (np.abs(wide) // np.abs(by))
    return found


def _remainder(a: Array, b: Array) -> Array:
    return np.remainder(a, _alike(a, b))


def _pow(a: Array, b: Array) -> Array:
    return np.power(a.astype(np.float64), b)


minimum = binary("minimum", 10, np.minimum)
maximum = binary("maximum", 11, np.maximum)
pow = binary("pow", 12, _pow, ("float32",))  # noqa: A001  # PyTorch's name
floor_divide = binary("floor_divide", 13, _floor_divide)
trunc_divide = binary("trunc_divide", 14, _trunc_divide)
remainder = binary("remainder", 15, _remainder)
eq = binary("eq", 20, np.equal, DTYPES, "bool")
ne = binary("ne", 21, np.not_equal, DTYPES, "bool")
lt = binary("lt", 22, np.less, DTYPES, "bool")
le = binary("le", 23, np.less_equal, DTYPES, "bool")
gt = binary("gt", 24, np.greater, DTYPES, "bool")
ge = binary("ge", 25, np.greater_equal, DTYPES, "bool")
bitwise_and = binary("bitwise_and", 30, np.bitwise_and, _BITS)
bitwise_or = binary("bitwise_or", 31, np.bitwise_or, _BITS)
bitwise_xor = binary("bitwise_xor", 32, np.bitwise_xor, _BITS)


def _where_shape(condition: Tensor, a: Tensor, b: Tensor) -> Spec:
    if condition.dtype != "bool":
        raise ShapeError(f"where: condition is {condition.spec}, expected bool")
    if a.dtype != b.dtype or np.dtype(a.dtype).itemsize != 4:
        raise ShapeError(f"where: a is {a.spec}, b is {b.spec}, expected one dtype of 4 bytes")
    return Spec(broadcast("where", condition, a, b), a.dtype)


def _where_reference(condition: Array, a: Array, b: Array) -> Array:
    return np.where(condition, a, b)


def _where_lower(
    target: Target, y: Tensor, condition: Tensor, a: Tensor, b: Tensor
) -> list[Dispatch]:
    walks = (strides_in(t, y.shape) for t in (condition, a, b))
    folded = zip("dcab", fold4("where", y.shape, *walks), strict=True)
    fields = {f"{k}{i}": v for k, vs in folded for i, v in enumerate(vs)}
    grid = fold(target, ceildiv(product(y.shape), _WHERE["WIDTH"]))
    return [dispatch(_WHERE, grid, condition=condition, a=a, b=b, y=y, **fields)]


where = Op("where", _where_shape, _where_reference, _where_lower)
