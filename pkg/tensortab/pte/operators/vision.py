"""Pooling, upsampling, sampling by a grid, pixel shuffle."""

from __future__ import annotations

from ...op import Tensor
from ...ops import (
    avg_pool2d,
    grid_priors,
    grid_sampler_2d,
    max_pool2d,
    max_pool2d_indices,
    pixel_shuffle,
    upsample_bilinear2d,
    upsample_nearest2d,
)
from ..registry import Call, operator

Ints = tuple[int, ...]
_MODES = ("bilinear", "nearest", "bicubic")  # torch's numbers
_PADDINGS = ("zeros", "border", "reflection")


@operator("aten.max_pool2d_with_indices.default")
def _max_pool2d(
    call: Call, x: Tensor, size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    values, indices = (
        op(x, size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
        for op in (max_pool2d, max_pool2d_indices)
    )
    return values, indices


@operator("aten.avg_pool2d.default")
def _avg_pool2d(
    call: Call,
    x: Tensor,
    size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    return avg_pool2d(
        x,
        size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor=divisor,
    )


def _pair(
    call: Call, size: Ints | None, scales: tuple[float, ...] | None
) -> tuple[tuple[int, int] | None, tuple[float, float] | None]:
    """The size, else the scales: each two numbers where it is there."""
    if any(v is not None and len(v) != 2 for v in (size, scales)):
        raise call.malformed(f"output_size {size}, scale_factors {scales}, expected two numbers")
    if size:
        return (size[0], size[1]), None
    return None, (scales[0], scales[1]) if scales else None


@operator("aten.upsample_nearest2d.vec")
def _nearest(call: Call, x: Tensor, size: Ints | None, scales: tuple[float, ...] | None) -> Tensor:
    of, by = _pair(call, size, scales)
    return upsample_nearest2d(x, size=of, scales=by)


@operator("aten.upsample_bilinear2d.vec")
def _bilinear(
    call: Call,
    x: Tensor,
    size: Ints | None,
    align_corners: bool,
    scales: tuple[float, ...] | None,
) -> Tensor:
    of, by = _pair(call, size, scales)
    return upsample_bilinear2d(x, size=of, scales=by, align_corners=align_corners)


@operator("aten.grid_sampler_2d.default")
def _grid_sampler(
    call: Call, x: Tensor, grid: Tensor, mode: int, padding: int, align_corners: bool
) -> Tensor:
    if not 0 <= mode < len(_MODES) or not 0 <= padding < len(_PADDINGS):
        raise call.malformed(f"mode {mode}, padding {padding}, expected 0 to 2 each")
    return grid_sampler_2d(
        x, grid, mode=_MODES[mode], padding=_PADDINGS[padding], align_corners=align_corners
    )


@operator("et_vk.grid_priors.default")
def _grid_priors(call: Call, x: Tensor, stride: int, offset: float) -> Tensor:
    if len(x.shape) < 2:
        raise call.malformed(f"x is {x.spec}, expected […, H, W]")
    return grid_priors(x.shape[-2], x.shape[-1], stride=stride, offset=offset)


@operator("aten.pixel_shuffle.default")
def _pixel_shuffle(call: Call, x: Tensor, factor: int) -> Tensor:
    return pixel_shuffle(x, factor)
