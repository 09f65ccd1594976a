"""The `vector` strategy of linear_q4gsw and linear_q8gsw: one row of x, all in one dispatch."""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import ceildiv, upper
from ..kernel import load
from ..op import Dispatch, Tensor, dispatch, fold
from ..target import Target
from .attend_chunks import is_whole
from .chunks import STEP_KEYS, Left
from .linear_operands import bind, sizes_of, what_follows

_VECTOR = load("linear_qgsw_vector")
_MOST = 1024  # invocations that pay


def _knobs(target: Target, n: int, k: int, act: str | None) -> dict[str, int | bool]:
    """How the kernel shares a matrix out, by measurement (one H200): bench/sweep.py.

    An invocation for every eight elements of x, where a workgroup may have so many; else 256, which
    read x again for each tile, so that there is one. Small matrices are spread over all of a GPU.
    """
    whole = -(-k // (8 * target.subgroup)) * target.subgroup
    most = min(_MOST, target.limits["maxComputeInvocationsPerWorkgroup"])
    lanes, tiles = (whole, 1 if n < 16384 else 2 if n < 65536 else 8) if whole <= most else (256, 1)
    return {
        "TILES": 2 * tiles if act else tiles,
        "LANES": lanes,
        "SUBGROUP": target.subgroup,
        "DOTS": target.packed_dots,
    }


def joins(target: Target, left: Left, chunks: Tensor, packed: Tensor, act: str | None) -> bool:
    """Whether the kernel can join chunks: their shares must fit in workgroup memory."""
    _, n, k = sizes_of(packed)
    knobs = _knobs(target, n, k, act)
    units = knobs["LANES"] // knobs["SUBGROUP"]
    floats = units * (8 * knobs["TILES"] + 1) + upper(chunks.shape[0]) * left.heads
    fits = 4 * floats <= target.limits["maxComputeWorkgroupStorageSize"]
    return fits and not is_whole(target, chunks)


def _joined(left: Left, chunks: Tensor) -> dict[str, int | bool]:
    """Knobs for joining."""
    return {
        "CHUNKS": upper(chunks.shape[0]),
        "HEADS": left.heads,
        "KEYS": STEP_KEYS,
        "WINDOW": left.window or 0,
        "LIVE": isinstance(left.pos, Tensor),
        "PAST": 0 if isinstance(left.pos, Tensor) else left.pos,
    }


def vector(
    target: Target,
    y: Tensor,
    x: Tensor,
    operands: Mapping[str, Tensor | None],
    group: int,
    act: str | None,
    left: Left | None,
    **norm: float,
) -> Dispatch:
    """One row in one dispatch; what is absent is bound to any buffer.

    With `left` x is what attention left in chunks.
    """
    bound = bind(operands, x)
    bits, n, k = sizes_of(bound["packed"])
    knobs = _knobs(target, n, k, act)
    kernel = _VECTOR.specialise(
        BITS=bits,
        HALF=bound["scales"].dtype == "float16",
        N=n,
        WHOLE=n % (16 if act else 8) == 0,
        K=k,
        GROUP=group,
        NORM=operands["norm"] is not None,
        **what_follows(operands, act),
        **{name.upper(): value for name, value in norm.items()},
        **knobs,
        **(_joined(left, x) if left else {}),
    )
    pos = left.pos if left and isinstance(left.pos, Tensor) else x
    grid = fold(target, ceildiv(n, 8 * kernel["TILES"]))
    return dispatch(kernel, grid, **bound, x=x, pos=pos, y=y)
