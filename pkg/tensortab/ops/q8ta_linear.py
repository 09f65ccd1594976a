"""y = dequantize(x) · dequantize(w)ᵀ (+ bias), x and w in 8 bits; y a float, or quantized again.

    x       int8 […, K], with one scale and zero point (quantize.py)
    w       int8 [N, K], symmetric
    scales  float32 [N], of w's rows
    bias    float32 [N], optional
    y       float32 […, N]; with `out` int8, of out's scale and zero point

    sum = Σ_k (x − zero_point) · w                           an integer, exact
    v   = float32(sum) · scale · scales[n] + bias[n]         float32, in this order
    y   = v, max(v, 0) with activation "relu", then quantized as quantize.py says

A GPU may fuse the last product and sum, so that a v within an ulp of half-way between two codes may
take the other. scales and bias may be longer than N, up to a multiple of 4; the rest is not read.
Source: ExecuTorch's et_vk.linear_q8ta_q8csw and et_vk.q8ta_linear.

Strategies, `lower`'s choice unless one is named:

    tile  each invocation a tile of y; no barrier; the choice for software and many rows
    gemv  up to 8 rows of x: a workgroup walks along K together
"""

from __future__ import annotations

import numpy as np

from ..dim import Dim, ceildiv, upper
from ..errors import ShapeError, UnsupportedError
from ..kernel import Kernel, load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import float32, require_strategy, rows_of
from .quantize import Affine, quantizing, require_codes

_KERNEL = load("q8ta_linear")
_STRATEGIES = ("tile", "gemv")
_ACTIVATIONS = ("none", "relu")
_FEW_ROWS = 8  # of a tile; a workgroup's memory holds their sums for every lane of gemv
_LANES = 64
_LONGEST = (2**31 - 1) // (255 * 128)  # products of two codes that an int32 holds the sum of


def check(
    op: str,
    length: int,
    outputs: int,
    vectors: dict[str, Tensor | None],
    affines: tuple[Affine, Affine | None],
    activation: str,
) -> None:
    """Refuse sums that may overflow, vectors not of the outputs' number, settings unknown."""
    if length > _LONGEST:
        raise UnsupportedError(
            f"{op}: sums of {length} products, expected at most {_LONGEST}, what an int32 can hold"
        )
    padded = -(-outputs // 4) * 4
    for name, t in vectors.items():
        if t is not None and (
            t.dtype != "float32" or len(t.shape) != 1 or not outputs <= upper(t.shape[0]) <= padded
        ):
            raise ShapeError(
                f"{op}: {name} is {t.spec}, expected float32[{outputs}] (of the rows of w), or up"
                f" to {padded} long"
            )
    for affine in affines:
        if affine:
            affine.check(op)
    if activation not in _ACTIVATIONS:
        raise UnsupportedError(
            f"{op}: activation is {activation!r}, expected one of {', '.join(_ACTIVATIONS)}"
        )


def finish(v: Array, out: Affine | None, activation: str) -> Array:
    """The activation, and the codes if y has any."""
    active = np.maximum(v, 0) if activation == "relu" else v
    return out.codes(active) if out else float32(active)


def quantized(
    target: Target, y: Tensor, out: Affine | None, whole: bool
) -> tuple[Tensor, list[Dispatch]]:
    """What a kernel writes, and what remains: codes only if they are `whole` words, else floats."""
    if out is None or whole:
        return y, []
    floats = Tensor(Spec(y.shape))
    return floats, [quantizing(target, y, floats, out=out)]


def _shape(
    x: Tensor,
    w: Tensor,
    scales: Tensor,
    bias: Tensor | None = None,
    *,
    affine: Affine,
    out: Affine | None = None,
    activation: str = "none",
    strategy: str | None = None,
) -> Spec:
    require_codes("q8ta_linear", x=x, w=w)
    require_strategy("q8ta_linear", strategy, _STRATEGIES)
    if len(w.shape) != 2 or not x.shape or x.shape[-1] != w.shape[1]:
        raise ShapeError(f"q8ta_linear: x is {x.spec}, w is {w.spec}, expected […, K] and [N, K]")
    vectors = {"scales": scales, "bias": bias}
    n, k = upper(w.shape[0]), upper(w.shape[1])
    check("q8ta_linear", k, n, vectors, (affine, out), activation)
    if strategy == "gemv" and upper(rows_of(x)) > _FEW_ROWS:
        raise UnsupportedError(
            f"q8ta_linear: strategy 'gemv' takes up to {_FEW_ROWS} rows, x is {x.spec}"
        )
    return Spec((*x.shape[:-1], n), "int8" if out else "float32")


def _reference(
    x: Array,
    w: Array,
    scales: Array,
    bias: Array | None = None,
    *,
    affine: Affine,
    out: Affine | None = None,
    activation: str = "none",
    strategy: str | None = None,
) -> Array:
    total = (x.astype(np.int64) - affine.zero_point) @ w.T.astype(np.int64)
    v = float32(total) * np.float32(affine.scale) * scales[: len(w)]
    return finish(v if bias is None else v + bias[: len(w)], out, activation)


def _launch(strategy: str, m: Dim, n: Dim) -> tuple[Kernel, Dim]:
    """The kernel with its rows and lanes, and how many workgroups cover y."""
    rows = min(max(upper(m), 1), _FEW_ROWS)
    if strategy == "gemv":
        return _KERNEL.specialise(ROWS=rows, LANES=_LANES, WIDTH=1), ceildiv(n, 4)
    kernel = _KERNEL.specialise(ROWS=rows)
    return kernel, ceildiv(ceildiv(m, kernel["ROWS"]) * ceildiv(n, 4), kernel["WIDTH"])


def _lower(
    target: Target,
    y: Tensor,
    x: Tensor,
    w: Tensor,
    scales: Tensor,
    bias: Tensor | None = None,
    *,
    affine: Affine,
    out: Affine | None = None,
    activation: str = "none",
    strategy: str | None = None,
) -> list[Dispatch]:
    m, n, k = rows_of(x), upper(w.shape[0]), w.shape[1]
    few = upper(m) <= _FEW_ROWS and not target.software
    kernel, workgroups = _launch(strategy or ("gemv" if few else "tile"), m, n)
    whole = n % 4 == 0
    written, rest = quantized(target, y, out, whole)
    kernel = kernel.specialise(
        BIAS=bias is not None,
        RELU=activation == "relu",
        CODES=out is not None and whole,
        ALIGNED=upper(k) % 4 == 0,
    )
    operands = {"x": x, "w": w, "scales": scales, "bias": bias or scales, "y": written}
    last = out or Affine(1)
    fields = {
        "scale": affine.scale,
        "zero_point": affine.zero_point,
        "inverse": last.inverse,
        "y_zero_point": last.zero_point,
    }
    return [dispatch(kernel, fold(target, workgroups), **operands, M=m, N=n, K=k, **fields), *rest]


q8ta_linear = Op("q8ta_linear", _shape, _reference, _lower)
