"""Windows that slide over the last one or two dimensions: what convolutions and pooling share.

One dimension is two with a first of 1, so kernels know two only. A setting is a number for every
dimension, or one for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..dim import Dim, ceildiv, maximum, minimum, upper
from ..errors import ShapeError
from ..op import Array, Limit
from .layout import Shape

Pair = tuple[int, int]
Setting = int | Sequence[int]


@dataclass(frozen=True)
class Window:
    """How a window slides.

    `transposed`: the output is what such a window would slide over. `ceil`: a last window counts
    that begins inside, or in the padding before, and ends beyond.
    """

    size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    transposed: bool = False
    output_padding: Pair = (0, 0)
    ceil: bool = False

    def over(self, op: str, sizes: tuple[Dim, Dim]) -> tuple[Dim, Dim]:
        """The output's sizes; ShapeError where the window never fits."""
        out = (self._over(0, sizes[0]), self._over(1, sizes[1]))
        if upper(out[0]) < 1 or upper(out[1]) < 1:
            raise ShapeError(
                f"{op}: {self} over {list(map(str, sizes))} gives {list(map(str, out))},"
                " expected at least 1"
            )
        return out

    def _over(self, i: int, size: Dim) -> Dim:
        if self.transposed:
            return (size - 1) * self.stride[i] + self._reach(i) + self.output_padding[i]
        if self.ceil:
            begins = (size + self.padding[i] - 1) // self.stride[i]
            return minimum(ceildiv(size - self._reach(i), self.stride[i]), begins) + 1
        return (size - self._reach(i)) // self.stride[i] + 1

    def _reach(self, i: int) -> int:
        return self.dilation[i] * (self.size[i] - 1) + 1 - 2 * self.padding[i]

    def limit(self, sizes: tuple[Dim, Dim]) -> Limit:
        """For live sizes: the window reaches over no edge."""
        if self.transposed:
            return 0, 0, "a transposed window's reach"
        beyond = [self._reach(i) - sizes[i] for i in (0, 1)]
        return maximum(*beyond), 0, f"how far {self} reaches over x"

    def fields(self) -> dict[str, Dim | float]:
        """The Params of kernels that walk through a window."""
        named = {
            "K": self.size,
            "stride_": self.stride,
            "pad_": self.padding,
            "dilation_": self.dilation,
        }
        return {
            f"{name}{axis if name != 'K' else axis.upper()}": pair[i]
            for name, pair in named.items()
            for i, axis in enumerate("hw")
        }

    def __str__(self) -> str:
        return (
            f"a window {list(self.size)}, stride {list(self.stride)}, padding {list(self.padding)},"
            f" dilation {list(self.dilation)}"
        )


def window(
    op: str,
    rank: int,
    size: Setting,
    *,
    stride: Setting = 1,
    padding: Setting = 0,
    dilation: Setting = 1,
    transposed: bool = False,
    output_padding: Setting = 0,
    ceil: bool = False,
) -> Window:
    """Check the settings of a window over the last `rank` dimensions, 1 or 2."""

    def pair(name: str, value: Setting, fill: int, least: int) -> Pair:
        given = [value] if isinstance(value, int) else list(value)
        full = given * rank if len(given) == 1 else given
        if len(full) != rank or min(full) < least:
            raise ShapeError(
                f"{op}: {name} is {value}, expected {rank} numbers, or one, from {least} on"
            )
        return (full[0], full[1]) if rank == 2 else (fill, full[0])

    return Window(
        pair("size", size, 1, 1),
        pair("stride", stride, 1, 1),
        pair("padding", padding, 0, 0),
        pair("dilation", dilation, 1, 1),
        transposed,
        pair("output_padding", output_padding, 0, 0),
        ceil,
    )


def plane(shape: Shape) -> tuple[Dim, Dim]:
    """The height and width of [N, C, H, W]; of [N, C, L], 1 and L."""
    return (shape[2], shape[3]) if len(shape) == 4 else (1, shape[2])


def taps(x: Array, w: Window, out: Sequence[int], fill: float) -> Iterator[tuple[int, int, Array]]:
    """Every tap kh, kw of a window, and what of x [N, C, H, W] lies under it; `fill` beyond x."""
    spread = [(0, 0), (0, 0)]
    for i in (0, 1):
        reach = (out[i] - 1) * w.stride[i] + (w.size[i] - 1) * w.dilation[i] + 1
        spread.append((w.padding[i], max(reach - x.shape[2 + i] - w.padding[i], 0)))
    padded = np.pad(x, spread, constant_values=fill)
    for kh, kw in np.ndindex(w.size):
        h, v = kh * w.dilation[0], kw * w.dilation[1]
        rows = slice(h, h + out[0] * w.stride[0], w.stride[0])
        columns = slice(v, v + out[1] * w.stride[1], w.stride[1])
        yield kh, kw, padded[:, :, rows, columns][:, :, : out[0], : out[1]]
