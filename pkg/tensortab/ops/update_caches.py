"""update_caches: from a joined product to queries and grown caches, in one dispatch.

    qkv      float32 [B, S, heads + 2 · kv_heads, D], in the order q, k, v; D is even
    k_cache, v_cache  float32 or float16 [B, Smax, kv_heads, D], states; updated
    pos      a live scalar, or an int: the position of row 0
    turns    float32 [positions, R] of cos and then sin (`rope_turns`), R ≤ D; None turns nothing
    q_norm, k_norm    float32 [D], both or none
    y        float32 [B, S, heads, D]

The heads of q and k are normed (rms_norm with eps and offset, head by head) where there are
weights, and turned (apply_rotary_emb, half-split pairs) where there is a table. Then k and v go to
the rows pos … pos + S − 1 of the caches (`after(k_cache, y)` shows them), and y is q.
"""

from __future__ import annotations

import numpy as np

from ..dim import ceildiv, product, upper
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Limit, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import require_float32, require_vector
from .norm import rms_norm
from .rope import apply_rotary_emb
from .update_cache import DTYPES, bind_position, position, position_of, update_cache

_KERNEL = load("update_caches")


def rope_turns(cos: Array, sin: Array) -> Array:
    """A table [positions, R] of both tables [positions, R/2] of `rope_table`."""
    return np.concatenate([cos, sin], 1)


def _shape(
    qkv: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    pos: Tensor | int,
    turns: Tensor | None = None,
    q_norm: Tensor | None = None,
    k_norm: Tensor | None = None,
    *,
    eps: float = 1e-6,
    offset: float = 0.0,
) -> Spec:
    op = "update_caches"
    require_float32(op, qkv=qkv)
    position(op, pos)
    if k_cache.spec != v_cache.spec or k_cache.dtype not in DTYPES or len(k_cache.shape) != 4:
        raise ShapeError(
            f"{op}: k_cache is {k_cache.spec}, v_cache is {v_cache.spec}, expected both"
            " float32 or float16 [B, Smax, kv_heads, D]"
        )
    batch, _, kv_heads, width = k_cache.shape
    total = qkv.shape[2] if len(qkv.shape) == 4 else 0
    least = 2 * upper(kv_heads)
    if (qkv.shape[0], qkv.shape[-1]) != (batch, width) or upper(total) <= least:
        raise ShapeError(
            f"{op}: qkv is {qkv.spec}, expected [{batch}, S, more than {least}, {width}]"
            f" (k_cache is {k_cache.spec}: {kv_heads} heads each of k and v)"
        )
    if upper(width) % 2:
        raise ShapeError(f"{op}: qkv is {qkv.spec}, expected an even D")
    for name, t in (("q_norm", q_norm), ("k_norm", k_norm)):
        require_vector(op, name, t, width, f"D of qkv, {qkv.spec}")
    if (q_norm is None) != (k_norm is None):
        raise ShapeError(f"{op}: one of q_norm and k_norm is given, expected both or none")
    if turns is not None:
        _check_turns(turns, upper(width))
    return Spec((*qkv.shape[:2], upper(total) - least, width))


def _check_turns(turns: Tensor, width: int) -> None:
    require_float32("update_caches", turns=turns)
    r = upper(turns.shape[1]) if len(turns.shape) == 2 else 1
    if r % 2 or r > width:
        raise ShapeError(
            f"update_caches: turns is {turns.spec}, expected [positions, R], R even and at most"
            f" D = {width}"
        )


def _reference(
    qkv: Array,
    k_cache: Array,
    v_cache: Array,
    pos: Array | int,
    turns: Array | None = None,
    q_norm: Array | None = None,
    k_norm: Array | None = None,
    *,
    eps: float = 1e-6,
    offset: float = 0.0,
) -> tuple[Array, Array, Array]:
    kv_heads, past = k_cache.shape[2], position_of(pos)
    q, k, v = np.split(qkv, [-2 * kv_heads, -kv_heads], axis=2)
    if q_norm is not None and k_norm is not None:
        q, k = (
            rms_norm.reference(a, w, eps=eps, offset=offset) for a, w in ((q, q_norm), (k, k_norm))
        )
    if turns is not None:
        cos, sin = np.split(turns, 2, axis=1)
        q, k = (apply_rotary_emb.reference(a, cos, sin, past) for a in (q, k))
    return q, update_cache.reference(k_cache, k, past), update_cache.reference(v_cache, v, past)


def _limit(
    qkv: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    pos: Tensor | int,
    turns: Tensor | None = None,
    q_norm: Tensor | None = None,
    k_norm: Tensor | None = None,
    *,
    eps: float = 1e-6,
    offset: float = 0.0,
) -> Limit:
    most = [upper(t.shape[i]) for t, i in ((k_cache, 1), (turns, 0)) if t is not None]
    end = position("update_caches", pos) + qkv.shape[1]
    return end, min(most), "pos + S, the rows of the caches and of turns in use"


def _lower(
    target: Target,
    y: Tensor,
    qkv: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    pos: Tensor | int,
    turns: Tensor | None = None,
    q_norm: Tensor | None = None,
    k_norm: Tensor | None = None,
    *,
    eps: float = 1e-6,
    offset: float = 0.0,
) -> list[Dispatch]:
    live, bound = bind_position(pos, qkv)
    kernel = _KERNEL.specialise(
        NORM=q_norm is not None,
        TURN=turns is not None,
        HALF=k_cache.dtype == "float16",
        LIVE=live,
        LANES=1 if target.software else 32,
        HEADS=16 if target.software else 2,
    )
    count = product(qkv.shape[:3])
    sizes = {
        "count": count,
        "S": qkv.shape[1],
        "heads": y.shape[2],
        "kv_heads": k_cache.shape[2],
        "D": qkv.shape[3],
        "R": turns.shape[1] if turns else 0,
        "Smax": k_cache.shape[1],
    }
    given = {"turns": turns or qkv, "q_norm": q_norm or qkv, "k_norm": k_norm or qkv}
    caches = {"k_cache": k_cache, "v_cache": v_cache}
    grid = fold(target, ceildiv(count, kernel["HEADS"]))
    named = {**given, **caches, **sizes, **bound}
    return [dispatch(kernel, grid, qkv=qkv, y=y, **named, eps=eps, offset=offset)]


update_caches = Op("update_caches", _shape, _reference, _lower, updates=(1, 2), limit=_limit)
