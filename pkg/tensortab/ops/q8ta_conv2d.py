"""Convolution of x and w in 8 bits (convolution.py has the sums, q8ta_linear.py what follows them).

    x       int8 [N, C, H, W], with one scale and zero point; beyond x lie values of 0
    w       int8 [O, size[0]·size[1]·C/groups], symmetric: tap after tap, each tap's channels side
            by side, rows filled up to a multiple of 4 bytes (or not); the same if transposed.
            With `depthwise` (C = groups = O) int8 [size[0], size[1], O]
    scales  float32 [O], of w's rows
    bias    float32 [O], optional
    y       float32 [N, O, OH, OW]; with `out` int8, of out's scale and zero point

The sums are integers, and exact. scales and bias may be longer than O, up to a multiple of 4. Of a
transposed convolution in groups too, scales[o] is channel o's. Source: ExecuTorch's
et_vk.q8ta_conv2d, _pw, _dw and _transposed.
"""

from __future__ import annotations

from typing import TypedDict, Unpack

import numpy as np

from ..dim import ceildiv, upper
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Limit, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .convolution import Geometry, Settings, correlate, geometry
from .layout import Shape, float32
from .q8ta_linear import check, finish, quantized
from .quantize import Affine, require_codes
from .window import Setting

_KERNEL = load("q8ta_conv")


class Codes(TypedDict, total=False):
    """Everything about a convolution of codes but its tensors, the window's size and x's affine."""

    stride: Setting
    padding: Setting
    dilation: Setting
    transposed: bool
    output_padding: Setting
    groups: int
    out: Affine | None
    activation: str
    depthwise: bool


def _geometry(x: Shape, w: Shape, size: tuple[int, int], codes: Codes) -> Geometry:
    depthwise = codes.get("depthwise", False)
    if len(x) != 4 or len(w) != (3 if depthwise else 2):
        raise ShapeError(
            f"q8ta_conv2d: x is {list(map(str, x))}, w is {list(map(str, w))}, expected"
            f" [N, C, H, W] and {'[KH, KW, O]' if depthwise else '[O, KH·KW·C/groups]'}"
        )
    groups = max(codes.get("groups", 1), 1)
    c, o = upper(x[1]), upper(w[2 if depthwise else 0])
    full = (c, o // groups, *size) if codes.get("transposed") else (o, c // groups, *size)
    settings = Settings(
        stride=codes.get("stride", 1),
        padding=codes.get("padding", 0),
        dilation=codes.get("dilation", 1),
        transposed=codes.get("transposed", False),
        output_padding=codes.get("output_padding", 0),
        groups=codes.get("groups", 1),
    )
    g = geometry("q8ta_conv2d", x, full, settings)
    row = size[0] * size[1] * g.C
    expected = (*size, o) if depthwise else (o, row)
    padded = expected if depthwise else (o, -(-row // 4) * 4)
    if w not in (expected, padded) or (depthwise and g.C != 1) or g.O * groups != o:
        raise ShapeError(
            f"q8ta_conv2d: w is {list(map(str, w))}, expected {list(expected)} or {list(padded)}"
            f" (a window {list(size)}, {g.C} channels of x in each of {groups} groups)"
        )
    return g


def _shape(
    x: Tensor,
    w: Tensor,
    scales: Tensor,
    bias: Tensor | None = None,
    *,
    size: tuple[int, int],
    affine: Affine,
    **codes: Unpack[Codes],
) -> Spec:
    require_codes("q8ta_conv2d", x=x, w=w)
    g = _geometry(x.shape, w.shape, size, codes)
    o = g.groups * g.O
    out = codes.get("out")
    vectors = {"scales": scales, "bias": bias}
    activation = codes.get("activation", "none")
    check("q8ta_conv2d", size[0] * size[1] * g.C, o, vectors, (affine, out), activation)
    cells = g.window.over("q8ta_conv2d", (x.shape[2], x.shape[3]))
    return Spec((x.shape[0], o, *cells), "int8" if out else "float32")


def _reference(
    x: Array,
    w: Array,
    scales: Array,
    bias: Array | None = None,
    *,
    size: tuple[int, int],
    affine: Affine,
    **codes: Unpack[Codes],
) -> Array:
    g = _geometry(x.shape, w.shape, size, codes)
    o = g.groups * g.O
    rows = w.reshape(-1, o).T if codes.get("depthwise") else w[:, : size[0] * size[1] * g.C]
    weight = rows.reshape(o, *size, g.C).transpose(0, 3, 1, 2).astype(np.int64)
    total = correlate(x.astype(np.int64) - affine.zero_point, weight, g)
    v = float32(total) * np.float32(affine.scale) * scales[:o, None, None]
    v = v if bias is None else v + bias[:o, None, None]
    return finish(v, codes.get("out"), codes.get("activation", "none"))


def _lower(
    target: Target,
    y: Tensor,
    x: Tensor,
    w: Tensor,
    scales: Tensor,
    bias: Tensor | None = None,
    *,
    size: tuple[int, int],
    affine: Affine,
    **codes: Unpack[Codes],
) -> list[Dispatch]:
    g = _geometry(x.shape, w.shape, size, codes)
    out, cells = codes.get("out"), y.shape[2] * y.shape[3]
    whole = isinstance(cells, int) and cells % 4 == 0
    written, rest = quantized(target, y, out, whole)
    kernel = _KERNEL.specialise(
        CHANNELS=min(g.O, 8),
        TRANSPOSED=g.window.transposed,
        BIAS=bias is not None,
        RELU=codes.get("activation") == "relu",
        CODES=out is not None and whole,
    )
    work = x.shape[0] * g.groups * -(-g.O // kernel["CHANNELS"]) * ceildiv(cells, 4)
    depthwise, last = codes.get("depthwise", False), out or Affine(1)
    operands = {"x": x, "w": w, "scales": scales, "bias": bias or scales, "y": written}
    n, _, h, v = x.shape
    fields = {
        **g.fields(),
        "w_o": 1 if depthwise else w.shape[1],
        "w_tap": g.groups * g.O if depthwise else g.C,
        "scale": affine.scale,
        "zero_point": affine.zero_point,
        "inverse": last.inverse,
        "y_zero_point": last.zero_point,
    }
    sizes = {"N": n, "H": h, "W": v, "OH": y.shape[2], "OW": y.shape[3]}
    grid = fold(target, ceildiv(work, kernel["WIDTH"]))
    return [dispatch(kernel, grid, **operands, **sizes, **fields), *rest]


def _limit(
    x: Tensor,
    w: Tensor,
    scales: Tensor,
    bias: Tensor | None = None,
    *,
    size: tuple[int, int],
    affine: Affine,
    **codes: Unpack[Codes],
) -> Limit:
    slides = _geometry(x.shape, w.shape, size, codes).window
    return slides.limit((x.shape[2], x.shape[3]))


q8ta_conv2d = Op("q8ta_conv2d", _shape, _reference, _lower, limit=_limit)
