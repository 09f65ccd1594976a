"""The `gemm` strategy of linear_q4gsw and linear_q8gsw: many rows, float32, no optional feature.

Where tiles of y are too few to fill a GPU, K is cut into slices: workgroups leave the sums over
theirs, and a second dispatch adds them up.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import ceildiv, upper
from ..kernel import Kernel, load
from ..op import Dispatch, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import rows_of
from .linear_operands import add_up, bind, sizes_of, what_follows

_GEMM = load("linear_qgsw_gemm")
_WORKGROUPS = 256  # that a GPU is filled with
_LEAST = 128  # of K in a slice, so that there is something to add up


def _tile(m: int) -> dict[str, int]:
    """Invocations and what they own: tiles of 128 columns and of 128, 64, 32 or 16 rows."""
    down = next((d for d in (4, 8, 16) if m <= 4 * d), 16)
    return {"DOWN": down, "ACROSS": 16, "FOURS": 2 if m > 64 else 1}


def _rows(kernel: Kernel) -> int:
    return 4 * kernel["FOURS"] * kernel["DOWN"]


def _slice(tiles: int, k: int) -> int:
    """How much of K a workgroup adds up."""
    slices = min(max(_WORKGROUPS // tiles, 1), max(k // _LEAST, 1))
    return -(-k // (32 * slices)) * 32


def gemm(
    target: Target,
    y: Tensor,
    x: Tensor,
    operands: Mapping[str, Tensor | None],
    group: int,
    act: str | None,
    *,
    high_first: bool,
) -> list[Dispatch]:
    """The product and what comes after it; what is absent is bound to any buffer."""
    bound, m = bind(operands, x), rows_of(x)
    bits, n, k = sizes_of(bound["packed"])
    after = what_follows(operands, act)
    kernel = _GEMM.specialise(
        BITS=bits,
        HIGH_FIRST=high_first,
        HALF=bound["scales"].dtype == "float16",
        N=n,
        K=k,
        GROUP=group,
        **_tile(upper(m)),
    )
    down, across = ceildiv(m, _rows(kernel)), -(-n // (8 * kernel["ACROSS"]))
    part = _slice(max(upper(down) * across, 1), k)
    slices = -(-k // part)
    grid = fold(target, down * across * slices)
    if slices == 1:
        return [dispatch(kernel.specialise(SLICE=k, **after), grid, **bound, x=x, y=y, M=m)]
    parts = Tensor(Spec((slices, m, n)))
    return [
        dispatch(kernel.specialise(SLICE=part), grid, **bound, x=x, y=parts, M=m),
        add_up(target, parts, bound, y, after),
    ]
