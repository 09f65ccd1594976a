"""Attention over a KV cache, causal, at a live position.

attend               y = softmax(q · kᵀ · scale) · v over the rows of the caches in use
sdpa_with_kv_cache   k and v join the caches at the position first, then that

q [B, S, heads, D], caches [B, Smax, kv_heads, D] float32 or float16; row s sees rows
0 … pos + s of the caches, or with a `window` (Beltagy et al., arXiv 2004.05150) the last `window`
of those. Meaning, sizes and the strategies `row`, `tile` and `matrix`: attention.py. `split`, for
few query rows: chunks of keys in parallel, then joined (Flash-Decoding). No strategy walks over
keys before the window of its first row.
"""

from __future__ import annotations

from ..dim import Dim, ceildiv, upper
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Composite, Dispatch, Limit, Op, Spec, Tensor, dispatch
from ..target import Target
from .attention import (
    Named,
    Sizes,
    causal_bias,
    check_sizes,
    choose,
    launch,
    require_matrix,
    scale_of,
    shared_fields,
    weigh,
)
from .chunks import KEYS, combine, live_chunks, seen
from .layout import require_float32, require_strategy
from .update_cache import DTYPES, bind_position, position, position_of, update_cache

_SPLIT = load("sdpa_split")
_FEW_ROWS = 8  # up to here a tile would be mostly empty
_STRATEGIES = ("row", "tile", "matrix", "split")


def _attend_shape(
    q: Tensor,
    k_all: Tensor,
    v_all: Tensor,
    pos: Tensor | int,
    *,
    scale: float | None = None,
    window: int | None = None,
    strategy: str | None = None,
) -> Spec:
    require_float32("attend", q=q)
    require_strategy("attend", strategy, _STRATEGIES)
    position("attend", pos)
    if window is not None and window < 1:
        raise ShapeError(f"attend: window is {window}, expected at least 1, the row's own key")
    require_matrix("attend", strategy, check_sizes("attend", q, k_all, v_all, "bshd"), None)
    if k_all.dtype not in DTYPES:
        raise ShapeError(f"attend: the caches are {k_all.spec}, expected float32 or float16")
    return q.spec


def _attend_reference(
    q: Array,
    k_all: Array,
    v_all: Array,
    pos: Array | int,
    *,
    scale: float | None = None,
    window: int | None = None,
    strategy: str | None = None,
) -> Array:
    past, rows = position_of(pos), q.shape[1]
    q, k, v = (a.swapaxes(1, 2) for a in (q, k_all[:, : past + rows], v_all[:, : past + rows]))
    return weigh(q, k, v, scale, causal_bias(rows, past + rows, past, window)).swapaxes(1, 2)


def _attend_limit(
    q: Tensor,
    k_all: Tensor,
    v_all: Tensor,
    pos: Tensor | int,
    *,
    scale: float | None = None,
    window: int | None = None,
    strategy: str | None = None,
) -> Limit:
    end = position("attend", pos) + q.shape[1]
    return end, k_all.shape[1], "pos + S, the rows of the caches in use"


def _attend_lower(
    target: Target,
    y: Tensor,
    q: Tensor,
    k_all: Tensor,
    v_all: Tensor,
    pos: Tensor | int,
    *,
    scale: float | None = None,
    window: int | None = None,
    strategy: str | None = None,
) -> list[Dispatch]:
    n = check_sizes("attend", q, k_all, v_all, "bshd")
    few = upper(n.rows) <= _FEW_ROWS and not target.software
    chosen = strategy or ("split" if few else choose(target, n, masked=False))
    live, bound = bind_position(pos, q)
    half = k_all.dtype == "float16"
    operands: Named = {"q": q, "k": k_all, "v": v_all, **bound}
    if chosen == "split":
        past = position("attend", pos)
        return _split(target, y, n, operands, past, scale, window, half, live)
    knobs = {"HALF": half, "LIVE": live, "CAUSAL": True, "MASK": False, "WINDOW": window or 0}
    unmasked: Named = {"mask": q, "m_b": 0, "m_h": 0, "m_s": 0, "m_k": 0}
    fields = shared_fields(n, "bshd", scale)
    return [launch(target, chosen, n, knobs, {**operands, **unmasked, **fields, "y": y})]


def _split(
    target: Target,
    y: Tensor,
    n: Sizes,
    operands: Named,
    past: Dim,
    scale: float | None,
    window: int | None,
    half: bool,
    live: bool,
) -> list[Dispatch]:
    """Every chunk of keys on its own, then the chunks together; scratch for all that are read."""
    sharing = n.rows * n.group  # rows that read the same keys
    kernel = _SPLIT.specialise(
        D4=n.head_dim // 4,
        HALF=half,
        LIVE=live,
        WINDOW=window or 0,
        QUADS=1 if upper(sharing) <= 4 else 2,
        KEYS=KEYS,
    )
    most = upper(ceildiv(seen(n.keys - n.rows, n.rows, window), KEYS))
    count = n.batch * n.rows * n.heads
    chunks = Tensor(Spec((most, count * (n.head_dim + 4))))
    grid = (
        live_chunks(seen(past, n.rows, window), KEYS, most),
        ceildiv(sharing, 4 * kernel["QUADS"]),
        n.batch * n.kv_heads,
    )
    at = {"pos": operands["pos"], "past": operands["past"]}
    fields = {
        "count": count,
        "heads": n.heads,
        "group": n.group,
        "S": n.rows,
        "keys": n.keys,
        "scale": scale_of(n, scale),
    }
    return [
        dispatch(kernel, grid, **operands, chunks=chunks, **fields),
        combine(
            target, chunks, y, (n.batch, n.rows, n.heads, n.head_dim), at,
            KEYS=KEYS, CHUNKS=most, LIVE=live, WINDOW=window or 0,
        ),
    ]  # fmt: skip


attend = Op("attend", _attend_shape, _attend_reference, _attend_lower, limit=_attend_limit)


@Composite
def sdpa_with_kv_cache(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    pos: Tensor | int,
    *,
    scale: float | None = None,
    window: int | None = None,
    strategy: str | None = None,
) -> Tensor:
    """Write k and v into the caches at rows pos … pos + S − 1, and attend to rows 0 … pos + s.

    q [B, S, heads, D], k and v [B, S, kv_heads, D], caches [B, Smax, kv_heads, D] float32 or
    float16; the result is [B, S, heads, D]. With a `window`, to the last `window` of those rows.
    """
    if q.shape[1:2] != k.shape[1:2] or k.spec != v.spec:
        raise ShapeError(
            f"sdpa_with_kv_cache: q is {q.spec}, k is {k.spec}, v is {v.spec}, expected equal S,"
            " and v like k"
        )
    k_all, v_all = update_cache(k_cache, k, pos), update_cache(v_cache, v, pos)
    return attend(q, k_all, v_all, pos, scale=scale, window=window, strategy=strategy)
