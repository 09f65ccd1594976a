"""What lies under a window that slides over the last two dimensions of x. float32.

    x  float32 […, H, W]
    y  float32 […, OH, OW];  OH = ⌊(H + 2·padding − dilation·(size − 1) − 1) / stride⌋ + 1

    max_pool2d          the largest element, NaN where there is one; padding is never chosen
    max_pool2d_indices  where it is, int32: row · W + column in x's plane; of equals the first, of
                        NaNs the last
    avg_pool2d          the mean: the sum over `divisor` if given, else over how many elements the
                        window covers, with `count_include_pad` those of the padding too (as zeros)

`stride` is the window's size unless given. With `ceil_mode` OH is rounded up, but the last window
begins inside x or in the padding before it; what it covers beyond the padding never counts. As
torch.nn.functional.max_pool2d and avg_pool2d.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..dim import ceildiv, product, upper
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import float32, require_float32
from .window import Setting, Window, taps, window

_KERNEL = load("pool2d")
_MAX, _PLACE, _MEAN = 0, 1, 2


def _window(
    op: str, size: Setting, stride: Setting, padding: Setting, dilation: Setting, ceil: bool
) -> Window:
    slides = window(
        op,
        2,
        size,
        stride=size if stride in ((), []) else stride,
        padding=padding,
        dilation=dilation,
        ceil=ceil,
    )
    if any(2 * p > s for p, s in zip(slides.padding, slides.size, strict=True)):
        raise ShapeError(f"{op}: {slides}, expected padding of at most half the size")
    return slides


def _spec(op: str, slides: Window, x: Tensor, dtype: str = "float32") -> Spec:
    require_float32(op, x=x)
    if len(x.shape) < 2:
        raise ShapeError(f"{op}: x is {x.spec}, expected […, H, W]")
    return Spec((*x.shape[:-2], *slides.over(op, (x.shape[-2], x.shape[-1]))), dtype)


def _dispatch(
    target: Target, y: Tensor, x: Tensor, slides: Window, divisor: int = 0, **knobs: int
) -> list[Dispatch]:
    kernel = _KERNEL.specialise(**knobs)
    n = product(y.shape)
    sizes = {"H": x.shape[-2], "W": x.shape[-1], "OH": y.shape[-2], "OW": y.shape[-1]}
    grid = fold(target, ceildiv(n, kernel["WIDTH"]))
    return [dispatch(kernel, grid, x=x, y=y, n=n, **sizes, **slides.fields(), divisor=divisor)]


def _planes(x: Array, slides: Window) -> tuple[Array, list[int], tuple[int, ...]]:
    """X as [planes, 1, H, W], the size of a plane of y, and the shape of y."""
    out = [upper(d) for d in slides.over("pooling", (x.shape[-2], x.shape[-1]))]
    return x.reshape(-1, 1, *x.shape[-2:]).astype(np.float64), out, (*x.shape[:-2], *out)


def _max_shape(
    name: str,
    x: Tensor,
    size: Setting,
    *,
    stride: Setting = (),
    padding: Setting = 0,
    dilation: Setting = 1,
    ceil_mode: bool = False,
) -> Spec:
    slides = _window(name, size, stride, padding, dilation, ceil_mode)
    return _spec(name, slides, x, "float32" if name == "max_pool2d" else "int32")


def _max_reference(
    name: str,
    x: Array,
    size: Setting,
    *,
    stride: Setting = (),
    padding: Setting = 0,
    dilation: Setting = 1,
    ceil_mode: bool = False,
) -> Array:
    slides = _window(name, size, stride, padding, dilation, ceil_mode)
    planes, out, shape = _planes(x, slides)
    under = np.stack([a for _, _, a in taps(planes, slides, out, -np.inf)])
    if name == "max_pool2d":
        return float32(under.max(0).reshape(shape))
    places = np.arange(x.shape[-2] * x.shape[-1], dtype=np.float64)
    grid = np.broadcast_to(places.reshape(x.shape[-2:]), planes.shape)
    # NaN marks padding, so that an element of −∞ is found before it.
    where = np.stack([a for _, _, a in taps(grid, slides, out, np.nan)])
    beyond = np.isnan(where)
    first = np.argmax((under == np.where(beyond, -np.inf, under).max(0)) & ~beyond, 0)
    last = len(under) - 1 - np.argmax(np.isnan(under)[::-1], 0)
    first = np.where(np.isnan(under).any(0), last, first)[None]
    found: Array = np.take_along_axis(where, first, 0)[0].reshape(shape).astype(np.int32)
    return found


def _max_lower(
    name: str,
    target: Target,
    y: Tensor,
    x: Tensor,
    size: Setting,
    *,
    stride: Setting = (),
    padding: Setting = 0,
    dilation: Setting = 1,
    ceil_mode: bool = False,
) -> list[Dispatch]:
    slides = _window(name, size, stride, padding, dilation, ceil_mode)
    return _dispatch(target, y, x, slides, OP=_MAX if name == "max_pool2d" else _PLACE)


def _max_op(name: str) -> Op[...]:
    return Op(
        name,
        partial(_max_shape, name),
        partial(_max_reference, name),
        partial(_max_lower, name),
    )


max_pool2d = _max_op("max_pool2d")
max_pool2d_indices = _max_op("max_pool2d_indices")


def _avg_shape(
    x: Tensor,
    size: Setting,
    *,
    stride: Setting = (),
    padding: Setting = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Spec:
    if divisor is not None and divisor < 1:
        raise ShapeError(f"avg_pool2d: divisor is {divisor}, expected at least 1, or None")
    return _spec("avg_pool2d", _window("avg_pool2d", size, stride, padding, 1, ceil_mode), x)


def _avg_reference(
    x: Array,
    size: Setting,
    *,
    stride: Setting = (),
    padding: Setting = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Array:
    slides = _window("avg_pool2d", size, stride, padding, 1, ceil_mode)
    planes, out, shape = _planes(x, slides)
    total = np.sum([a for _, _, a in taps(planes, slides, out, 0)], 0)
    counts = [
        _covered(slides, i, out[i], x.shape[-2 + i], padded=count_include_pad) for i in (0, 1)
    ]
    over = divisor or counts[0][:, None] * counts[1]
    return float32((total / over).reshape(shape))


def _covered(slides: Window, i: int, out: int, size: int, *, padded: bool) -> Array:
    """How many elements each window covers along dimension i."""
    pad = slides.padding[i]
    first = np.arange(out) * slides.stride[i] - pad
    last = np.minimum(first + slides.size[i], size + pad)
    count: Array = last - first if padded else np.minimum(last, size) - np.maximum(first, 0)
    return count


def _avg_lower(
    target: Target,
    y: Tensor,
    x: Tensor,
    size: Setting,
    *,
    stride: Setting = (),
    padding: Setting = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> list[Dispatch]:
    slides = _window("avg_pool2d", size, stride, padding, 1, ceil_mode)
    return _dispatch(target, y, x, slides, divisor or 0, OP=_MEAN, INCLUDE_PAD=count_include_pad)


avg_pool2d = Op("avg_pool2d", _avg_shape, _avg_reference, _avg_lower)
