"""The `vector` strategy of linear_q4gsw and linear_q8gsw: one row of x, all in one dispatch."""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import ceildiv, upper
from ..kernel import load
from ..op import Dispatch, Tensor, dispatch, fold
from ..target import Target
from .attend_chunks import is_whole
from .chunks import STEP_KEYS, Left
from .glu import ACTIVATIONS
from .linear_operands import bind, sizes_of

_VECTOR = load("linear_qgsw_vector")


def _blocks(n: int, k: int) -> dict[str, int]:
    """How the `vector` kernel shares a matrix out, by measurement (bench/sweep.py, one H200)."""
    return {"TILES": 1, "LANES": 256, "AHEAD": 1}


def _knobs(target: Target, n: int, k: int, act: str | None) -> dict[str, int | bool]:
    """The kernel's for a matrix."""
    blocks = _blocks(n, k)
    tiles = blocks["TILES"] * (2 if act else 1)
    # No more invocations than there are eights of x, in whole subgroups.
    most = -(-k // (8 * target.subgroup)) * target.subgroup
    lanes = max(min(blocks["LANES"], most), target.subgroup)
    dots = target.vendor != "apple"  # whose GPUs have no instruction for it
    steps, ahead = -(-k // (8 * lanes)), blocks["AHEAD"]
    if steps % ahead and (ahead % steps or tiles % (ahead // steps)):
        ahead = 1
    return {
        "TILES": tiles,
        "LANES": lanes,
        "AHEAD": ahead,
        "SUBGROUP": target.subgroup,
        "DOTS": dots,
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
        GLU=ACTIVATIONS[act] if act else 0,
        N=n,
        WHOLE=n % (16 if act else 8) == 0,
        K=k,
        GROUP=group,
        **{name.upper(): operands[name] is not None for name in ("norm", "bias", "add")},
        **{name.upper(): value for name, value in norm.items()},
        **knobs,
        **(_joined(left, x) if left else {}),
    )
    pos = left.pos if left and isinstance(left.pos, Tensor) else x
    grid = fold(target, ceildiv(n, 8 * kernel["TILES"]))
    return dispatch(kernel, grid, **bound, x=x, pos=pos, y=y)
