"""The `vector` strategy of linear_q4gsw and linear_q8gsw: one row of x, all in one dispatch."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..dim import ceildiv, upper
from ..kernel import load
from ..op import Dispatch, Tensor, dispatch, fold
from ..target import Target
from .attend_chunks import is_whole
from .chunks import KEYS, Left
from .glu import ACTIVATIONS
from .linear_operands import bind, sizes_of

_VECTOR = load("linear_qgsw_vector")


def _blocks(n: int, k: int) -> dict[str, int]:
    """How the `vector` kernel shares a matrix out, by measurement (bench/sweep.py, one H200).

    Many columns fill a GPU by themselves; few want more invocations along K.
    """
    if n >= 65536:
        return {"ACROSS": 8, "DEEP": 8, "LANES": 128}
    if n >= 8192:
        return {"ACROSS": 4, "DEEP": 16, "LANES": 128}
    if k >= 4096:
        return {"ACROSS": 4, "DEEP": 64, "LANES": 256}
    return {"ACROSS": 2, "DEEP": 32, "LANES": 64}


def _knobs(
    target: Target, bits: int, n: int, k: int, left: Left | None, x: Tensor
) -> dict[str, int | bool]:
    """The kernel's for a matrix, with as much of x staged at a time as there is room for.

    That is all of it, or equal parts; none, PART = 0, where there is room for nothing.
    """
    blocks: dict[str, int | bool] = {"AHEAD": 1, "DOTS": target.vendor != "apple", **_blocks(n, k)}
    slots, deep, dots = k * bits // 128, blocks["DEEP"], blocks["DOTS"]
    lanes, subgroup = blocks["LANES"], target.subgroup
    sums = 4 * lanes * 4 + 4 * lanes // subgroup
    shares = 4 * upper(x.shape[0]) * left.heads if left else 0
    room = target.limits["maxComputeWorkgroupStorageSize"] - sums - shares
    vectors = (16 if dots else 32) // bits  # a slot
    scale = 16 // bits if dots else 0  # bytes of it a slot: four of a block
    most = max(0, room - 16 * vectors) // (16 * vectors + scale) // deep * deep
    parts = -(-slots // most) if most else 0
    part = -(-slots // (parts * deep)) * deep if parts else 0
    return blocks | {"SUBGROUP": subgroup, "PART": part, "AHEAD": math.gcd(blocks["AHEAD"], max(part // deep, 1))}


def joins(target: Target, left: Left, chunks: Tensor, packed: Tensor) -> bool:
    """Whether the kernel can join chunks: all of x must fit in workgroup memory."""
    bits, n, k = sizes_of(packed)
    part = _knobs(target, bits, n, k, left, chunks)["PART"]
    return part >= k * bits // 128 and not is_whole(target, chunks)


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
    bound = bind(operands, x)
    bits, n, k = sizes_of(bound["packed"])
    knobs = _knobs(target, bits, n, k, left, x)
    kernel = _VECTOR.specialise(
        BITS=bits,
        HALF=bound["scales"].dtype == "float16",
        EVEN=n % (4 if act else 2) == 0,
        GLU=ACTIVATIONS[act] if act else 0,
        N=n,
        K=k,
        GROUP=group,
        **{name.upper(): operands[name] is not None for name in ("norm", "bias", "add")},
        **{name.upper(): value for name, value in norm.items()},
        **knobs,
        **(_joined(left, x) if left else {}),
    )
    pos = left.pos if left and isinstance(left.pos, Tensor) else x
    grid = fold(target, ceildiv(n, 4 * knobs["LANES"] // knobs["DEEP"]))
    return dispatch(kernel, grid, **bound, x=x, pos=pos, y=y)
