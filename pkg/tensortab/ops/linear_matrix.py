"""The `matrix` strategy of linear_q4gsw: rows become float16, the GPU's matrix units multiply.

Products are of float16, sums float32: against the other strategies y is off by about 3e-4 of its
largest magnitude. Each row of x is scaled by a power of 2 first, so that nothing overflows.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import ceildiv, upper
from ..kernel import load
from ..op import Dispatch, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import rows_of
from .linear_operands import add_up, bind, sizes_of, what_follows

ROWS = 64  # from here on worth it
_MATRIX = load("linear_qgsw_matrix")
_HALVE = load("halve_rows")
_LONG = 8192  # values of a row that 128 invocations keep in registers
# By measurement (one H200):
_MANY_WORKGROUPS = 200  # fewer of the large ones leave a GPU half empty,
_WORKGROUPS = 256  # and the small ones, with slices of K, fill it
_LEAST = 256  # of K in a slice, so that there is something to add up


def _blocks(m: int, n: int, k: int) -> dict[str, int]:
    """Tiles of y a subgroup owns, how a workgroup walks along K, and over how much of it."""
    step = 32 if k % 64 else 64
    large = -(-m // 128) * -(-n // 128) >= _MANY_WORKGROUPS
    if large or step == 32:
        return {"DOWN": 4, "ACROSS": 4, "STEP": step, "SLICE": k}
    most = _WORKGROUPS // max(-(-m // 64) * -(-n // 64), 1)
    most = max(1, min(most, k // _LEAST))
    slices = max(s for s in (1, 2, 4, 8) if s <= most and k % (64 * s) == 0)
    return {"DOWN": 2, "ACROSS": 2, "STEP": step, "SLICE": k // slices}


def halve(
    target: Target,
    halves: Tensor,
    factor: Tensor,
    x: Tensor,
    norm: Tensor | None,
    *,
    eps: float,
    offset: float,
) -> Dispatch:
    """Round rows of x, normed if `norm` is there, to float16."""
    m, k = rows_of(x), upper(x.shape[-1])
    lanes = 128 if k <= _LONG else 256
    kernel = _HALVE.specialise(NORM=norm is not None, K=k, LANES=lanes)
    operands = {"x": x, "norm": norm or x, "halves": halves, "factor": factor}
    return dispatch(kernel, fold(target, m), **operands, M=m, eps=eps, offset=offset)


def matrix(
    target: Target,
    y: Tensor,
    x: Tensor,
    operands: Mapping[str, Tensor | None],
    group: int,
    act: str | None,
    norm: Tensor | None,
    *,
    eps: float,
    offset: float,
) -> list[Dispatch]:
    """Rounding; the product and what comes after it, with slices of K in a dispatch of its own.

    What is absent is bound to any buffer.
    """
    bound = bind(operands, x)
    m, (_, n, k) = rows_of(x), sizes_of(bound["packed"])
    halves, factor = Tensor(Spec((m, k), "float16")), Tensor(Spec((m,)))
    kernel = _MATRIX.specialise(
        HALF=bound["scales"].dtype == "float16", N=n, K=k, GROUP=group, **_blocks(upper(m), n, k)
    )
    slices = k // kernel["SLICE"]
    tiles = ceildiv(m, 32 * kernel["DOWN"]) * -(-n // (32 * kernel["ACROSS"]))
    grid = fold(target, tiles * slices)
    rounded = halve(target, halves, factor, x, norm, eps=eps, offset=offset)
    given = {**bound, "x": halves, "factor": factor, "M": m}
    after = what_follows(operands, act)
    if slices == 1:
        return [rounded, dispatch(kernel.specialise(**after), grid, **given, y=y)]
    parts = Tensor(Spec((slices, m, n)))
    return [
        rounded,
        dispatch(kernel, grid, **given, y=parts),
        add_up(target, parts, bound, y, after),
    ]
