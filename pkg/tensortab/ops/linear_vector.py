"""The `vector` strategy of linear_q4gsw and linear_q8gsw: one row of x, all in one dispatch."""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import ceildiv, upper
from ..kernel import load
from ..op import Dispatch, Tensor, dispatch, fold
from ..target import Target
from .attend_chunks import is_whole
from .chunks import KEYS, Left
from .glu import ACTIVATIONS

_VECTOR = load("linear_qgsw_vector")
_MANY_COLUMNS = 8192
_WORKGROUPS = 1024  # enough to fill a GPU
_HELD = 16  # vec4s of x in an invocation's registers, unless a workgroup would be too large


def _blocks(target: Target, bits: int, n: int, k: int) -> dict[str, int]:
    """How the `vector` kernel shares a matrix out, by measurement (bench/sweep.py, one H100).

    Many columns fill a GPU by themselves, and an invocation may have more of them and of x; few
    want more invocations along K.
    """
    slots, wide = k * bits // 128, n >= _MANY_COLUMNS
    held = _HELD * bits // 32 if wide else 1
    most = min(target.limits["maxComputeInvocationsPerWorkgroup"], 256)
    hold = min(max(held, -(-slots // most)), slots)
    deep = -(-slots // (32 * hold)) * 32
    gangs = max(1, 128 // deep)
    tiles = max(1, min(8, n // (4 * gangs * _WORKGROUPS)))
    return {"DEEP": deep, "HOLD": -(-slots // deep), "LANES": gangs * deep, "TILES": tiles}


def _part(
    target: Target, bits: int, k: int, blocks: Mapping[str, int], left: Left | None, x: Tensor
) -> int:
    """Slots of x that the `vector` kernel stages: all, or equal parts that fit beside the rest."""
    sums = 4 * blocks["LANES"] * (4 * blocks["TILES"] + 1)
    shares = 4 * upper(x.shape[0]) * left.heads if left else 0
    room = target.limits["maxComputeWorkgroupStorageSize"] - sums - shares
    slots = k * bits // 128
    parts = -(-slots // (room // (16 * 32 // bits) - 1))
    return -(-slots // parts)


def joins(target: Target, left: Left, chunks: Tensor, packed: Tensor) -> bool:
    """Whether the kernel can join chunks: all of x must fit in workgroup memory."""
    bits = 8 if packed.dtype == "int8" else 4
    n, slots = upper(packed.shape[0]), upper(packed.shape[1]) // 16
    k = slots * 128 // bits
    part = _part(target, bits, k, _blocks(target, bits, n, k), left, chunks)
    return part == slots and not is_whole(target, chunks)


def _joined(left: Left, chunks: Tensor) -> dict[str, int | bool]:
    """Knobs for joining."""
    return {
        "CHUNKS": upper(chunks.shape[0]),
        "HEADS": left.heads,
        "KEYS": KEYS,
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
    bound = {name: t or x for name, t in operands.items()}
    packed, scales = bound["packed"], bound["scales"]
    bits = 8 if packed.dtype == "int8" else 4
    n, k = upper(packed.shape[0]), upper(packed.shape[1]) * 8 // bits
    blocks = _blocks(target, bits, n, k)
    kernel = _VECTOR.specialise(
        BITS=bits,
        HALF=scales.dtype == "float16",
        EVEN=n % (4 if act else 2) == 0,
        GLU=ACTIVATIONS[act] if act else 0,
        N=n,
        K=k,
        GROUP=group,
        PART=_part(target, bits, k, blocks, left, x),
        **{name.upper(): operands[name] is not None for name in ("norm", "bias", "add")},
        **{name.upper(): value for name, value in norm.items()},
        **blocks,
        **(_joined(left, x) if left else {}),
    )
    pos = left.pos if left and isinstance(left.pos, Tensor) else x
    grid = fold(target, ceildiv(n, 4 * blocks["TILES"] * blocks["LANES"] // blocks["DEEP"]))
    return dispatch(kernel, grid, **bound, x=x, pos=pos, y=y)
