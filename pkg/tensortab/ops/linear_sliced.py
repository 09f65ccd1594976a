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

_TILES = 128  # nearly enough for a GPU


def _slice(tiles: int, k: int) -> int:
    """How much of K a workgroup adds up.

    By measurement (one H200): 32 tiles are best in eight slices, 128 of K = 2048 in one (108 µs, in
    two 116) and of K = 8192 in four (405 µs, in one 421).
    """
    workgroups, least = (256, 128) if tiles < _TILES else (512, 2048)
    slices = max(min(workgroups // tiles, k // least), 1)
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
