"""Codes of 8 bits and what works on them; linears of 4-bit weights but for linear_q4gsw."""

from __future__ import annotations

from typing import Any

from ...dim import upper
from ...op import Tensor
from ...ops import (
    Affine,
    choose_scale,
    choose_zero_point,
    dequantize,
    fake_quantize,
    linear_q4gsw,
    q8ta_add,
    q8ta_conv2d,
    q8ta_linear,
    q8ta_pixel_shuffle,
    q8ta_relu,
    quantize,
    reshape,
)
from ...ops.q8ta_conv2d import Codes
from ..registry import Call, operator

Ints = tuple[int, ...]


@operator("quantized_decomposed.quantize_per_tensor.default")
def _quantize(
    call: Call, x: Tensor, scale: float, zero_point: int, low: int, high: int, dtype: Any
) -> Tensor:
    return quantize(x, Affine(scale, zero_point), dtype=call.out.dtype, ends=(low, high))


@operator("quantized_decomposed.dequantize_per_tensor.default")
def _dequantize(
    call: Call,
    x: Tensor,
    scale: float,
    zero_point: int,
    low: int,
    high: int,
    dtype: Any,
    out_dtype: Any,
) -> Tensor:
    return dequantize(x, Affine(scale, zero_point))


@operator("et_vk.q8ta_relu.default")
def _relu(
    call: Call, x: Tensor, scale: float, zero_point: int, out_scale: float, out_zero_point: int
) -> Tensor:
    return q8ta_relu(x, Affine(scale, zero_point), Affine(out_scale, out_zero_point))


@operator("et_vk.q8ta_add.default")
def _add(
    call: Call,
    a: Tensor,
    b: Tensor,
    a_scale: float,
    a_zero_point: int,
    b_scale: float,
    b_zero_point: int,
    out_scale: float,
    out_zero_point: int,
    alpha: float,
) -> Tensor:
    given = Affine(a_scale, a_zero_point), Affine(b_scale, b_zero_point)
    return q8ta_add(a, b, *given, Affine(out_scale, out_zero_point), alpha=alpha)


@operator("et_vk.q8ta_pixel_shuffle.default")
def _pixel_shuffle(
    call: Call,
    x: Tensor,
    scale: float,
    zero_point: int,
    inverse: float,
    out_zero_point: int,
    factor: int,
) -> Tensor:
    if inverse <= 0:
        raise call.malformed(f"the inverse of the output's scale is {inverse}, expected above 0")
    out = Affine(1.0 / inverse, out_zero_point)
    return q8ta_pixel_shuffle(x, factor, Affine(scale, zero_point), out)


@operator("et_vk.linear_q8ta_q8csw.default")
def _linear_q8csw(
    call: Call,
    x: Tensor,
    scale: float,
    zero_point: int,
    w: Tensor,
    sums: Tensor,
    scales: Tensor,
    bias: Tensor | None,
) -> Tensor:
    return q8ta_linear(x, w, scales, bias, affine=Affine(scale, zero_point))


@operator("et_vk.q8ta_linear.default", "et_vk.q8ta_linear_gemv.default")
def _linear(
    call: Call,
    x: Tensor,
    scale: float,
    zero_point: int,
    w: Tensor,
    sums: Tensor,
    scales: Tensor,
    out_scale: float,
    out_zero_point: int,
    bias: Tensor | None,
    activation: str,
) -> Tensor:
    given, out = Affine(scale, zero_point), Affine(out_scale, out_zero_point)
    return q8ta_linear(x, w, scales, bias, affine=given, out=out, activation=activation)


def _pair(call: Call, size: Ints) -> tuple[int, int]:
    if len(size) != 2:
        raise call.malformed(f"kernel_size is {list(size)}, expected two numbers")
    return size[0], size[1]


@operator(
    "et_vk.q8ta_conv2d.default", "et_vk.q8ta_conv2d_pw.default", "et_vk.q8ta_conv2d_dw.default"
)
def _conv2d(
    call: Call,
    x: Tensor,
    scale: float,
    zero_point: int,
    w: Tensor,
    sums: Tensor,
    scales: Tensor,
    out_scale: float,
    out_zero_point: int,
    bias: Tensor | None,
    size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    activation: str,
) -> Tensor:
    given, out = Affine(scale, zero_point), Affine(out_scale, out_zero_point)
    window = Codes(stride=stride, padding=padding, dilation=dilation, groups=groups)
    window |= {"out": out, "activation": activation, "depthwise": len(w.shape) == 3}
    return q8ta_conv2d(x, w, scales, bias, size=_pair(call, size), affine=given, **window)


@operator("et_vk.q8ta_conv2d_transposed.default")
def _conv2d_transposed(
    call: Call,
    x: Tensor,
    scale: float,
    zero_point: int,
    w: Tensor,
    sums: Tensor,
    scales: Tensor,
    out_scale: float,
    out_zero_point: int,
    bias: Tensor | None,
    size: Ints,
    stride: Ints,
    padding: Ints,
    output_padding: Ints,
    dilation: Ints,
    groups: int,
    activation: str,
) -> Tensor:
    given, out = Affine(scale, zero_point), Affine(out_scale, out_zero_point)
    window = Codes(stride=stride, padding=padding, dilation=dilation, groups=groups)
    window |= {"out": out, "activation": activation}
    window |= {"transposed": True, "output_padding": output_padding}
    return q8ta_conv2d(x, w, scales, bias, size=_pair(call, size), affine=given, **window)


@operator("torchao.choose_qparams_affine.default")
def _choose(
    call: Call,
    x: Tensor,
    mapping: str,
    block: Ints,
    target_dtype: Any,
    low: int,
    high: int,
    eps: float | None,
    scale_dtype: Any,
    zero_point_dtype: Any,
    keepdim: bool,
) -> tuple[Tensor, ...]:
    if mapping != "ASYMMETRIC" or keepdim or any(b != 1 for b in block[:-1]):
        raise call.unsupported(
            f"mapping {mapping}, block {list(block)}, keepdim {keepdim}, expected ASYMMETRIC, one"
            " block a row, and no keepdim"
        )
    if not block or not x.shape or block[-1] < upper(x.shape[-1]):
        raise call.unsupported(f"blocks of {list(block)} in {x.spec}, expected whole rows")
    least = {} if eps is None else {"eps": eps}
    return tuple(op(x, ends=(low, high), **least) for op in (choose_scale, choose_zero_point))


@operator("et_vk.linear_dq8ca_q4gsw.default")
def _linear_dq8ca(
    call: Call,
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    packed: Tensor,
    sums: Tensor,
    scales: Tensor,
    group: int,
    bias: Tensor | None,
) -> Tensor:
    return linear_q4gsw(fake_quantize(x, scale, zero_point), packed, scales, bias, group=group)


@operator("et_vk.linear_qcs4w.default")
def _linear_qcs4w(call: Call, x: Tensor, packed: Tensor, scales: Tensor) -> Tensor:
    if not x.shape:
        raise call.malformed(f"x is {x.spec}, expected […, K]")
    rows = reshape(scales, (1, *scales.shape))
    return linear_q4gsw(x, packed, rows, group=upper(x.shape[-1]), high_first=True)
