"""Slices of K, where tiles of y are too few to fill a GPU.

Workgroups leave the sums over their slice, and a second dispatch adds them up and does what comes
after the product. `gemm` and `dots` choose slices alike, `matrix` has its own choice.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import Dim, ceildiv, upper
from ..kernel import Kernel, load
from ..op import Dispatch, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import rows_of
from .linear_operands import bind, sizes_of, what_follows

_SUM = load("sum_slices")
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
    tiles: Dim = ceildiv(m, tile[0]) * -(-n // tile[1])
    part = _slice(max(upper(tiles), 1), k)
    half = bound["scales"].dtype == "float16"
    kernel = kernel.specialise(BITS=bits, HALF=half, N=n, K=k, GROUP=group, SLICE=part)
    after = what_follows(operands, act)
    return in_slices(target, kernel, tiles, -(-k // part), m, y, {**bound, **x}, after)


def in_slices(
    target: Target,
    kernel: Kernel,
    tiles: Dim,
    slices: int,
    m: Dim,
    y: Tensor,
    operands: Mapping[str, Tensor],
    after: Mapping[str, int],
    **fields: Dim,
) -> list[Dispatch]:
    """A product of m rows by so many tiles and slices of K, and by its knobs what comes after it.

    `operands` and `fields` are the kernel's, but for y and M.
    """
    grid = fold(target, tiles * slices)
    if slices == 1:
        return [dispatch(kernel.specialise(**after), grid, **operands, y=y, M=m, **fields)]
    parts = Tensor(Spec((slices, m, kernel["N"])))
    add_up = _SUM.specialise(SLICES=slices, N=kernel["N"], **after)
    bound = {"bias": operands["bias"], "add": operands["add"], "parts": parts, "y": y}
    over = fold(target, ceildiv(m * upper(y.shape[-1]), add_up["WIDTH"]))
    return [
        dispatch(kernel, grid, **operands, y=parts, M=m, **fields),
        dispatch(add_up, over, **bound, M=m),
    ]
