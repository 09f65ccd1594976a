"""Convolutions. A window's settings are one number or one for each dimension, as in the file."""

from __future__ import annotations

import math

from ...op import Tensor
from ...ops.convolution import convolution
from ..registry import Call, operator

Ints = tuple[int, ...]


@operator("aten.convolution.default", "et_vk.conv_with_clamp.default")
def _convolution(
    call: Call,
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
    low: float | None = None,
    high: float | None = None,
) -> Tensor:
    return convolution(
        x,
        w,
        bias,
        stride=stride,
        padding=padding,
        dilation=dilation,
        transposed=transposed,
        output_padding=output_padding,
        groups=groups,
        low=-math.inf if low is None else low,
        high=math.inf if high is None else high,
    )
