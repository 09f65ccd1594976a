"""The `vector` strategy of linear_q4gsw and linear_q8gsw: one row of x, all in one dispatch."""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import ceildiv, upper
from ..kernel import load
from ..op import Dispatch, Tensor, dispatch, fold
from ..target import Target
from .glu import ACTIVATIONS

_VECTOR = load("linear_qgsw_vector")
_MANY_COLUMNS = 8192


def _blocks(n: int, k: int) -> dict[str, int]:
    """How the `vector` kernel shares a matrix out, by measurement (bench/sweep.py, one H200).

    Many columns fill a GPU by themselves; few want more invocations along K.
    """
    return {"ACROSS": 4, "DEEP": 16 if n >= _MANY_COLUMNS else 64, "LANES": 256}


def _part(target: Target, bits: int, k: int, blocks: Mapping[str, int]) -> int:
    """Slots of x that the `vector` kernel holds: all, or equal parts that fit beside its sums."""
    room = target.limits["maxComputeWorkgroupStorageSize"] - 20 * blocks["LANES"]
    slots, deep = k * bits // 128, blocks["DEEP"]
    most = room // (16 * 32 // bits) - 1
    parts = -(-slots // (most // deep * deep))
    return -(-slots // (parts * deep)) * deep


def vector(
    target: Target,
    y: Tensor,
    x: Tensor,
    operands: Mapping[str, Tensor | None],
    group: int,
    act: str | None,
    **norm: float,
) -> Dispatch:
    """One row in one dispatch; what is absent is bound to any buffer."""
    bound = {name: t or x for name, t in operands.items()}
    packed, scales = bound["packed"], bound["scales"]
    n, k = upper(packed.shape[0]), upper(x.shape[-1])
    bits = 8 if packed.dtype == "int8" else 4
    blocks = _blocks(n, k)
    kernel = _VECTOR.specialise(
        BITS=bits,
        HALF=scales.dtype == "float16",
        EVEN=n % 2 == 0,
        GLU=ACTIVATIONS[act] if act else 0,
        N=n,
        K=k,
        GROUP=group,
        PART=_part(target, bits, k, blocks),
        **{name.upper(): operands[name] is not None for name in ("norm", "bias", "add")},
        **{name.upper(): value for name, value in norm.items()},
        **blocks,
    )
    grid = fold(target, ceildiv(n, 2 * kernel["LANES"] // kernel["DEEP"]))
    return dispatch(kernel, grid, **bound, x=x, y=y)
