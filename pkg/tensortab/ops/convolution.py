"""Convolution over one or two dimensions, in groups, and its transpose. float32.

    y[n, o, i, …] = Σ_c,k x[n, c, i·stride + k·dilation − padding, …] · w[o, c, k, …] (+ bias[o])

    x     float32 [N, C, L] or [N, C, H, W]
    w     float32 [O, C/groups, size…]; transposed [C, O/groups, size…]
    bias  float32 [O], optional
    y     float32 [N, O, …], ⌊(L + 2·padding − dilation·(size − 1) − 1) / stride⌋ + 1 long

Group g takes its own channels of x to its own channels of y. Beyond x are zeros. Transposed, y is
what a window of that kind would have slid over to give x: every x[n, c, i] is added, times w, at
y[n, o, i·stride + k·dilation − padding], and y is (L − 1)·stride − 2·padding + dilation·(size − 1)
+ output_padding + 1 long. `low` and `high` keep y within them (a ReLU, a ReLU6 that follows); a
bound beyond float32 is float32's largest number. Settings are one number, or one a dimension, as
torch.nn.functional.conv2d and conv_transpose2d have them.

Strategies, `lower`'s choice unless one is named:

    tile  each invocation four positions of a few channels; no barrier; the choice for software,
          few channels and depthwise convolution (a channel a group)
    gemm  as a matrix product through workgroup memory
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict, Unpack

import numpy as np

from ..dim import Dim, ceildiv, upper
from ..errors import ShapeError
from ..kernel import Kernel, load
from ..op import Array, Dispatch, Limit, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import Shape, float32, require_float32, require_strategy, require_vector
from .window import Setting, Window, plane, taps, window

_TILE = load("conv_tile")
_GEMM = load("conv_gemm")
_STRATEGIES = ("tile", "gemm")
_LARGEST = float(np.finfo(np.float32).max)
# Below these a tile of gemm would be mostly empty.
_CHANNELS_IN, _CHANNELS_OUT = 8, 16


class Settings(TypedDict, total=False):
    """Everything about a convolution but its tensors; what is not said is torch's default."""

    stride: Setting
    padding: Setting
    dilation: Setting
    transposed: bool
    output_padding: Setting
    groups: int
    low: float
    high: float


@dataclass(frozen=True)
class Geometry:
    """A convolution's window, and the channels of x and of y in each of its groups."""

    window: Window
    groups: int
    C: int
    O: int

    def fields(self) -> dict[str, Dim | float]:
        """The Params of the kernels that this decides."""
        return {"groups": self.groups, "C": self.C, "O": self.O, **self.window.fields()}


def geometry(op: str, x: Shape, w: Shape, settings: Settings) -> Geometry:
    """Check x [N, C, …] against a weight [O, C/groups, …], or transposed [C, O/groups, …]."""
    if len(x) not in (3, 4) or len(w) != len(x):
        raise ShapeError(
            f"{op}: x is {_text(x)}, w is {_text(w)}, expected both [·, ·, L] or [·, ·, H, W]"
        )
    rank = len(x) - 2
    groups, transposed = settings.get("groups", 1), settings.get("transposed", False)
    first, second = upper(w[0]), upper(w[1]) * max(groups, 1)
    c, o = (first, second) if transposed else (second, first)
    if groups < 1 or first % groups or x[1] != c:
        layout = "[C, O/groups, …]" if transposed else "[O, C/groups, …]"
        raise ShapeError(
            f"{op}: w is {_text(w)}, as {layout} with {groups} groups, so C = {c} and O = {o},"
            f" which groups must divide; x is {_text(x)}, so C = {x[1]}"
        )
    slides = window(
        op,
        rank,
        [upper(d) for d in w[2:]],
        stride=settings.get("stride", 1),
        padding=settings.get("padding", 0),
        dilation=settings.get("dilation", 1),
        transposed=transposed,
        output_padding=settings.get("output_padding", 0),
    )
    return Geometry(slides, groups, c // groups, o // groups)


def _text(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _shape(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    strategy: str | None = None,
    **settings: Unpack[Settings],
) -> Spec:
    require_float32("convolution", x=x, w=w)
    require_strategy("convolution", strategy, _STRATEGIES)
    g = geometry("convolution", x.shape, w.shape, settings)
    o = g.groups * g.O
    require_vector("convolution", "bias", bias, o, f"O = {o} channels of w, {w.spec}")
    out = g.window.over("convolution", plane(x.shape))
    return Spec((x.shape[0], o, *out[4 - len(x.shape) :]))


def correlate(x: Array, w: Array, g: Geometry) -> Array:
    """The sums alone, in x's dtype: x [N, C, H, W], w [O, C/groups, KH, KW], also if transposed."""
    out = [upper(d) for d in g.window.over("convolution", (x.shape[2], x.shape[3]))]
    weight = w.reshape(g.groups, g.O, g.C, *w.shape[2:])
    y = np.zeros((len(x), g.groups, g.O, *out), x.dtype)
    if g.window.transposed:
        _scatter(y, x.reshape(len(x), g.groups, g.C, *x.shape[2:]), weight, g.window)
    else:
        for kh, kw, here in taps(x, g.window, out, 0):
            under = here.reshape(len(x), g.groups, g.C, *out)
            y += np.einsum("ngchw,goc->ngohw", under, weight[..., kh, kw])
    return y.reshape(len(x), g.groups * g.O, *out)


def _scatter(y: Array, x: Array, w: Array, slides: Window) -> None:
    """Add every x times every w where a transposed convolution puts it in y."""
    for kh, kw in np.ndindex(slides.size):
        places = [
            np.arange(x.shape[3 + i]) * slides.stride[i]
            + k * slides.dilation[i]
            - slides.padding[i]
            for i, k in enumerate((kh, kw))
        ]
        r, c = ((at >= 0) & (at < y.shape[3 + i]) for i, at in enumerate(places))
        part = np.einsum("ngchw,goc->ngohw", x[..., r, :][..., c], w[..., kh, kw])
        y[..., places[0][r][:, None], places[1][c]] += part


def _reference(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    strategy: str | None = None,
    **settings: Unpack[Settings],
) -> Array:
    g = geometry("convolution", x.shape, w.shape, settings)
    v, weight = (
        a.astype(np.float64)[:, :, None] if a.ndim == 3 else a.astype(np.float64) for a in (x, w)
    )
    if g.window.transposed:  # [C, O/groups, …] → [O, C/groups, …]
        split = weight.reshape(g.groups, g.C, g.O, *g.window.size)
        weight = split.swapaxes(1, 2).reshape(g.groups * g.O, g.C, *g.window.size)
    y = correlate(v, weight, g)
    if bias is not None:
        y += bias[:, None, None]
    y = np.clip(y, settings.get("low", -np.inf), settings.get("high", np.inf))
    return float32(y[:, :, 0] if x.ndim == 3 else y)


def _launch(strategy: str, g: Geometry, batch: Dim, cells: Dim) -> tuple[Kernel, Dim]:
    """The kernel with its channels, and how many workgroups cover y."""
    if strategy == "tile":
        kernel = _TILE.specialise(CHANNELS=min(max(g.O, 1), 8))
        tiles = ceildiv(cells, 4) * -(-g.O // kernel["CHANNELS"])
        return kernel, ceildiv(batch * g.groups * tiles, kernel["WIDTH"])
    kernel = _GEMM.specialise(ROWS=min(max(-(-g.O // 16), 1), 4))
    return kernel, batch * g.groups * ceildiv(cells, 64) * -(-g.O // (16 * kernel["ROWS"]))


def _lower(
    target: Target,
    y: Tensor,
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    strategy: str | None = None,
    **settings: Unpack[Settings],
) -> list[Dispatch]:
    g = geometry("convolution", x.shape, w.shape, settings)
    (h, v), (oh, ov) = plane(x.shape), plane(y.shape)
    few = target.software or g.C < _CHANNELS_IN or g.O < _CHANNELS_OUT
    chosen = strategy or ("tile" if few else "gemm")
    kernel, workgroups = _launch(chosen, g, x.shape[0], oh * ov)
    low, high = settings.get("low", -np.inf), settings.get("high", np.inf)
    kernel = kernel.specialise(
        TRANSPOSED=g.window.transposed,
        BIAS=bias is not None,
        CLAMP=low > -_LARGEST or high < _LARGEST,
    )
    area = g.window.size[0] * g.window.size[1]
    w_o, w_c = (area, g.O * area) if g.window.transposed else (g.C * area, area)
    sizes = {"N": x.shape[0], "H": h, "W": v, "OH": oh, "OW": ov, "w_o": w_o, "w_c": w_c}
    bounds = {"low": max(low, -_LARGEST), "high": min(high, _LARGEST)}
    operands = {"x": x, "w": w, "bias": bias or w, "y": y}
    fields = {**sizes, **g.fields(), **bounds}
    return [dispatch(kernel, fold(target, workgroups), **operands, **fields)]


def _limit(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    strategy: str | None = None,
    **settings: Unpack[Settings],
) -> Limit:
    slides = geometry("convolution", x.shape, w.shape, settings).window
    return slides.limit(plane(x.shape))


convolution = Op("convolution", _shape, _reference, _lower, limit=_limit)
