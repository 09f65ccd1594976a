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
from .linear_operands import bind, sizes_of, what_follows
from .linear_sliced import in_slices

ROWS = 64  # from here on worth it
_MATRIX = load("linear_qgsw_matrix")
_HALVE = load("halve_rows")
_LONG = 8192  # values of a row that 128 invocations keep in registers
# One H200, TFLOP/s: 2048×2048×16384 by 256×128 tiles 295, 128×128 221; 512×8192×2048 by 256×128 in
# 4 slices 193, 128×128 in 2 159; 512×2048×2048 by 64×64 123, 128×128 in 2 103.
_LARGE = ({"DOWN": 4, "ACROSS": 4}, {"DOWN": 2, "ACROSS": 4})  # workgroups of eight subgroups,
_ENOUGH = 100  # of which so many fill a GPU
_LONG_K = 2048  # up to here they take all of it
_LONG_SLICE = 1024  # of K, the least that pays for what they do before and after
_PANELS = 36864  # bytes of workgroup memory that those take
_SMALL = {"DOWN": 2, "ACROSS": 2}  # of four,
_WORKGROUPS = 256  # of which it takes more
_LEAST = 256  # of K in a slice of theirs, so that there is something to add up


def takes(n: int, act: str | None) -> bool:
    """Whether rows of y are whole vec4s."""
    return n % (8 if act else 4) == 0


def _tile(blocks: Mapping[str, int]) -> tuple[int, int]:
    """Rows and columns of the product that a workgroup owns."""
    return 16 * blocks["DOWN"] * blocks["ACROSS"], 32 * blocks["ACROSS"]


def _slices(tiles: int, k: int, most: int, least: int) -> int:
    """Of K, such that there are `most` workgroups at most."""
    fitting = (s for s in (2, 4, 8) if tiles * s <= most and k >= least * s and k % (128 * s) == 0)
    return max(fitting, default=1)


def _blocks(m: int, n: int, k: int, memory: int) -> tuple[dict[str, int], int]:
    """Tiles of y a subgroup owns, and slices of K, where a workgroup has so much memory."""
    for blocks in _LARGE if memory >= _PANELS else ():
        rows, columns = _tile(blocks)
        tiles = -(-m // rows) * -(-n // columns)
        slices = _slices(tiles, k, 2 * _ENOUGH, _LONG_SLICE) if k > _LONG_K else 1
        if tiles * slices >= _ENOUGH and m > rows // 2:
            return blocks, slices
    rows, columns = _tile(_SMALL)
    return _SMALL, _slices(max(-(-m // rows) * -(-n // columns), 1), k, _WORKGROUPS, _LEAST)


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
    """Round rows of x, normed if `norm` is there, to float16 [M/16, K/16, 16, 16]."""
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
    halves = Tensor(Spec((ceildiv(m, 16), k // 16, 16, 16), "float16"))
    factor = Tensor(Spec((m,)))
    memory = target.limits["maxComputeWorkgroupStorageSize"]
    blocks, slices = _blocks(upper(m), n, k, memory)
    half = bound["scales"].dtype == "float16"
    kernel = _MATRIX.specialise(HALF=half, N=n, K=k, GROUP=group, **blocks)
    rows, columns = _tile(blocks)
    tiles = ceildiv(m, rows) * -(-n // columns)
    given = {**bound, "x": halves, "factor": factor}
    after = what_follows(operands, act)
    return [
        halve(target, halves, factor, x, norm, eps=eps, offset=offset),
        *in_slices(target, kernel, tiles, slices, m, y, given, after, slice=k // slices),
    ]
