"""A decode step's attention from the joined product: what update_caches and attend do together.

attend_chunks  of each chunk of keys (chunks.py), and the caches updated; one dispatch
join_chunks    the chunks put together: y [B, 1, heads, D], in the place of the chunks
attend_joined  both: y = attend(update_caches(qkv, …), …)

qkv float32 [B, 1, heads + 2 · kv_heads, D]; the other operands are those of update_caches, `scale`
and `window` those of attend. What chunks there are is the device's choice, and so is how
they are made:

    together  all at once, each workgroup a chunk of keys (wgsl/sdpa_decode.wgsl); for a D that is
              a multiple of 8 and turns of a multiple of 16 elements
    apart     update_caches and then attend; the one chunk is y already, and join_chunks costs
              nothing; the choice for software
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..dim import Dim, upper
from ..errors import ShapeError, UnsupportedError
from ..kernel import Kernel, load
from ..op import Array, Composite, Dispatch, Limit, Op, Spec, Tensor, dispatch
from ..target import Target
from .attention import Sizes, check_sizes, scale_of
from .cached_attention import attend
from .chunks import STEP_CHUNKS, STEP_KEYS, Left, combine, live_chunks, seen
from .layout import float32, require_float32, require_strategy
from .permute import reshape
from .update_cache import bind_position, position
from .update_caches import update_caches

_KERNEL = load("sdpa_decode")
_STRATEGIES = ("together", "apart")
# The same kernel where an invocation is a subgroup, for devices without.
_ALONE = replace(
    _KERNEL,
    source=_KERNEL.source.replace(
        "enable subgroups;",
        "fn subgroupShuffleXor(v: vec4<f32>, i: u32) -> vec4<f32> { return v; }",
    ),
)
_LEAST = np.finfo(np.float32).min


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
    scale: float | None = None,
    window: int | None = None,
    strategy: str | None = None,
) -> Spec:
    op = "attend_chunks"
    require_strategy(op, strategy, _STRATEGIES)
    q = update_caches(qkv, k_cache, v_cache, pos, turns, q_norm, k_norm)
    attend(q, k_cache, v_cache, pos, window=window)
    n = check_sizes(op, q, k_cache, v_cache, "bshd")
    if n.rows != 1:
        raise ShapeError(f"{op}: qkv is {qkv.spec}, expected one row, [B, 1, heads, D]")
    if strategy == "together" and (why := _only_apart(qkv.shape[3], turns)):
        raise UnsupportedError(f"{op}: {why}; strategy 'apart' takes it")
    return Spec((_most(n.keys, window), n.batch * n.heads * (n.head_dim + 4)))


def _most(keys: Dim, window: int | None) -> int:
    """How many chunks of caches with so many rows there can be."""
    return upper(live_chunks(seen(upper(keys) - 1, 1, window), STEP_KEYS, STEP_CHUNKS))


def _only_apart(head_dim: Dim, turns: Tensor | None) -> str:
    """Why the kernel does not take it; empty where it does."""
    if upper(head_dim) % 8:
        return f"head_dim is {head_dim}, expected a multiple of 8"
    if turns is not None and upper(turns.shape[1]) % 16:
        return f"turns is {turns.spec}, expected a multiple of 16 elements that turn"
    return ""


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
    scale: float | None = None,
    window: int | None = None,
    strategy: str | None = None,
) -> tuple[Array, Array, Array]:
    """One chunk that has everything."""
    q, keys, values = update_caches.reference(
        qkv, k_cache, v_cache, pos, turns, q_norm, k_norm, eps=eps, offset=offset
    )
    y = attend.reference(q, keys, values, pos, scale=scale, window=window)
    rows = y.size // y.shape[3]
    most = _most(k_cache.shape[1], window)
    sums, stats = np.zeros((most, y.size), np.float32), np.zeros((most, rows, 4), np.float32)
    sums[0] = y.ravel()
    stats[:, :, 0] = _LEAST
    stats[0, :, :2] = 0, 1
    return np.concatenate([sums, stats.reshape(most, -1)], 1), keys, values


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
    scale: float | None = None,
    window: int | None = None,
    strategy: str | None = None,
) -> Limit:
    assert update_caches.limit
    return update_caches.limit(qkv, k_cache, v_cache, pos, turns)


def _lower(
    target: Target,
    chunks: Tensor,
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
    scale: float | None = None,
    window: int | None = None,
    strategy: str | None = None,
) -> list[Dispatch]:
    caches = k_cache, v_cache
    q = update_caches(qkv, *caches, pos, turns, q_norm, k_norm, eps=eps, offset=offset)
    if is_whole(target, chunks):
        before = update_caches.lowered(target, q, *q.args, **q.kwargs)
        return [
            *before,
            *attend.lowered(target, chunks, q, *caches, pos, scale=scale, window=window),
        ]
    n = check_sizes("attend_chunks", q, *caches, "bshd")
    live, bound = bind_position(pos, qkv)
    kernel = _specialised(target, n).specialise(
        CHUNKS=upper(chunks.shape[0]),
        WINDOW=window or 0,
        NORM=q_norm is not None,
        TURN=turns is not None,
        HALF=k_cache.dtype == "float16",
        LIVE=live,
    )
    pieces = -(-n.group // kernel["HEADS"])
    context = seen(position("attend_chunks", pos), 1, window)
    used = live_chunks(context, kernel["KEYS"], kernel["CHUNKS"])
    sizes: dict[str, Dim | float] = {
        "count": n.batch * n.heads,
        "heads": n.heads,
        "kv_heads": n.kv_heads,
        "R": turns.shape[1] if turns else 0,
        "Smax": n.keys,
        "eps": eps,
        "offset": offset,
        "scale": scale_of(n, scale),
    }
    given = {"turns": turns or qkv, "q_norm": q_norm or qkv, "k_norm": k_norm or qkv, "qkv": qkv}
    written = {"k_cache": k_cache, "v_cache": v_cache, "chunks": chunks}
    grid = (used, pieces, n.batch * n.kv_heads)
    return [dispatch(kernel, grid, **given, **written, **sizes, **bound)]


def _specialised(target: Target, n: Sizes) -> Kernel:
    """The kernel for heads of this size, with as many invocations as the target has room for."""
    across = 1 << (n.head_dim // 8 - 1).bit_length()
    heads = min(n.group, 2)  # query heads a workgroup
    lanes = 64 if target.software else 256  # wide workgroups cost software dearly
    while True:
        subgroup = min(target.subgroup, lanes)
        unit = max(subgroup, across)
        units = lanes // unit
        vectors = 2 * across * (heads + 2 + units * heads) + 2 * units
        vectors += lanes if subgroup < across else 1
        if 16 * vectors <= target.limits["maxComputeWorkgroupStorageSize"] or lanes == across:
            break
        lanes //= 2
    kernel = _KERNEL if subgroup > 1 else _ALONE
    return kernel.specialise(
        D8=n.head_dim // 8,
        ACROSS=across,
        SUBGROUP=subgroup,
        HEADS=heads,
        LANES=lanes,
        KEYS=STEP_KEYS,
    )


def is_whole(target: Target, chunks: Tensor) -> bool:
    """Whether what attend_chunks leaves on the target is one chunk that begins with y."""
    if chunks.op is not attend_chunks:
        return False
    given = attend_chunks.signature.bind(*chunks.args, **chunks.kwargs).arguments
    qkv, turns = given["qkv"], given.get("turns")
    if strategy := given.get("strategy"):
        return bool(strategy == "apart")
    return target.software or bool(_only_apart(qkv.shape[3], turns))


attend_chunks = Op("attend_chunks", _shape, _reference, _lower, updates=(1, 2), limit=_limit)


def _join_shape(
    chunks: Tensor, pos: Tensor | int, *, heads: int, head_dim: int, window: int | None = None
) -> Spec:
    require_float32("join_chunks", chunks=chunks)
    position("join_chunks", pos)
    width = chunks.shape[1] if len(chunks.shape) == 2 else 0
    batch = width // (heads * (head_dim + 4))
    if batch == 0 or batch * (heads * (head_dim + 4)) != width:
        raise ShapeError(
            f"join_chunks: chunks is {chunks.spec}, expected [chunks, B · {heads} · {head_dim + 4}]"
            " (heads, and head_dim + 4)"
        )
    return Spec((batch, 1, heads, head_dim))


def _join_reference(
    chunks: Array, pos: Array | int, *, heads: int, head_dim: int, window: int | None = None
) -> Array:
    rows = chunks.shape[1] // (head_dim + 4)
    sums, stats = np.split(chunks.astype(np.float64), [rows * head_dim], 1)
    most, total, *_ = np.moveaxis(stats.reshape(-1, rows, 4), 2, 0)
    weight = np.exp(most - most.max(0))
    y = (weight[..., None] * sums.reshape(-1, rows, head_dim)).sum(0)
    return float32(y / (weight * total).sum(0)[:, None]).reshape(-1, 1, heads, head_dim)


def _join_lower(
    target: Target,
    y: Tensor,
    chunks: Tensor,
    pos: Tensor | int,
    *,
    heads: int,
    head_dim: int,
    window: int | None = None,
) -> list[Dispatch]:
    if is_whole(target, chunks):
        return []
    live, bound = bind_position(pos, Tensor(Spec((1,))))
    knobs = {"KEYS": STEP_KEYS, "CHUNKS": upper(chunks.shape[0])}
    knobs |= {"LIVE": live, "WINDOW": window or 0}
    return [combine(target, chunks, None, (y.shape[0], 1, heads, head_dim), bound, **knobs)]


join_chunks = Op("join_chunks", _join_shape, _join_reference, _join_lower, writes=0)


def joined_row(chunks: Tensor, left: Left, k: int) -> Tensor:
    """What was left of one row of K elements, put together: [1, 1, K], as products take it."""
    heads = left.heads
    joined = join_chunks(chunks, left.pos, heads=heads, head_dim=k // heads, window=left.window)
    return reshape(joined, (1, 1, k))


@Composite
def attend_joined(
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
    scale: float | None = None,
    window: int | None = None,
    strategy: str | None = None,
) -> Tensor:
    """Write the row's k and v into the caches, and attend to them: y [B, 1, heads, D]."""
    chunks = attend_chunks(
        qkv, k_cache, v_cache, pos, turns, q_norm, k_norm,
        eps=eps, offset=offset, scale=scale, window=window, strategy=strategy,
    )  # fmt: skip
    heads = upper(qkv.shape[2]) - 2 * upper(k_cache.shape[2])
    return join_chunks(chunks, pos, heads=heads, head_dim=upper(qkv.shape[3]), window=window)
