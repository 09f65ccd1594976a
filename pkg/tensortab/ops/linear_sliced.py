"""What the strategies `gemm` and `dots` share: slices of K, and what comes after the product.

Where tiles of y are too few to fill a GPU, K is cut into slices: workgroups leave the sums over
theirs, and a second dispatch adds them up.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import Dim, ceildiv, upper
from ..kernel import Kernel
from ..op import Dispatch, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import rows_of
from .linear_operands import add_up, bind, sizes_of, what_follows

# H200, 512 × 2048 × 2048 by 128 tiles: 108 µs, in two slices 116; by 32 tiles eight are the best.
_TILES = 128  # enough for a GPU
_WORKGROUPS = 256  # that fewer tiles are cut into
_LEAST = 128  # of K in a slice, so that there is something to add up


def _slice(tiles: int, k: int) -> int:
    """How much of K a workgroup adds up."""
    slices = 1 if tiles >= _TILES else max(min(_WORKGROUPS // tiles, k // _LEAST), 1)
    return -(-k // (32 * slices)) * 32


def sliced(
    target: Target,
    kernel: Kernel,
    tile: tuple[int, int],
    y: Tensor,
    x: Mapping[str, Tensor],
    operands: Mapping[str, Tensor | None],
    group: int,
    act: str | None,
) -> list[Dispatch]:
    """A kernel's product by tiles of so many rows and columns; what is absent is any buffer."""
    bound, m = bind(operands, x["x"]), rows_of(x["x"])
    bits, n, k = sizes_of(bound["packed"])
    after, half = what_follows(operands, act), bound["scales"].dtype == "float16"
    kernel = kernel.specialise(BITS=bits, HALF=half, N=n, K=k, GROUP=group)
    tiles: Dim = ceildiv(m, tile[0]) * -(-n // tile[1])
    part = _slice(max(upper(tiles), 1), k)
    slices = -(-k // part)
    grid = fold(target, tiles * slices)
    if slices == 1:
        return [dispatch(kernel.specialise(SLICE=k, **after), grid, **bound, **x, y=y, M=m)]
    parts = Tensor(Spec((slices, m, n)))
    return [
        dispatch(kernel.specialise(SLICE=part), grid, **bound, **x, y=parts, M=m),
        add_up(target, parts, bound, y, after),
    ]
