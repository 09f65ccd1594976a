"""A program's dtypes in numpy, which lacks bfloat16: those values are float32 here, rounded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..op import Array
from ..weights.source import Bytes
from ..widener import widened

_BFLOAT16 = "bfloat16"


def host(dtype: str) -> np.dtype[np.generic]:
    """What arrays of it are in numpy."""
    return np.dtype(np.float32 if dtype == _BFLOAT16 else dtype)


def width(dtype: str) -> int:
    """Bytes of an element in the file."""
    return 2 if dtype == _BFLOAT16 else np.dtype(dtype).itemsize


def decode(raw: Bytes, dtype: str, shape: tuple[int, ...]) -> Array:
    """The array that bytes of the file are."""
    flat = widened("BF16", raw) if dtype == _BFLOAT16 else np.frombuffer(raw, dtype)
    return flat.reshape(shape)


def cast(array: npt.ArrayLike, dtype: str) -> Array:
    """An array's values in a dtype: for bfloat16 the nearest, of two the even one."""
    made: Array = np.asarray(array).astype(host(dtype), copy=False)
    if dtype != _BFLOAT16:
        return made
    with np.errstate(over="ignore"):  # of NaN, whose bits are not used
        bits = made.view(np.uint32)
        nearest = (bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(made), made, nearest.view(np.float32))
