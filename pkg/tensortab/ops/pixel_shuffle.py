"""Channels become pixels: y[…, c, h·r + a, w·r + b] = x[…, (c·r + a)·r + b, h, w].

    x  […, C·r², H, W], float32 or int32
    y  […, C, H·r, W·r]

q8ta_pixel_shuffle has int8 codes (quantize.py), with a scale and zero point for x and others for y.
As torch.nn.functional.pixel_shuffle; Shi et al., arXiv 1609.05158.
"""

from __future__ import annotations

from ..dim import ceildiv, product, upper
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .quantize import Affine, require_codes

_KERNEL = load("pixel_shuffle")
_NONE = Affine(1)


def _spec(op: str, x: Tensor, factor: int) -> Spec:
    if len(x.shape) < 3 or factor < 1 or upper(x.shape[-3]) % factor**2:
        raise ShapeError(
            f"{op}: x is {x.spec}, expected […, C·{factor}·{factor}, H, W] (factor {factor})"
        )
    *batch, c, h, w = x.shape
    return Spec((*batch, c // factor**2, h * factor, w * factor), x.dtype)


def _shuffled(x: Array, factor: int) -> Array:
    *batch, c, h, w = x.shape
    split = x.reshape(-1, c // factor**2, factor, factor, h, w).transpose(0, 1, 4, 2, 5, 3)
    return split.reshape(*batch, c // factor**2, h * factor, w * factor)


def _dispatch(
    target: Target, y: Tensor, x: Tensor, factor: int, given: Affine, out: Affine, *, int8: bool
) -> list[Dispatch]:
    kernel = _KERNEL.specialise(INT8=int8)
    n = product(y.shape)
    grid = fold(target, ceildiv(n, 4 * kernel["WIDTH"]))
    affine = {"scale": given.scale, "zero_point": given.zero_point}
    affine |= {"inverse": out.inverse, "y_zero_point": out.zero_point}
    sizes = {"H": x.shape[-2], "W": x.shape[-1], "R": factor}
    return [dispatch(kernel, grid, x=x, y=y, n=n, **sizes, **affine)]


def _shape(x: Tensor, factor: int) -> Spec:
    require_codes("pixel_shuffle", ("float32", "int32"), x=x)
    return _spec("pixel_shuffle", x, factor)


def _lower(target: Target, y: Tensor, x: Tensor, factor: int) -> list[Dispatch]:
    return _dispatch(target, y, x, factor, _NONE, _NONE, int8=False)


pixel_shuffle = Op("pixel_shuffle", _shape, _shuffled, _lower)


def _q8ta_shape(x: Tensor, factor: int, affine: Affine, out: Affine) -> Spec:
    require_codes("q8ta_pixel_shuffle", x=x)
    affine.check("q8ta_pixel_shuffle")
    out.check("q8ta_pixel_shuffle")
    return _spec("q8ta_pixel_shuffle", x, factor)


def _q8ta_reference(x: Array, factor: int, affine: Affine, out: Affine) -> Array:
    return out.codes(affine.values(_shuffled(x, factor)))


def _q8ta_lower(
    target: Target, y: Tensor, x: Tensor, factor: int, affine: Affine, out: Affine
) -> list[Dispatch]:
    return _dispatch(target, y, x, factor, affine, out, int8=True)


q8ta_pixel_shuffle = Op("q8ta_pixel_shuffle", _q8ta_shape, _q8ta_reference, _q8ta_lower)
