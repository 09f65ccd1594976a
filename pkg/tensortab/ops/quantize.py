"""Codes of 8 bits with one scale and one zero point for a whole tensor (affine).

    quantize    y = clamp(round(x · (1/scale)) + zero_point, low, high)      float32 → int8, uint8
    dequantize  y = (x − zero_point) · scale                                  int8, uint8 → float32
    q8ta_relu   quantize(max(dequantize(x), 0))                               int8 → int8
    q8ta_add    quantize(dequantize(a) + alpha · dequantize(b))               int8, int8 → int8

Rounding is half to even, of a float32 product with 1/scale, itself rounded to float32 once, as
PyTorch's quantized_decomposed has it. Codes saturate at low and high, the dtype's ends unless
given. NaN has no code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..dim import ceildiv, product
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import float32, require_float32

_KERNEL = load("q8ta")
_SAME, _RELU, _ADD = 0, 1, 2
_LEAST = float(np.finfo(np.float32).tiny)  # below, the inverse is no float32


@dataclass(frozen=True)
class Affine:
    """A scale, and the code that stands for 0."""

    scale: float
    zero_point: int = 0

    @property
    def inverse(self) -> float:
        """What float32 values are multiplied with to be codes."""
        return float(np.float32(1.0 / self.scale))

    def check(self, op: str) -> None:
        """Refuse what is no scale, or no zero point of 8 bits."""
        if not _LEAST <= self.scale < np.inf or not -128 <= self.zero_point <= 255:
            raise ShapeError(f"{op}: {self}, expected a scale above 0 and a code of 8 bits")

    def codes(self, v: Array, dtype: str = "int8", ends: tuple[int, int] | None = None) -> Array:
        """Quantize float32 values."""
        low, high = ends or limits(dtype)
        q = np.rint(float32(v) * np.float32(self.inverse)) + np.float32(self.zero_point)
        return np.clip(q, low, high).astype(dtype)

    def values(self, codes: Array) -> Array:
        """Dequantize to float32."""
        return float32(codes.astype(np.int32) - self.zero_point) * np.float32(self.scale)


def limits(dtype: str) -> tuple[int, int]:
    """The least and the greatest code."""
    span = np.iinfo(dtype)
    return int(span.min), int(span.max)


def require_codes(op: str, dtypes: tuple[str, ...] = ("int8",), **tensors: Tensor) -> None:
    """Refuse operands of another dtype, naming them."""
    for name, t in tensors.items():
        if t.dtype not in dtypes:
            raise ShapeError(f"{op}: {name} is {t.spec}, expected {' or '.join(dtypes)}")


def quantizing(
    target: Target,
    y: Tensor,
    a: Tensor,
    b: Tensor | None = None,
    *,
    op: int = _SAME,
    given: tuple[Affine, Affine] = (Affine(1), Affine(1)),
    alpha: float = 1.0,
    out: Affine = Affine(1),
    ends: tuple[int, int] | None = None,
) -> Dispatch:
    """Launch the kernel; `given` are a's and b's, `out` is y's, for those that are codes."""
    codes = [t for t in (a, y) if t.dtype != "float32"]
    kernel = _KERNEL.specialise(
        OP=op, A_CODES=a in codes, Y_CODES=y in codes, SIGNED=codes[0].dtype == "int8"
    )
    low, high = ends or limits(codes[0].dtype)
    n = product(y.shape)
    return dispatch(
        kernel,
        fold(target, ceildiv(n, 4 * kernel["WIDTH"])),
        a=a,
        b=b or a,
        y=y,
        n=n,
        a_scale=given[0].scale,
        a_zero_point=given[0].zero_point,
        b_scale=given[1].scale,
        b_zero_point=given[1].zero_point,
        alpha=alpha,
        inverse=out.inverse,
        y_zero_point=out.zero_point,
        low=low,
        high=high,
    )


def _quantize_shape(
    x: Tensor, affine: Affine, *, dtype: str = "int8", ends: tuple[int, int] | None = None
) -> Spec:
    require_float32("quantize", x=x)
    affine.check("quantize")
    if dtype not in ("int8", "uint8"):
        raise ShapeError(f"quantize: dtype is {dtype!r}, expected int8 or uint8")
    least, most = limits(dtype)
    low, high = ends or (least, most)
    if not least <= low < high <= most:
        raise ShapeError(f"quantize: codes from {low} to {high}, expected within {least} to {most}")
    return Spec(x.shape, dtype)


def _quantize_reference(
    x: Array, affine: Affine, *, dtype: str = "int8", ends: tuple[int, int] | None = None
) -> Array:
    return affine.codes(x, dtype, ends)


def _quantize_lower(
    target: Target,
    y: Tensor,
    x: Tensor,
    affine: Affine,
    *,
    dtype: str = "int8",
    ends: tuple[int, int] | None = None,
) -> list[Dispatch]:
    return [quantizing(target, y, x, out=affine, ends=ends)]


quantize = Op("quantize", _quantize_shape, _quantize_reference, _quantize_lower)


def _dequantize_shape(x: Tensor, affine: Affine) -> Spec:
    require_codes("dequantize", ("int8", "uint8"), x=x)
    affine.check("dequantize")
    return Spec(x.shape)


def _dequantize_reference(x: Array, affine: Affine) -> Array:
    return affine.values(x)


def _dequantize_lower(target: Target, y: Tensor, x: Tensor, affine: Affine) -> list[Dispatch]:
    return [quantizing(target, y, x, given=(affine, affine))]


dequantize = Op("dequantize", _dequantize_shape, _dequantize_reference, _dequantize_lower)


def _relu_shape(x: Tensor, affine: Affine, out: Affine) -> Spec:
    require_codes("q8ta_relu", x=x)
    affine.check("q8ta_relu")
    out.check("q8ta_relu")
    return x.spec


def _relu_reference(x: Array, affine: Affine, out: Affine) -> Array:
    return out.codes(np.maximum(affine.values(x), 0))


def _relu_lower(
    target: Target, y: Tensor, x: Tensor, affine: Affine, out: Affine
) -> list[Dispatch]:
    return [quantizing(target, y, x, op=_RELU, given=(affine, affine), out=out)]


q8ta_relu = Op("q8ta_relu", _relu_shape, _relu_reference, _relu_lower)


def _add_shape(
    a: Tensor, b: Tensor, a_affine: Affine, b_affine: Affine, out: Affine, *, alpha: float = 1.0
) -> Spec:
    require_codes("q8ta_add", a=a, b=b)
    for affine in (a_affine, b_affine, out):
        affine.check("q8ta_add")
    if a.shape != b.shape:
        raise ShapeError(f"q8ta_add: a is {a.spec}, b is {b.spec}, expected the same shape")
    return a.spec


def _add_reference(
    a: Array, b: Array, a_affine: Affine, b_affine: Affine, out: Affine, *, alpha: float = 1.0
) -> Array:
    return out.codes(a_affine.values(a) + np.float32(alpha) * b_affine.values(b))


def _add_lower(
    target: Target,
    y: Tensor,
    a: Tensor,
    b: Tensor,
    a_affine: Affine,
    b_affine: Affine,
    out: Affine,
    *,
    alpha: float = 1.0,
) -> list[Dispatch]:
    given = (a_affine, b_affine)
    return [quantizing(target, y, a, b, op=_ADD, given=given, alpha=alpha, out=out)]


q8ta_add = Op("q8ta_add", _add_shape, _add_reference, _add_lower)
