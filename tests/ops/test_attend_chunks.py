"""A decode step's attention from the joined product, against its parts: natively and in Chrome."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

import harness
import tensortab as tt
from close import assert_close, leaf
from played import Feed, burst, on, play
from tensortab.errors import ShapeError, UnsupportedError
from tensortab.plan import plan
from tensortab.target import DEFAULT_LIMITS, Target

CLOSE = {"atol": 2e-5, "rtol": 1e-5}
# Over float16 caches numpy rounds the row's own k and v before it attends. A device may round the
# other way, or attend to them as they were: NVIDIA's compiler takes unpack2x16float of
# pack2x16float for nothing, and y is then numpy's with the row's own k and v unrounded, to 3e-7.
# That is half a unit in the last place of a half, of values up to 4 2**-10; the other way, twice.
NEAR = {"atol": 2**-9, "rtol": 1e-5}
STRATEGIES = ("together", "apart")


def step(
    heads: int,
    kv_heads: int,
    d: int,
    size: int,
    *,
    batch: int = 1,
    dtype: str = "float16",
    turns: int | None = None,
    norm: bool = True,
    **options: object,
) -> tt.Graph:
    """A layer's attention to a row at pos, over caches that hold something at every row before."""
    g = tt.Graph()
    random = np.random.default_rng([heads, kv_heads, d, size])
    pos = g.symint("pos", max=size - 1)
    held = {n: random.standard_normal((batch, size, kv_heads, d), np.float32) for n in "kv"}
    states = {n: g.state(f"{n}_cache", a.shape, dtype) for n, a in held.items()}
    caches = [tt.ops.update_cache(s, g.constant(n, held[n]), 0) for n, s in states.items()]
    weights = [g.constant(f"{n}_norm", random.standard_normal(d, np.float32)) for n in "qk"]
    qkv = g.input("qkv", (batch, 1, heads + 2 * kv_heads, d))
    chunks = tt.ops.attend_chunks(
        qkv,
        *caches,
        pos,
        g.constant("turns", table(d if turns is None else turns, size)) if turns != 0 else None,
        *(weights if norm else [None, None]),
        eps=1e-3,
        offset=1.0,
        **options,
    )
    window = options.get("window")
    joined = tt.ops.join_chunks(chunks, pos, heads=heads, head_dim=d, window=window)
    outputs = {"y": joined} | {
        n: tt.ops.after(c, chunks) for n, c in zip("kv", caches, strict=True)
    }
    for name, t in outputs.items():
        g.output(name, t)
    return g


def table(r: int, positions: int) -> np.ndarray:
    return tt.ops.rope_turns(*tt.ops.rope_table(tt.ops.rope_frequencies(r), positions))


def rows(heads: int, kv_heads: int, d: int, batch: int, positions: Sequence[int]) -> list[Feed]:
    random = np.random.default_rng([heads, kv_heads, d])
    shape = (batch, 1, heads + 2 * kv_heads, d)
    return [({"pos": at}, {"qkv": random.standard_normal(shape, np.float32)}) for at in positions]


def agree(
    device: harness.Device, graphs: Sequence[tt.Graph], feeds: Sequence[Feed], dtype: str
) -> None:
    """Every graph's y and caches are numpy's at every position."""
    reference = asyncio.run(tt.Device.open("reference"))
    want = asyncio.run(play(reference, graphs[:1], feeds, False, True))[0]
    for steps in on(device, play, graphs, feeds, False, True):
        for got, right in zip(steps, want, strict=True):
            assert_close(got["y"], right["y"], **(CLOSE if dtype == "float32" else NEAR))
            # WGSL lets pack2x16float round either way, and a difference of 1e-7 may cross a half.
            loose = 1e-5 if dtype == "float32" else 2**-9
            for name in "kv":
                assert_close(got[name], right[name], atol=loose / 4, rtol=loose)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "d", "positions"),
    [
        (8, 2, 64, (0, 1, 126, 127, 128, 255, 256, 999, 1023, 1024, 1100)),
        (2, 2, 128, (0, 140)),
        (7, 1, 64, (5, 130)),
        (4, 2, 256, (3, 128)),
        (3, 1, 96, (40, 128)),
        (5, 1, 80, (40, 64)),
        (2, 1, 32, (40, 200)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_contexts(
    device: harness.Device,
    heads: int,
    kv_heads: int,
    d: int,
    positions: tuple[int, ...],
    dtype: str,
) -> None:
    graphs = [
        step(heads, kv_heads, d, positions[-1] + 1, dtype=dtype, strategy=s) for s in STRATEGIES
    ]
    agree(device, graphs, rows(heads, kv_heads, d, 1, positions), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_windows(device: harness.Device, dtype: str) -> None:
    """Up to the window, on it and past it; one of more than a chunk, and one of a single key."""
    seen = {150: (0, 50, 149, 150, 170, 299), 128: (127, 128, 299), 1: (0, 9)}
    for window, positions in seen.items():
        options = {"window": window, "dtype": dtype}
        graphs = [step(4, 2, 64, 300, strategy=s, **options) for s in STRATEGIES]
        agree(device, graphs, rows(4, 2, 64, 1, positions), dtype)


@pytest.mark.parametrize(("turns", "norm"), [(0, False), (32, False), (0, True), (16, True)])
def test_turns_and_norms(device: harness.Device, turns: int, norm: bool) -> None:
    graphs = [step(4, 2, 64, 90, turns=turns, norm=norm, strategy=s) for s in STRATEGIES]
    agree(device, graphs, rows(4, 2, 64, 1, (7, 70)), "float16")


def test_an_invocation_a_key(device: harness.Device) -> None:
    """So that even small subgroups have more keys than heads."""
    graphs = [step(3, 1, 8, 201, turns=0, strategy=s) for s in STRATEGIES]
    agree(device, graphs, rows(3, 1, 8, 1, (40, 200)), "float16")


def test_a_batch(device: harness.Device) -> None:
    graphs = [step(4, 2, 64, 90, batch=2, strategy=s) for s in STRATEGIES]
    agree(device, graphs, rows(4, 2, 64, 2, (7, 70, 89)), "float16")


def test_caches_are_those_of_update_caches(device: harness.Device) -> None:
    graphs = [step(4, 2, 64, 90, norm=False, strategy=s) for s in STRATEGIES]
    feeds = rows(4, 2, 64, 1, (0, 63, 89))
    together, apart = on(device, play, graphs, feeds, False, True)
    for a, b in zip(together, apart, strict=True):
        for name in "kv":
            np.testing.assert_array_equal(a[name], b[name])


def generating(strategy: str, size: int, window: int | None = None) -> tt.Graph:
    """Attention to rows that pos picks from a table; pos advances on the GPU."""
    g = tt.Graph()
    pos = g.symint("pos", max=size)
    random = np.random.default_rng(size)
    rows = g.constant("rows", random.standard_normal((size, 4 * 32), np.float32))
    qkv = tt.ops.reshape(tt.ops.embedding(pos, rows), (1, 1, 4, 32))
    caches = [g.state(n, (1, size, 1, 32)) for n in "kv"]
    turns = g.constant("turns", table(32, size))
    joined = tt.ops.attend_joined(qkv, *caches, pos, turns, window=window, strategy=strategy)
    g.output("y", joined)
    g.effect(tt.ops.advance(pos))
    return g


@pytest.mark.parametrize(
    ("size", "window", "start"), [(140, None, 115), (1050, None, 1015), (220, 140, 120)]
)
def test_steps_in_one_submission_are_steps(
    device: harness.Device, size: int, window: int | None, start: int
) -> None:
    """From a chunk to two, from eight to longer ones, and onto a window."""
    graphs = [generating(s, size, window) for s in STRATEGIES]
    many = on(device, burst, graphs, (16, 8), start)
    single = on(device, burst, graphs[:1], [1] * 24, start)[0]
    np.testing.assert_array_equal(many[0], single)
    assert_close(np.stack(many[0]), np.stack(many[1]), **CLOSE)


def test_rows_beyond_the_position_may_be_anything(device: harness.Device) -> None:
    """Also where a block of keys takes a workgroup several passes."""
    for d in (64, 256):
        g = tt.Graph()
        qkv = g.input("qkv", (1, 1, 4, d))
        nothing = g.constant("nothing", np.full((1, 200, 1, d), np.nan, np.float32))
        states = [g.state(n, (1, 200, 1, d), "float16") for n in "kv"]
        spoilt = [tt.ops.update_cache(s, nothing, 0) for s in states]
        held = g.constant("held", np.ones((1, 70, 1, d), np.float32))
        caches = [tt.ops.update_cache(s, held, 0) for s in spoilt]
        g.output("y", tt.ops.attend_joined(qkv, *caches, 70, strategy="together"))
        inputs = rows(2, 1, d, 1, [70])[0][1]
        assert_close(device.run(g, **inputs)["y"], tt.evaluate(g, **inputs)["y"], **NEAR)


def test_a_position_known_beforehand(device: harness.Device) -> None:
    g = tt.Graph()
    qkv = g.input("qkv", (1, 1, 4, 32))
    caches = [g.state(n, (1, 90, 1, 32)) for n in "kv"]
    g.output("y", tt.ops.attend_joined(qkv, *caches, 80, strategy="together"))
    inputs = rows(2, 1, 32, 1, [80])[0][1]
    assert_close(device.run(g, **inputs)["y"], tt.evaluate(g, **inputs)["y"], **CLOSE)


SUBGROUPS = [(1, 16384), (4, 16384), (4, 49152), (8, 49152)]


@pytest.mark.parametrize(("subgroup", "memory"), SUBGROUPS)
def test_devices_of_every_kind(native: harness.Native, subgroup: int, memory: int) -> None:
    """Without subgroups, and with as many invocations as memory allows; llvmpipe's have eight."""
    limits = native.info.limits | {"maxComputeWorkgroupStorageSize": memory}
    target = Target("native", features=native.info.features, limits=limits, subgroup=subgroup)
    for heads, kv_heads, d in ((4, 1, 64), (3, 1, 128), (2, 1, 256), (3, 1, 16)):
        graph, feed = step(heads, kv_heads, d, 150), rows(heads, kv_heads, d, 1, [149])[0]
        made = plan(graph, target)
        (kernel,) = (s.kernel for s in made.steps if s.kernel.name == "sdpa_decode")
        assert ("subgroups" in kernel.features) == (subgroup > 1)
        got = asyncio.run(lowered(native, graph, made, feed))
        live, inputs = feed
        assert_close(got, tt.evaluate(graph, **live, **inputs)["y"], **CLOSE)


async def lowered(
    native: harness.Native, graph: tt.Graph, made: tt.plan.Plan, feed: Feed
) -> np.ndarray:
    """y of a graph planned for another target than the device's own."""
    session = await tt.session.Session.create(native.device.backend, graph, made, tt.store.Store())
    try:
        session.set(**feed[0])
        return (await session.run(**feed[1]))["y"]
    finally:
        session.destroy()


def test_what_runs_where() -> None:
    def kernels(target: Target, **options: object) -> list[str]:
        made = plan(step(4, 2, options.pop("d", 64), 90, **options), target)
        return [s.kernel.name for s in made.steps][2:]

    gpu, software = Target("native"), Target("native", software=True)
    assert kernels(gpu) == ["sdpa_decode", "sdpa_combine"]
    assert kernels(software) == ["update_caches", "sdpa_row"]
    split = ["update_caches", "sdpa_split", "sdpa_combine"]
    assert kernels(gpu, d=36) == kernels(gpu, turns=24) == kernels(gpu, strategy="apart") == split


def test_a_workgroup_a_chunk() -> None:
    made = plan(step(4, 2, 64, 8192), Target("native"))
    (found,) = (s for s in made.steps if s.kernel.name == "sdpa_decode")
    grids = [found.workgroups({"pos": at}) for at in (0, 127, 128, 1023, 8191)]
    assert grids == [(1, 1, 2), (1, 1, 2), (2, 1, 2), (8, 1, 2), (8, 1, 2)]


def test_what_the_row_does_not_see_may_be_anything(device: harness.Device) -> None:
    g = tt.Graph()
    qkv = g.constant("qkv", np.ones((1, 1, 4, 32), np.float32))
    for window, past in ((None, 70), (8, 70), (8, 3), (None, 128)):
        held = np.full((1, 200, 1, 32), np.nan, np.float32)
        held[:, 0 if window is None else max(0, past + 1 - window) : past] = 1.0
        name = f"{window} {past}"
        caches = [
            tt.ops.update_cache(
                g.state(f"{name} {n}", held.shape), g.constant(f"{name} held {n}", held), 0
            )
            for n in "kv"
        ]
        g.output(name, tt.ops.attend_joined(qkv, *caches, past, window=window, strategy="together"))
    for y in device.run(g).values():
        assert_close(y, np.ones_like(y), **CLOSE)


def test_operands_that_do_not_fit() -> None:
    cache, odd, turns = leaf((1, 9, 2, 32)), leaf((1, 9, 2, 36)), leaf((9, 8))
    with pytest.raises(ShapeError, match=r"attend_chunks: qkv is .*, expected one row"):
        tt.ops.attend_chunks(leaf((1, 5, 6, 32)), cache, cache, 0)
    with pytest.raises(UnsupportedError, match=r"head_dim is 36, expected a multiple of 8; strat"):
        tt.ops.attend_chunks(leaf((1, 1, 6, 36)), odd, odd, 0, strategy="together")
    with pytest.raises(UnsupportedError, match=r"turns is .*, expected a multiple of 16 elements"):
        tt.ops.attend_chunks(leaf((1, 1, 6, 32)), cache, cache, 0, turns, strategy="together")
    with pytest.raises(ShapeError, match=r"join_chunks: chunks is .*expected \[chunks, B · 2 · 36"):
        tt.ops.join_chunks(leaf((1, 73)), 0, heads=2, head_dim=32)


@pytest.mark.parametrize("strategy", ["vector", "tile", "gemv"])
@pytest.mark.parametrize("made", STRATEGIES)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "d", "window", "positions"),
    [
        (8, 2, 64, None, (0, 127, 128, 260, 1023, 1100)),
        (3, 1, 32, 140, (0, 139, 140, 300)),
    ],
)
def test_a_product_joins_what_was_left(
    device: harness.Device,
    heads: int,
    kv_heads: int,
    d: int,
    window: int | None,
    positions: tuple[int, ...],
    made: str,
    strategy: str,
) -> None:
    k, n = heads * d, 37
    random = np.random.default_rng(k)
    options = {"dtype": "float32", "window": window, "strategy": made}
    graph = step(heads, kv_heads, d, positions[-1] + 1, **options)
    packed, scales = tt.quant.q4gsw.quantize(random.standard_normal((n, k), np.float32), 32)
    left = graph.outputs["k"].args[1]
    graph.outputs.clear()
    y = tt.ops.linear_q4gsw(
        left,
        graph.constant("packed", packed),
        graph.constant("scales", scales),
        group=32,
        add=graph.constant("more", random.standard_normal((1, 1, n), np.float32)),
        past=graph.scalars["pos"],
        heads=heads,
        window=window,
        strategy=strategy,
    )
    graph.output("y", y)
    feeds = rows(heads, kv_heads, d, 1, positions)
    reference = asyncio.run(tt.Device.open("reference"))
    want = asyncio.run(play(reference, [graph], feeds))[0]
    for steps in on(device, play, [graph], feeds):
        for got, right in zip(steps, want, strict=True):
            assert_close(got, right, atol=5e-3 if strategy == "vector" else 2e-4, rtol=1e-4)


@pytest.mark.parametrize(("heads", "there", "joined"), [(32, 49152, 1), (512, 16384, 0)])
def test_what_does_not_fit_beside_chunks_is_joined_before(
    heads: int, there: int, joined: int
) -> None:
    g, d = tt.Graph(), 64
    pos = g.symint("pos", max=2047)
    caches = [g.state(n, (1, 2048, 8, d), "float16") for n in "kv"]
    left = tt.ops.attend_chunks(g.input("qkv", (1, 1, heads + 16, d)), *caches, pos)
    packed = g.constant("packed", tt.Spec((2048, heads * d // 2), "uint8"))
    scales = g.constant("scales", tt.Spec((heads * d // 32, 2048), "float16"))
    y = tt.ops.linear_q4gsw(left, packed, scales, group=32, past=pos, heads=heads)
    g.output("y", y)
    limits = {**DEFAULT_LIMITS, "maxComputeWorkgroupStorageSize": there}
    features = frozenset({"subgroups"})
    target = Target("native", features=features, limits=limits, subgroup=32)
    names = [s.kernel.name for s in plan(g, target).steps]
    between = [] if joined else ["sdpa_combine"]
    assert names == ["sdpa_decode", *between, "linear_qgsw_vector"]


def test_chunks_that_do_not_fit_a_product() -> None:
    x, packed, scales = leaf((3, 70)), leaf((8, 32), "uint8"), leaf((2, 8))
    with pytest.raises(ShapeError, match=r"join_chunks: chunks is float32\[3, 70\], expected"):
        tt.ops.linear_q4gsw(x, packed, scales, group=32, past=5, heads=2)
