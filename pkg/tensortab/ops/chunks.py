"""Keys in chunks: what attention leaves of each chunk, and how the chunks are put together.

Of `count` rows of queries (B · S · heads of them, in that order) and each chunk of the keys they
see, attention leaves m, the greatest score, l = Σ exp(score − m), and a = Σ exp(score − m) · V:

    chunks    float32 [chunks, count · (D + 4)]: of each chunk every row's a, [count, D], and then
              every row's [m, l, 0, 0], [count, 4]
    y         Σ_c exp(m_c − m) a_c / Σ_c exp(m_c − m) l_c, m = max m_c: [count, D]

so that a single chunk, where its a is divided by l already, begins with y.

Where the first row, at position `past`, sees keys from `first` on, chunk c has the keys
first + (c + CHUNKS · j) · KEYS + i, i < KEYS, for j = 0, 1, … (blocks of KEYS keys, dealt out), so
that without a window what a chunk begins with does not depend on the position. Of a row that sees
keys up to position `last` there is something in the first

    live = min(CHUNKS, ⌊(last − first) / KEYS⌋ + 1)

chunks; what lies in the others is undefined. A decode step and few rows of a prompt have KEYS of
their own; the few rows have as many chunks as there are blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..dim import Dim, ceildiv, minimum, upper
from ..kernel import load
from ..op import Dispatch, Spec, Tensor, dispatch, fold
from ..target import Target
from .attention import Named


@dataclass(frozen=True)
class Left:
    """What chunks are of: a row at position `pos`, its heads, the window it sees."""

    pos: Tensor | int
    heads: int
    window: int | None


KEYS = 64  # of few rows of a prompt
# With the product that joins them 10.5, 13.8 and 20.0 µs at contexts 128, 2048 and 8192 on an H200;
# by blocks of 64 in up to 16 chunks 11.7, 15.8 and 20.3.
STEP_KEYS = 128  # of a decode step
STEP_CHUNKS = 8  # and its chunks at most

_COMBINE = load("sdpa_combine")


def seen(past: Dim, rows: Dim, window: int | None) -> Dim:
    """Keys that some of `rows` rows at positions past, past + 1, … see."""
    context = past + rows
    return context if window is None else minimum(context, window + upper(rows) - 1)


def live_chunks(context: Dim, keys: int, most: int) -> Dim:
    """How many chunks have something of `context` keys, in blocks of `keys`; at most so many."""
    return minimum(ceildiv(context, keys), most)


def combine(
    target: Target,
    chunks: Tensor,
    y: Tensor | None,
    rows: tuple[Dim, Dim, int, int],
    pos: Named,
    **knobs: bool | int,
) -> Dispatch:
    """Put chunks of B, S, heads, D together in `y`, or None: where chunk 0 begins.

    `pos` is as of `bind_position`; knobs are KEYS, CHUNKS, LIVE and WINDOW.
    """
    batch, s, heads, head_dim = rows
    count = batch * s * heads
    kernel = _COMBINE.specialise(D4=head_dim // 4, OVER=y is None, **knobs)
    unused = Tensor(Spec((1,)))
    return dispatch(
        kernel,
        fold(target, count),
        chunks=chunks,
        y=y or unused,
        count=count,
        heads=heads,
        S=s,
        **pos,
    )
