import asyncio
from typing import Any

import numpy as np
import pytest

import harness
import tensortab as tt
from close import assert_close
from tensortab.errors import ShapeError

SMAX, HEADS, KV, D = 9, 4, 2, 8


def table(r: int, positions: int = SMAX) -> np.ndarray:
    return tt.ops.rope_turns(*tt.ops.rope_table(tt.ops.rope_frequencies(r, 100.0), positions))


def operands(batch: int, rows: int) -> dict[str, np.ndarray]:
    r = np.random.default_rng([batch, rows])
    return {
        "at": np.array([SMAX - rows], np.int32),
        "qkv": r.standard_normal((batch, rows, HEADS + 2 * KV, D), np.float32),
    }


def growing(
    batch: int, *, fused: bool, dtype: str = "float16", r: int = D, norm: bool = True
) -> tt.Graph:
    """q and both caches, which held something; by the op, or by those it is made of."""
    g = tt.Graph()
    at = g.input("at", (1,), "int32")
    pos = g.select_as_symint(at, (0,), "pos", max=SMAX)
    rows = tt.Sym("rows", 3, min=1)
    qkv = g.input("qkv", (batch, rows, HEADS + 2 * KV, D))
    random = np.random.default_rng(0)
    caches = []
    for name in ("keys", "values"):
        before = random.standard_normal((batch, SMAX, KV, D), np.float32)
        cache = g.state(name, before.shape, dtype)
        caches.append(tt.ops.update_cache(cache, g.constant(f"{name} before", before), 0))
    weights = [random.standard_normal(D, np.float32) for _ in "qk"]
    norms = [g.constant(f"{n}_norm", w) for n, w in zip("qk", weights, strict=True)]
    norms = norms if norm else [None, None]
    build = together if fused else apart
    outputs = build(g, qkv, caches, pos, r, norms)
    for name, t in zip(("q", "keys", "values"), outputs, strict=True):
        g.output(name, t)
    return g


def together(g: tt.Graph, qkv: tt.Tensor, caches: Any, pos: Any, r: int, norms: Any) -> Any:
    turns = g.constant("turns", table(r)) if r else None
    q = tt.ops.update_caches(qkv, *caches, pos, turns, *norms, eps=1e-3, offset=1.0)
    return q, *(tt.ops.after(c, q) for c in caches)


def apart(g: tt.Graph, qkv: tt.Tensor, caches: Any, pos: Any, r: int, norms: Any) -> Any:
    q, k, v = (
        tt.ops.narrow(qkv, 2, at, n) for at, n in ((0, HEADS), (HEADS, KV), (HEADS + KV, KV))
    )
    if norms[0]:
        q, k = (
            tt.ops.rms_norm(t, w, eps=1e-3, offset=1.0) for t, w in zip((q, k), norms, strict=True)
        )
    if r:
        cos, sin = (g.constant(n, a) for n, a in zip("cs", np.split(table(r), 2, 1), strict=True))
        q, k = (tt.ops.apply_rotary_emb(t, cos, sin, pos) for t in (q, k))
    return q, *(tt.ops.update_cache(c, t, pos) for c, t in zip(caches, (k, v), strict=True))


FORMS = [("float16", D, True), ("float32", D, False), ("float32", 6, True), ("float16", 0, False)]


@pytest.mark.parametrize(("dtype", "r", "norm"), FORMS)
@pytest.mark.parametrize(("batch", "rows"), [(1, 1), (2, 3)])
def test_reference_is_its_parts(dtype: str, r: int, norm: bool, batch: int, rows: int) -> None:
    a = operands(batch, rows)
    want = tt.evaluate(growing(batch, fused=False, dtype=dtype, r=r, norm=norm), **a)
    got = tt.evaluate(growing(batch, fused=True, dtype=dtype, r=r, norm=norm), **a)
    for name in want:
        np.testing.assert_array_equal(got[name], want[name])


@pytest.mark.parametrize(("dtype", "r", "norm"), FORMS)
@pytest.mark.parametrize(("batch", "rows"), [(1, 1), (2, 3)])
def test_reference_is_device(
    device: harness.Device, dtype: str, r: int, norm: bool, batch: int, rows: int
) -> None:
    graph, a = growing(batch, fused=True, dtype=dtype, r=r, norm=norm), operands(batch, rows)
    got, want = device.run(graph, **a), tt.evaluate(graph, **a)
    assert_close(got["q"], want["q"], atol=1e-5, rtol=1e-5)
    # WGSL lets pack2x16float round either way, and a difference of 1e-7 may cross a half.
    loose = 1e-5 if dtype == "float32" else 2**-9
    for name in ("keys", "values"):
        assert_close(got[name], want[name], atol=loose / 4, rtol=loose)


def test_many_lanes_agree_with_one(native: harness.Native) -> None:
    """What a GPU runs, on whatever is here."""
    graph, a = growing(2, fused=True, dtype="float16"), operands(2, 3)
    want = tt.evaluate(graph, **a)
    gpu = tt.target.Target("native", limits=native.info.limits)
    steps = [s for s in tt.plan.plan(graph, gpu).steps if s.op == "update_caches"]
    assert [s.kernel["LANES"] for s in steps] == [32]
    got = asyncio.run(on_target(native, graph, gpu, a))
    assert_close(got["q"], want["q"], atol=1e-5, rtol=1e-5)
    assert_close(got["keys"], want["keys"], atol=2**-11, rtol=2**-9)


async def on_target(
    native: harness.Native, graph: tt.Graph, target: tt.target.Target, inputs: dict[str, Any]
) -> dict[str, np.ndarray]:
    """The graph lowered for another target than the device's own."""
    plan = tt.plan.plan(graph, target)
    backend = native.device.backend
    session = await tt.session.Session.create(backend, graph, plan, tt.store.Store())
    try:
        return await session.run(**inputs)
    finally:
        session.destroy()


def test_states_hold_what_was_written(native: harness.Native) -> None:
    g = tt.Graph()
    caches = [g.state(n, (1, SMAX, KV, D)) for n in ("keys", "values")]
    pos = g.symint("pos", SMAX)
    q = tt.ops.update_caches(g.input("qkv", (1, 1, HEADS + 2 * KV, D)), *caches, pos)
    g.output("q", q)
    g.effect(tt.ops.advance(pos))
    a = operands(1, 1)["qkv"]
    for device in (native.device, asyncio.run(tt.Device.open("reference"))):
        session = asyncio.run(device.compile(g))
        for _ in range(2):
            out = asyncio.run(session.run(qkv=a))["q"]
        np.testing.assert_array_equal(out, a[:, :, :HEADS])
        values = asyncio.run(session.state("values").read())
        np.testing.assert_array_equal(values[0, :2], a[0, :, -KV:].repeat(2, 0))
        assert not values[0, 2:].any()


def test_order_of_reads_and_writes() -> None:
    def graph(*, stale: bool) -> tt.Graph:
        g = tt.Graph()
        keys, values = (g.state(n, (1, SMAX, KV, D)) for n in ("keys", "values"))
        q = tt.ops.update_caches(g.input("qkv", (1, 1, HEADS + 2 * KV, D)), keys, values, 0)
        g.output("q", tt.ops.reshape(q, (HEADS, D)))
        g.output("k", tt.ops.add(values if stale else tt.ops.after(values, q), 1.0))
        return g

    tt.plan.plan(graph(stale=False), tt.target.Target("native"))
    with pytest.raises(ShapeError, match=r"reads <values .* after <update_caches .* overwrote"):
        tt.plan.plan(graph(stale=True), tt.target.Target("native"))
    g = graph(stale=False)
    other = g.state("other", (1,))
    with pytest.raises(ShapeError, match=r"after: <update_caches .* does not write <other "):
        tt.ops.after(other, g.outputs["q"].args[0])


def test_past_the_end_changes_nothing(native: harness.Native) -> None:
    session = asyncio.run(native.device.compile(growing(1, fused=True)))
    message = r"update_caches: pos \+ S, the rows of the caches and of turns in use is .* = 10"
    with pytest.raises(ShapeError, match=message + ", expected at most 9"):
        asyncio.run(session.run(at=[9], qkv=operands(1, 1)["qkv"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qkv": (1, 1, 4, D)}, r"expected \[1, S, more than 4, 8\] .*2 heads each of k and v"),
        ({"qkv": (2, 1, 8, D)}, r"qkv is float32\[2, 1, 8, 8\], expected \[1, S"),
        ({"v_cache": (1, SMAX, KV, 6)}, r"v_cache is float32\[1, 9, 2, 6\], expected both"),
        ({"turns": (SMAX, 10)}, r"turns is float32\[9, 10\], expected .* at most D = 8"),
        ({"turns": (SMAX, 3)}, r"turns is float32\[9, 3\], expected \[positions, R\], R even"),
        ({"q_norm": (D,)}, "one of q_norm and k_norm is given"),
        ({"q_norm": (7,), "k_norm": (7,)}, r"q_norm is float32\[7\], expected float32\[8\]"),
    ],
)
def test_operands_that_do_not_fit(change: dict[str, tuple[int, ...]], message: str) -> None:
    cache = (1, SMAX, KV, D)
    shapes = {"qkv": (1, 1, 8, D), "k_cache": cache, "v_cache": cache} | change
    g = tt.Graph()
    given = {name: g.state(name, shape) for name, shape in shapes.items()}
    with pytest.raises(ShapeError, match="update_caches: .*" + message):
        tt.ops.update_caches(**given, pos=0)
