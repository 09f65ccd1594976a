"""Planes read at other places than their elements'. float32.

    upsample_nearest2d   y[…, i, j] = x[…, ⌊i·s⌋, ⌊j·s⌋]
    upsample_bilinear2d  y[…, i, j] = x between its neighbours at s·(i + ½) − ½, at least 0; with
                         `align_corners` at i·(H − 1) / (OH − 1), so that the corners stay
    grid_sampler_2d      y[n, c, i, j] = x[n, c] at grid[n, i, j] = (column, row), −1 … 1 across x
    grid_priors          y[row·W + column] = ((column + offset)·stride, (row + offset)·stride)

    x     float32 […, H, W]; of grid_sampler_2d [N, C, H, W]
    grid  float32 [N, OH, OW, 2]
    y     float32 […, OH, OW]; of grid_sampler_2d [N, C, OH, OW], of grid_priors [H·W, 2]

Upsampling takes the output's `size`, or `scales`: OH = ⌊H·scale⌋, and then s = 1/scale; else s =
H/OH. Places are float32, as in torch. A grid's ±1 are the outer edges of x, with `align_corners`
the middles of the outer elements. Beyond x lie zeros, its border repeated, or its reflection; the
nearest element of a place half-way is the even one. A place that is NaN lies beyond x, or where
there are no zeros at its first element. Source: torch.nn.functional.interpolate and grid_sample;
ExecuTorch's et_vk.grid_priors.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..dim import Dim, ceildiv, product, upper
from ..errors import ShapeError, UnsupportedError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import float32, require_float32

_RESIZE = load("resize")
_SAMPLE = load("grid_sample")
_PRIORS = load("grid_priors")
_MODES = ("bilinear", "nearest")
_PADDINGS = ("zeros", "border", "reflection")


def _resize_shape(
    op: str,
    x: Tensor,
    *,
    size: tuple[int, int] | None = None,
    scales: tuple[float, float] | None = None,
    align_corners: bool = False,
) -> Spec:
    require_float32(op, x=x)
    if len(x.shape) < 2:
        raise ShapeError(f"{op}: x is {x.spec}, expected […, H, W]")
    given = size or scales or (0,)
    if (size is None) == (scales is None) or not all(0 < n < np.inf for n in given):
        raise ShapeError(
            f"{op}: size is {size}, scales is {scales}, expected one of them, two numbers above 0"
        )
    if size is not None:
        return Spec((*x.shape[:-2], *size))
    assert scales
    out = [upper(d) * s for d, s in zip(x.shape[-2:], scales, strict=True)]
    if max(out) >= 1 << 31:
        raise ShapeError(f"{op}: scales is {scales}, of x, {x.spec}, expected sizes below 2³¹")
    return Spec((*x.shape[:-2], *map(int, out)))


def _steps(
    x: tuple[int, ...], y: tuple[int, ...], scales: tuple[float, float] | None, align: bool
) -> list[float]:
    """Steps in x for one in y, in both dimensions."""
    if align:
        return [(a - 1) / (b - 1) if b > 1 else 0.0 for a, b in zip(x, y, strict=True)]
    return [1 / s for s in scales] if scales else [a / b for a, b in zip(x, y, strict=True)]


def _resize_reference(
    op: str,
    x: Array,
    *,
    size: tuple[int, int] | None = None,
    scales: tuple[float, float] | None = None,
    align_corners: bool = False,
) -> Array:
    out = size or tuple(int(n * s) for n, s in zip(x.shape[-2:], scales or (), strict=True))
    bilinear = op == "upsample_bilinear2d"
    y = x.astype(np.float64)
    for axis, step in zip((-2, -1), _steps(x.shape[-2:], out, scales, align_corners), strict=True):
        i = np.arange(out[axis], dtype=np.float32)
        half = np.float32(0.5 if bilinear and not align_corners else 0)
        at = np.maximum(np.float32(step) * (i + half) - half, np.float32(0))
        first = np.minimum(at.astype(np.int32), x.shape[axis] - 1)
        column = (-1, *[1] * (-1 - axis))
        near = np.take(y, first, axis)
        if bilinear:
            further = np.take(y, np.minimum(first + 1, x.shape[axis] - 1), axis)
            share = np.clip(at - first, 0, 1).reshape(column)
            near = near + (further - near) * share
        y = near
    return float32(y)


def _resize_lower(
    op: str,
    target: Target,
    y: Tensor,
    x: Tensor,
    *,
    size: tuple[int, int] | None = None,
    scales: tuple[float, float] | None = None,
    align_corners: bool = False,
) -> list[Dispatch]:
    bilinear = op == "upsample_bilinear2d"
    kernel = _RESIZE.specialise(BILINEAR=bilinear, HALF_PIXEL=bilinear and not align_corners)
    (h, w), (oh, ow) = (tuple(upper(d) for d in t.shape[-2:]) for t in (x, y))
    steps = _steps((h, w), (oh, ow), scales, align_corners)
    n = product(y.shape)
    sizes = {"H": h, "W": w, "OH": oh, "OW": ow, "scale_h": steps[0], "scale_w": steps[1]}
    return [dispatch(kernel, fold(target, ceildiv(n, kernel["WIDTH"])), x=x, y=y, n=n, **sizes)]


def _resize(name: str) -> Op[...]:
    return Op(
        name,
        partial(_resize_shape, name),
        partial(_resize_reference, name),
        partial(_resize_lower, name),
    )


upsample_nearest2d = _resize("upsample_nearest2d")
upsample_bilinear2d = _resize("upsample_bilinear2d")


def _sample_shape(
    x: Tensor,
    grid: Tensor,
    *,
    mode: str = "bilinear",
    padding: str = "zeros",
    align_corners: bool = False,
) -> Spec:
    require_float32("grid_sampler_2d", x=x, grid=grid)
    fits = len(x.shape) == len(grid.shape) == 4
    if not fits or grid.shape[0] != x.shape[0] or grid.shape[3] != 2:
        raise ShapeError(
            f"grid_sampler_2d: x is {x.spec}, grid is {grid.spec},"
            " expected [N, C, H, W] and [N, OH, OW, 2]"
        )
    for name, given, known in (("mode", mode, _MODES), ("padding", padding, _PADDINGS)):
        if given not in known:
            raise UnsupportedError(
                f"grid_sampler_2d: {name} is {given!r}, expected one of {', '.join(known)}"
            )
    return Spec((*x.shape[:2], *grid.shape[1:3]))


def _place(v: Array, size: int, padding: str, align: bool) -> Array:
    """From −1 … 1 to x's elements; beyond them no further than it matters."""
    lost = np.isnan(v) | (np.isinf(v) & (padding == "reflection"))
    v = np.where(lost, 0, v)
    at = (v + 1) / 2 * (size - 1) if align else ((v + 1) * size - 1) / 2
    if padding == "reflection":
        low, span = (0.0, size - 1) if align else (-0.5, size)
        turns, rest = np.divmod(np.abs(at - low), max(span, 1))
        at = low + np.where(turns % 2 == 0, rest, span - rest)
    if padding == "zeros":
        return np.where(lost, -2, np.clip(at, -2, size + 1))
    return np.where(lost, 0, np.clip(at, 0, size - 1))


def _sample_reference(
    x: Array,
    grid: Array,
    *,
    mode: str = "bilinear",
    padding: str = "zeros",
    align_corners: bool = False,
) -> Array:
    w = _place(grid[..., 0].astype(np.float64), x.shape[3], padding, align_corners)
    h = _place(grid[..., 1].astype(np.float64), x.shape[2], padding, align_corners)
    batch = np.arange(len(x))[:, None, None]

    def at(rows: Array, columns: Array) -> Array:
        """X there, [N, OH, OW, C]; zeros beyond."""
        r, c = (
            np.clip(v, 0, n - 1).astype(int)
            for v, n in zip((rows, columns), x.shape[2:], strict=True)
        )
        found: Array = x.transpose(0, 2, 3, 1)[batch, r, c].astype(np.float64)
        return np.where(((r == rows) & (c == columns))[..., None], found, 0)

    if mode == "nearest":
        return float32(at(np.rint(h), np.rint(w)).transpose(0, 3, 1, 2))
    top, left = np.floor(h), np.floor(w)
    down, across = (h - top)[..., None], (w - left)[..., None]
    above = at(top, left) * (1 - across) + at(top, left + 1) * across
    below = at(top + 1, left) * (1 - across) + at(top + 1, left + 1) * across
    return float32((above * (1 - down) + below * down).transpose(0, 3, 1, 2))


def _sample_lower(
    target: Target,
    y: Tensor,
    x: Tensor,
    grid: Tensor,
    *,
    mode: str = "bilinear",
    padding: str = "zeros",
    align_corners: bool = False,
) -> list[Dispatch]:
    kernel = _SAMPLE.specialise(
        NEAREST=mode == "nearest", PADDING=_PADDINGS.index(padding), ALIGN_CORNERS=align_corners
    )
    n, c, h, w = x.shape
    cells = product(y.shape[2:])
    work = n * ceildiv(c, kernel["CHANNELS"]) * cells
    launch = fold(target, ceildiv(work, kernel["WIDTH"]))
    return [dispatch(kernel, launch, x=x, points=grid, y=y, N=n, C=c, H=h, W=w, cells=cells)]


grid_sampler_2d = Op("grid_sampler_2d", _sample_shape, _sample_reference, _sample_lower)


def _priors_shape(height: Dim, width: Dim, *, stride: float, offset: float) -> Spec:
    return Spec((height * width, 2))


def _priors_reference(height: int, width: int, *, stride: float, offset: float) -> Array:
    rows, columns = np.indices((height, width), np.float32)
    points = np.stack((columns, rows), -1).reshape(-1, 2)
    return float32((points + np.float32(offset)) * np.float32(stride))


def _priors_lower(
    target: Target, y: Tensor, height: Dim, width: Dim, *, stride: float, offset: float
) -> list[Dispatch]:
    n = height * width
    grid = fold(target, ceildiv(n, _PRIORS["WIDTH"]))
    return [dispatch(_PRIORS, grid, y=y, n=n, W=width, stride=stride, offset=offset)]


grid_priors = Op("grid_priors", _priors_shape, _priors_reference, _priors_lower)
