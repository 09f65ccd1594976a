"""Attention over a cache, against torch in float64: natively and in Chrome."""

import asyncio
import functools
from collections.abc import Sequence

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_close, leaf
from played import Arrays, Feed, burst, on, play
from tensortab.errors import ShapeError
from tensortab.plan import plan
from tensortab.target import Target

CLOSE = {"atol": 1e-4, "rtol": 0.0}


def golden(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, past: int, window: int = 1 << 30
) -> np.ndarray:
    """Torch's attention of [B, S, heads, D] whose rows are at positions past, past + 1, …."""
    tq, tk, tv = (torch.from_numpy(a).double().transpose(1, 2) for a in (q, k, v))
    at, key = past + torch.arange(q.shape[1])[:, None], torch.arange(k.shape[1])
    seen = (key <= at) & (key > at - window)
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(tq, tk, tv, attn_mask=seen, enable_gqa=True).transpose(1, 2).numpy()


def cached(
    heads: int, kv_heads: int, d: int, size: int, batch: int = 1, *, rows: int, **options: object
) -> tt.Graph:
    """A layer's attention over a cache of `size` rows, up to `rows` new ones a run."""
    dtype = options.pop("dtype", "float32")
    g = tt.Graph()
    s = tt.Sym("rows", rows, min=1)
    q = g.input("q", (batch, s, heads, d))
    k, v = (g.input(n, (batch, s, kv_heads, d)) for n in "kv")
    caches = [g.state(n, (batch, size, kv_heads, d), dtype) for n in ("k_cache", "v_cache")]
    pos = g.symint("pos", max=size)
    g.output("y", tt.ops.sdpa_with_kv_cache(q, k, v, *caches, pos, **options))
    return g


def tokens(heads: int, kv_heads: int, d: int, size: int, batch: int = 1) -> Arrays:
    r = np.random.default_rng([heads, kv_heads, d, size])
    return {
        n: r.standard_normal((batch, size, h, d), np.float32)
        for n, h in zip("qkv", (heads, kv_heads, kv_heads), strict=True)
    }


def feeds(a: Arrays, sizes: Sequence[int]) -> list[Feed]:
    """`sizes` tokens at a time, with the position each run begins at."""
    ends = np.cumsum(sizes)
    return [
        ({"pos": int(e - n)}, {t: x[:, e - n : e] for t, x in a.items()})
        for n, e in zip(sizes, ends, strict=True)
    ]


def goldens(a: Arrays, sizes: Sequence[int], **options: int) -> list[np.ndarray]:
    return [
        golden(
            x["q"],
            *(a[n][:, : live["pos"] + x["q"].shape[1]] for n in "kv"),
            live["pos"],
            **options,
        )
        for live, x in feeds(a, sizes)
    ]


STRATEGIES = ("row", "tile", "split")


@pytest.mark.parametrize(
    ("heads", "kv_heads", "d", "size", "batch", "sizes"),
    [
        (4, 4, 32, 41, 1, (7, 3, 1, 1)),
        (4, 2, 64, 150, 1, (70, 5, 1, 1)),  # more than one chunk of keys, and two tiles
        (6, 2, 80, 83, 2, (33, 1, 8, 1)),
        (8, 2, 128, 66, 1, (40, 1, 1, 24)),  # the last run fills the cache
        (8, 1, 256, 20, 2, (9, 2, 1, 8)),  # the same
    ],
)
def test_prefill_then_tokens_then_one_at_a_time(
    device: harness.Device,
    heads: int,
    kv_heads: int,
    d: int,
    size: int,
    batch: int,
    sizes: tuple[int, ...],
) -> None:
    a = tokens(heads, kv_heads, d, size, batch)
    build = functools.partial(cached, heads, kv_heads, d, size, batch, rows=max(sizes))
    found = on(device, play, [build(strategy=s) for s in STRATEGIES], feeds(a, sizes))
    numpy = asyncio.run(play(asyncio.run(tt.Device.open("reference")), [build()], feeds(a, sizes)))
    for rows in [*found, *numpy]:
        for got, want in zip(rows, goldens(a, sizes), strict=True):
            assert_close(got, want, **CLOSE)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "d", "size", "window", "sizes"),
    [
        (4, 2, 32, 41, 1, (7, 3, 1, 1)),  # only itself
        (4, 2, 64, 150, 9, (70, 5, 1, 1)),  # rows of a tile, and of a run, that share no key
        (6, 2, 80, 240, 64, (33, 100, 8, 1)),  # a chunk of keys that begins anywhere
        (4, 4, 32, 300, 100, (90, 9, 1, 1, 150, 8, 1)),  # up to the window, on it and past it
        (4, 4, 32, 41, 50, (7, 3, 1)),  # never reached
    ],
)
def test_a_window(
    device: harness.Device,
    heads: int,
    kv_heads: int,
    d: int,
    size: int,
    window: int,
    sizes: tuple[int, ...],
) -> None:
    a = tokens(heads, kv_heads, d, size)
    build = functools.partial(cached, heads, kv_heads, d, size, rows=max(sizes), window=window)
    found = on(device, play, [build(strategy=s) for s in STRATEGIES], feeds(a, sizes))
    numpy = asyncio.run(play(asyncio.run(tt.Device.open("reference")), [build()], feeds(a, sizes)))
    for rows in [*found, *numpy]:
        for got, want in zip(rows, goldens(a, sizes, window=window), strict=True):
            assert_close(got, want, **CLOSE)


def test_keys_before_the_window_are_not_walked_over(native: harness.Native) -> None:
    """A cache that says so: what is read of it before the window is NaN."""
    g = tt.Graph()
    q = g.constant("q", np.ones((1, 2, 2, 32), np.float32))
    k = np.ones((1, 300, 2, 32), np.float32)
    k[:, :201] = np.nan  # the row at 208 sees 201 … 208
    caches = [g.constant(n, k) for n in "kv"]
    for strategy in STRATEGIES:
        g.output(strategy, tt.ops.attend(q, *caches, 208, window=8, strategy=strategy))
    for y in native.run(g).values():
        assert_close(y, np.ones_like(y), **CLOSE)


def test_a_window_in_one_submission(device: harness.Device) -> None:
    """Chunks follow a window that moves on the GPU, over several chunks of keys."""
    graphs = [generating(s, 220, window=70) for s in STRATEGIES]
    many = on(device, burst, graphs, (100, 110))
    numpy = asyncio.run(burst(asyncio.run(tt.Device.open("reference")), graphs[:1], [210]))[0]
    for bursts in many:
        assert_close(np.stack(bursts), np.stack(numpy), **CLOSE)


def test_what_split_writes_is_as_long_as_the_window() -> None:
    def steps(window: int | None) -> list[tt.plan.Step]:
        made = plan(cached(4, 2, 32, 8192, rows=2, window=window), Target("native"))
        return [s for s in made.steps if s.kernel.name == "sdpa_split"]

    (whole,), (short,) = steps(None), steps(100)
    live = {"pos": 8000, "rows": 2}
    assert whole.workgroups(live)[0] == 126, "chunks of 64"
    assert short.workgroups(live)[0] == 2, "100 keys of the first row, 101 in all"
    assert short.workgroups(live | {"pos": 30})[0] == 1


def test_large_logits(device: harness.Device) -> None:
    a, sizes = tokens(2, 1, 32, 70), (66, 3, 1)
    a["q"] *= 40  # scores up to ±200
    graphs = [cached(2, 1, 32, 70, rows=66, strategy=s) for s in STRATEGIES]
    for rows in on(device, play, graphs, feeds(a, sizes)):
        for got, want in zip(rows, goldens(a, sizes), strict=True):
            assert_close(got, want, **CLOSE)


def test_a_cache_of_halves(device: harness.Device) -> None:
    """Within 2e-2 of the float32 result, and of numpy's halves as close as ever."""
    a, sizes = tokens(4, 2, 36, 70), (66, 2, 1)  # 36 / 4 is odd: words hold parts of two vec4s
    graphs = [cached(4, 2, 36, 70, rows=66, strategy=s, dtype="float16") for s in STRATEGIES]
    halves = a | {n: a[n].astype(np.float16).astype(np.float32) for n in "kv"}
    for rows in on(device, play, graphs, feeds(a, sizes)):
        for got, want, exact in zip(rows, goldens(a, sizes), goldens(halves, sizes), strict=True):
            assert_close(got, want, atol=2e-2, rtol=0)
            assert_close(got, exact, **CLOSE)


def test_sixty_four_steps_of_one_session(device: harness.Device) -> None:
    a, sizes = tokens(4, 2, 32, 64), [1] * 64
    fed, want = feeds(a, sizes), goldens(a, sizes)
    graphs = [cached(4, 2, 32, 64, rows=1, strategy=s) for s in (None, "split")]
    for rows in on(device, play, graphs, fed):
        for got, right in zip(rows, want, strict=True):
            assert_close(got, right, **CLOSE)
    # Negative control: with pos pinned, every step overwrites the first row and sees only it.
    pinned = on(device, play, graphs[:1], [({"pos": 0}, x) for _, x in fed])[0]
    # Static control: without the cache of the steps before, rows 0 … pos − 1 are zeros.
    fresh = on(device, play, graphs[:1], fed, True)[0]
    assert_close(pinned[0], want[0], **CLOSE)
    assert_close(fresh[0], want[0], **CLOSE)
    for wrong, why in ((pinned, "pos is pinned"), (fresh, "the cache is fresh")):
        for step in range(1, 64):
            off = np.abs(wrong[step] - want[step]).max()
            assert off > 1e-2, f"{why} and step {step} is right all the same (off by {off})"


def generating(strategy: str | None, size: int = 80, window: int | None = None) -> tt.Graph:
    """Attention to tokens that pos picks from tables, turned by pos, which advances on the GPU."""
    heads, kv_heads, d = 4, 2, 32
    a = tokens(heads, kv_heads, d, size)
    g = tt.Graph()
    pos = g.symint("pos", max=size)
    tables = {n: g.constant(n, x.reshape(size, -1)) for n, x in a.items()}
    turns = tt.ops.rope_table(tt.ops.rope_frequencies(d), size)
    cos, sin = (g.constant(n, t) for n, t in zip(("cos", "sin"), turns, strict=True))
    q, k, v = (
        tt.ops.reshape(tt.ops.embedding(pos, tables[n]), (1, 1, h, d))
        for n, h in zip("qkv", (heads, kv_heads, kv_heads), strict=True)
    )
    q, k = (tt.ops.apply_rotary_emb(x, cos, sin, pos) for x in (q, k))
    caches = (g.state(n, (1, size, kv_heads, d)) for n in ("k_cache", "v_cache"))
    options = {"strategy": strategy, "window": window}
    g.output("y", tt.ops.sdpa_with_kv_cache(q, k, v, *caches, pos, **options))
    g.effect(tt.ops.advance(pos))
    return g


def test_steps_in_one_submission_are_steps(device: harness.Device) -> None:
    """70 of them, so that what split writes grows by a chunk within a submission."""
    graphs = [generating(s) for s in STRATEGIES]
    many, single = on(device, burst, graphs, (60, 10)), on(device, burst, graphs, [1] * 70)
    numpy = asyncio.run(burst(asyncio.run(tt.Device.open("reference")), graphs[:1], [70]))[0]
    for bursts, ones in zip(many, single, strict=True):
        np.testing.assert_array_equal(bursts, ones)
        assert_close(np.stack(bursts), np.stack(numpy), **CLOSE)


def test_a_position_known_beforehand(device: harness.Device) -> None:
    a = tokens(4, 2, 32, 70)
    g = tt.Graph()
    q, k, v = (g.constant(n, x[:, 66:]) for n, x in a.items())
    sized = {n: tt.Spec((1, 70, 2, 32)) for n in ("k_cache", "v_cache")}
    caches = [g.state(n, s.shape) for n, s in sized.items()]
    held = [g.constant(f"held {n}", a[n]) for n in "kv"]
    filled = [tt.ops.assign(c, h) for c, h in zip(caches, held, strict=True)]
    attended = tt.ops.sdpa_with_kv_cache(q, k, v, *filled, 66)
    g.output("y", attended)
    want = golden(a["q"][:, 66:], a["k"], a["v"], 66)
    assert_close(device.run(g)["y"], want, **CLOSE)
    for strategy in STRATEGIES:
        h = tt.Graph()
        leaves = [h.constant(n, a[n] if n != "q" else a[n][:, 66:]) for n in "qkv"]
        h.output("y", tt.ops.attend(*leaves, 66, strategy=strategy))
        assert_close(device.run(h)["y"], want, **CLOSE)


def test_past_the_end_is_refused(native: harness.Native) -> None:
    for opened in (native.device, asyncio.run(tt.Device.open("reference"))):
        a = tokens(2, 1, 32, 9)
        session = asyncio.run(opened.compile(cached(2, 1, 32, 8, rows=4)))
        last = {n: x[:, 5:8] for n, x in a.items()}
        session.set(pos=5)
        asyncio.run(session.run(**last))
        kept = asyncio.run(session.state("k_cache").read())
        session.set(pos=6)
        with pytest.raises(
            ShapeError, match=r"update_cache: pos \+ S, .* is pos \+ rows = 9, expected at most 8"
        ):
            asyncio.run(session.run(**last))
        np.testing.assert_array_equal(asyncio.run(session.state("k_cache").read()), kept)
        np.testing.assert_array_equal(kept[:, 5:], last["k"])


def test_strategies_are_chosen_for_the_device() -> None:
    hardware, software = Target("native"), Target("native", software=True)

    def kernels(target: Target, graph: tt.Graph) -> list[str]:
        return [s.kernel.name for s in plan(graph, target).steps][2:]

    few, many = (cached(4, 2, 32, 90, rows=n) for n in (8, 9))
    assert kernels(hardware, few) == ["sdpa_split", "sdpa_combine"]
    assert kernels(hardware, many) == ["sdpa_tile"]
    assert kernels(software, few) == kernels(software, many) == ["sdpa_row"]


def test_operands_that_do_not_fit() -> None:
    cache, new = leaf((1, 9, 2, 32)), leaf((1, 5, 2, 32))
    with pytest.raises(ShapeError, match=r"sdpa_with_kv_cache: q is .* expected equal S, and v li"):
        tt.ops.sdpa_with_kv_cache(leaf((1, 4, 6, 32)), new, new, cache, cache, 0)
    with pytest.raises(ShapeError, match=r"attend: the caches are int32.*, expected float32 or fl"):
        tt.ops.attend(leaf((1, 5, 6, 32)), *[leaf((1, 9, 2, 32), "int32")] * 2, 0)
    with pytest.raises(ShapeError, match="attend: window is 0, expected at least 1, the row's own"):
        tt.ops.attend(leaf((1, 5, 6, 32)), cache, cache, 0, window=0)
    with pytest.raises(ShapeError, match="attend: pos is -1, expected at least 0"):
        tt.ops.attend(leaf((1, 5, 6, 32)), cache, cache, -1)
