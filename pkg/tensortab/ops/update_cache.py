"""update_cache: cache[:, pos + s] = value[:, s] for s in 0 … S−1, in place.

value  float32 [B, S, H, D]; S may be symbolic
cache  float32 or float16 [B, Smax, H, D]: a state, so that it outlives the run. float16 lies as
       pairs in words, which needs no shader-f16; H · D is even then
pos    a live scalar, or an int: how many rows the cache holds already. Kernels read it from its
       buffer, so that it may move between the steps of one submission

Writing past the end is refused before the run: pos + S is at most Smax.
"""

from __future__ import annotations

import numpy as np

from ..dim import Dim, ceildiv, product
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Limit, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import require_float32

_KERNEL = load("update_cache")
DTYPES = ("float32", "float16")


def position(op: str, pos: Tensor | int) -> Dim:
    """What `pos` is as a dim; ShapeError where it is no position."""
    if isinstance(pos, Tensor):
        return pos.dim
    if pos < 0:
        raise ShapeError(f"{op}: pos is {pos}, expected at least 0")
    return pos


def position_of(pos: Array | int) -> int:
    """What `pos` is in a reference function, where scalars are arrays."""
    return int(np.ravel(pos)[0])


def bind_position(pos: Tensor | int, unread: Tensor) -> tuple[bool, dict[str, Tensor | int]]:
    """The knob LIVE, the binding `pos` (`unread` where there is none) and the field `past`."""
    if isinstance(pos, Tensor):
        return True, {"pos": pos, "past": 0}
    return False, {"pos": unread, "past": pos}


def _shape(cache: Tensor, value: Tensor, pos: Tensor | int) -> Spec:
    require_float32("update_cache", value=value)
    position("update_cache", pos)
    fits = len(value.shape) == 4 == len(cache.shape) and all(
        value.shape[i] == cache.shape[i] for i in (0, 2, 3)
    )
    if not fits:
        raise ShapeError(
            f"update_cache: value is {value.spec}, cache is {cache.spec},"
            " expected [B, S, H, D] and [B, Smax, H, D]"
        )
    if cache.dtype not in DTYPES:
        raise ShapeError(f"update_cache: cache is {cache.spec}, expected float32 or float16")
    row = product(cache.shape[2:])
    if cache.dtype == "float16" and row // 2 * 2 != row:
        raise ShapeError(
            f"update_cache: cache is {cache.spec}, so its rows have {row} elements,"
            " expected an even number (float16 lies in pairs)"
        )
    return cache.spec


def _reference(cache: Array, value: Array, pos: Array | int) -> Array:
    past = position_of(pos)
    result = cache.copy()
    result[:, past : past + value.shape[1]] = value
    return result


def _limit(cache: Tensor, value: Tensor, pos: Tensor | int) -> Limit:
    end = position("update_cache", pos) + value.shape[1]
    return end, cache.shape[1], "pos + S, the rows of cache in use"


def _lower(
    target: Target, y: Tensor, cache: Tensor, value: Tensor, pos: Tensor | int
) -> list[Dispatch]:
    half = cache.dtype == "float16"
    live, bound = bind_position(pos, value)
    batch, rows = value.shape[:2]
    words = product(value.shape[2:]) // (2 if half else 1)
    kernel = _KERNEL.specialise(HALF=half, LIVE=live)
    grid = fold(target, ceildiv(batch * rows * words, kernel["WIDTH"]))
    sizes = {"B": batch, "S": rows, "Smax": cache.shape[1], "words": words}
    return [dispatch(kernel, grid, value=value, cache=y, **sizes, **bound)]


update_cache = Op("update_cache", _shape, _reference, _lower, writes=0, limit=_limit)
