"""Scaled dot-product attention, y = softmax(q · kᵀ · scale + mask) · v, fused. float32.

Vaswani et al., arXiv 1706.03762; grouped queries: Ainslie et al., arXiv 2305.13245.

Here k and v are as they are given, with an optional additive mask; over a cache, see
cached_attention.py, which shares what is said and checked here.

heads is a multiple of kv_heads: query head h reads K/V head h // (heads / kv_heads). head_dim is a
multiple of 4, 256 at most. A row that sees nothing (a mask of −∞) gives zeros.

Strategies, `lower`'s choice unless one is named:

    row     each invocation a few query rows; no barrier, anywhere; the choice for software
    tile    many query rows: tiles of scores in workgroup memory, online softmax (FlashAttention)
    matrix  the same with the GPU's matrix units, where the browser has them; no mask, head_dim a
            multiple of 16, 128 at most. q, k, v and weights are rounded to float16, sums are
            float32: y is off by up to 2e-3 of its largest magnitude
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..dim import Dim, ceildiv, upper
from ..errors import ShapeError, UnsupportedError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import contiguous, float32, require_float32, require_strategy, strides_in

_ROW = load("sdpa_row")
_TILE = load("sdpa_tile")
_MATRIX = load("sdpa_matrix")
_LAYOUTS = {"bhsd": (0, 1, 2), "bshd": (0, 2, 1)}  # where batch, heads and rows are
_STRATEGIES = ("row", "tile", "matrix")
_MATRIX_ROWS = 64  # from here on worth it

Named = Mapping[str, Tensor | Dim | float]  # bindings and Params fields


@dataclass(frozen=True)
class Sizes:
    """What q and k come to, whatever their layout."""

    batch: Dim
    heads: int
    kv_heads: int
    rows: Dim
    keys: Dim
    head_dim: int

    @property
    def group(self) -> int:
        """Query heads that share a K/V head."""
        return self.heads // self.kv_heads


def check_sizes(op: str, q: Tensor, k: Tensor, v: Tensor, layout: str) -> Sizes:
    """Check q, k and v against each other."""
    if layout not in _LAYOUTS:
        raise UnsupportedError(f"{op}: layout is {layout!r}, expected one of {[*_LAYOUTS]}")
    b, h, s = _LAYOUTS[layout]
    if not (
        len(q.shape) == len(k.shape) == 4
        and k.spec == v.spec
        and (q.shape[b], q.shape[3]) == (k.shape[b], k.shape[3])
    ):
        raise ShapeError(
            f"{op}: q is {q.spec}, k is {k.spec}, v is {v.spec}, expected four dimensions"
            f" ({layout}), equal B and D, and v like k"
        )
    heads, kv_heads, head_dim = q.shape[h], k.shape[h], q.shape[3]
    if not (isinstance(heads, int) and isinstance(kv_heads, int)) or heads % kv_heads:
        raise ShapeError(
            f"{op}: q has {heads} heads, k and v have {kv_heads}, expected a divisor of {heads}"
        )
    if not isinstance(head_dim, int) or head_dim % 4 or not 4 <= head_dim <= 256:
        raise UnsupportedError(
            f"{op}: head_dim is {head_dim}, expected a multiple of 4 from 4 to 256"
            " (kernels read whole vec4s, and a workgroup holds 64 of them)"
        )
    return Sizes(q.shape[b], heads, kv_heads, q.shape[s], k.shape[s], head_dim)


def weigh(q: Array, k: Array, v: Array, scale: float | None, bias: Array | float) -> Array:
    """Attention in float64; q [B, heads, S, D], k and v [B, kv_heads, keys, D]."""
    group = q.shape[1] // k.shape[1]
    k, v = (np.repeat(a.astype(np.float64), group, axis=1) for a in (k, v))
    score = q.astype(np.float64) @ k.swapaxes(-1, -2)
    score = score * (q.shape[-1] ** -0.5 if scale is None else scale) + bias
    most = score.max(-1, keepdims=True, initial=np.finfo(np.float32).min)
    weight = np.exp(score - most)
    total = weight.sum(-1, keepdims=True)
    return float32(np.divide(weight, total, out=np.zeros_like(weight), where=total > 0) @ v)


def causal_bias(rows: int, keys: int, past: int, window: int | None = None) -> Array:
    """0 where row s sees a key, −∞ where not."""
    ago = past + np.arange(rows)[:, None] - np.arange(keys)
    return np.where((ago >= 0) & (ago < (window or past + rows)), 0.0, -np.inf)


def scale_of(n: Sizes, scale: float | None) -> float:
    return float(n.head_dim**-0.5) if scale is None else scale


def shared_fields(n: Sizes, layout: str, scale: float | None) -> dict[str, Dim | float]:
    """Params that sdpa_row and sdpa_tile share, but for the mask's and `past`."""
    axes = dict(zip("bhs", _LAYOUTS[layout], strict=True))

    def strides(heads: int, rows: Dim) -> tuple[Dim, ...]:
        shape = (n.batch, heads, rows) if layout == "bhsd" else (n.batch, rows, heads)
        return contiguous((*shape, n.head_dim // 4))

    of_q, of_k = strides(n.heads, n.rows), strides(n.kv_heads, n.keys)
    return {
        "B": n.batch,
        "heads": n.heads,
        "group": n.group,
        "S": n.rows,
        "keys": n.keys,
        "scale": scale_of(n, scale),
        **{f"q_{a}": of_q[i] for a, i in axes.items()},
        **{f"k_{a}": of_k[i] for a, i in axes.items()},
    }


def choose(target: Target, n: Sizes, masked: bool) -> str:
    """Many rows' strategy."""
    if target.software:
        return "row"
    fits = target.matrices and not masked and n.head_dim % 16 == 0 and n.head_dim <= 128
    return "matrix" if fits and upper(n.rows) >= _MATRIX_ROWS else "tile"


def require_matrix(op: str, strategy: str | None, n: Sizes, mask: Tensor | None) -> None:
    """Refuse what the strategy `matrix` does not take, if it is asked for."""
    if strategy == "matrix" and (mask is not None or n.head_dim % 16 or n.head_dim > 128):
        raise UnsupportedError(
            f"{op}: the strategy 'matrix' takes no mask and a head_dim that is a multiple of 16,"
            f" 128 at most; it is {n.head_dim}{', with a mask' if mask is not None else ''}"
        )


def launch(
    target: Target,
    strategy: str,
    n: Sizes,
    knobs: Mapping[str, bool | int],
    given: Named,
) -> Dispatch:
    """Launch sdpa_row, sdpa_tile or sdpa_matrix: of `given` each its bindings and Params."""
    if strategy == "row":
        # llvmpipe takes a minute to compile 8 rows of 64 vec4s each, a second for 64 vec4s in all.
        most = max(1, min(upper(n.rows), 8, 64 // (n.head_dim // 4)))
        kernel = _ROW.specialise(D4=n.head_dim // 4, ROWS=most, **knobs)
        blocks = n.batch * n.heads * ceildiv(n.rows, kernel["ROWS"])
        grid = fold(target, ceildiv(blocks, kernel["WIDTH"]))
        return dispatch(kernel, grid, **given)
    if strategy == "matrix":
        own = {name: knob for name, knob in knobs.items() if name != "MASK"}
        kernel = _MATRIX.specialise(D16=n.head_dim // 16, **own)
        taken = {*kernel.fields, *(b.name for b in kernel.bindings)}
        given = {name: value for name, value in given.items() if name in taken}
        tall = 16 * kernel["SUBGROUPS"]
    else:
        quads = 2 if n.head_dim <= 128 else 1
        kernel = _TILE.specialise(D4=n.head_dim // 4, QUADS=quads, **knobs)
        tall = 4 * kernel["QUADS"] * kernel["TALL"]
    tiles = ceildiv(n.rows * n.group, tall)
    return dispatch(kernel, (n.batch * n.kv_heads, tiles, 1), **given)


def _sdpa_shape(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    scale: float | None = None,
    causal: bool = False,
    layout: str = "bhsd",
    strategy: str | None = None,
) -> Spec:
    require_float32("sdpa", q=q, k=k, v=v)
    require_strategy("sdpa", strategy, _STRATEGIES)
    n = check_sizes("sdpa", q, k, v, layout)
    require_matrix("sdpa", strategy, n, mask)
    if mask is not None:
        require_float32("sdpa", mask=mask)
        full = (n.batch, n.heads, n.rows, n.keys)
        ends = full[4 - len(mask.shape) :] if len(mask.shape) <= 4 else ()
        if len(mask.shape) > 4 or any(
            m not in (1, d) for m, d in zip(mask.shape, ends, strict=True)
        ):
            raise ShapeError(
                f"sdpa: mask is {mask.spec}, expected to broadcast to"
                f" [{', '.join(map(str, full))}] (B, heads, S, S of k)"
            )
    return q.spec


def _sdpa_reference(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    *,
    scale: float | None = None,
    causal: bool = False,
    layout: str = "bhsd",
    strategy: str | None = None,
) -> Array:
    if layout == "bshd":
        q, k, v = (a.swapaxes(1, 2) for a in (q, k, v))
    bias: Array | float = 0.0 if mask is None else mask.astype(np.float64)
    if causal:
        bias = bias + causal_bias(q.shape[2], k.shape[2], 0)
    y = weigh(q, k, v, scale, bias)
    return y if layout == "bhsd" else y.swapaxes(1, 2)


def _sdpa_lower(
    target: Target,
    y: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    scale: float | None = None,
    causal: bool = False,
    layout: str = "bhsd",
    strategy: str | None = None,
) -> list[Dispatch]:
    n = check_sizes("sdpa", q, k, v, layout)
    walk: tuple[Dim, ...] = (0, 0, 0, 0)
    if mask is not None:
        walk = strides_in(mask, (n.batch, n.heads, n.rows, n.keys))
    knobs = {"HALF": False, "LIVE": False, "CAUSAL": causal, "MASK": mask is not None}
    operands: Named = {"q": q, "k": k, "v": v, "mask": mask or q, "pos": q, "past": 0}
    strides = {f"m_{a}": m for a, m in zip("bhsk", walk, strict=True)}
    fields = shared_fields(n, layout, scale)
    chosen = strategy or choose(target, n, mask is not None)
    return [launch(target, chosen, n, knobs, {**operands, **strides, **fields, "y": y})]


sdpa = Op("sdpa", _sdpa_shape, _sdpa_reference, _sdpa_lower)
