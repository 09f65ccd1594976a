import asyncio

import numpy as np
import pytest

import harness
import tensortab as tt
from tensortab.errors import DeviceError, KernelError, ShapeError
from tensortab.kernel import Kernel

COUNT_CROSSINGS = """
import pickle
import numpy as np
import tensortab as tt
from tensortab.device import browser

calls = []

class Counted:
    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        def call(*args):
            calls.append(name)
            result = getattr(self.inner, name)(*args)
            return result if isinstance(result, bytes) else wrapped(result)
        return call

async def wrapped(promise):
    return Counted(await promise)

async def main(payload):
    device = await tt.Device.open("browser")
    g = tt.Graph()
    y = g.input("x", (tt.Sym("rows", 8), 3))
    for _ in range(300):
        y = tt.ops.gelu(y)
    g.output("y", y)
    session = await device.compile(g)
    session._recording._js = Counted(session._recording._js)
    original = browser.to_js
    browser.to_js = lambda *a, **k: (calls.append("to_js"), original(*a, **k))[1]
    try:
        counts = []
        for rows in (8, 2, 2):
            calls.clear()
            await session.run(x=np.ones((rows, 3), np.float32))
            counts.append(list(calls))
    finally:
        browser.to_js = original
    return pickle.dumps((len(session.plan.steps), counts))
"""


def sized(rows: int) -> tt.Graph:
    g = tt.Graph()
    x = g.input("x", (tt.Sym("rows", rows, min=1), 4))
    w = g.constant("w", np.arange(12, dtype=np.float32).reshape(3, 4))
    g.output("y", tt.ops.linear(x, w))
    return g


@pytest.fixture
def opened(native: harness.Native) -> tt.Device:
    return native.device


def run(session: tt.Session, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    return asyncio.run(session.run(**inputs))


def test_one_session_takes_every_size(opened: tt.Device) -> None:
    graph = sized(70)
    session = asyncio.run(opened.compile(graph))
    for rows in (70, 1, 33, 33, 2):
        x = np.random.default_rng(rows).standard_normal((rows, 4), np.float32)
        y = run(session, x=x)["y"]
        assert y.shape == (rows, 3)
        np.testing.assert_allclose(y, tt.evaluate(graph, x=x)["y"], rtol=1e-5, atol=1e-5)


def test_only_dependent_steps_are_resized(opened: tt.Device) -> None:
    g = tt.Graph()
    x = g.input("x", (tt.Sym("rows", 8), 4))
    z = g.input("z", (5,))
    g.output("y", tt.ops.gelu(x))
    g.output("w", tt.ops.gelu(z))
    session = asyncio.run(opened.compile(g))
    for rows, hooks in ((8, 0), (3, 1), (3, 1), (8, 2)):
        run(session, x=np.ones((rows, 4)), z=np.ones(5))
        assert session.live.hooks == hooks


def test_runs_may_overlap(opened: tt.Device) -> None:
    session = asyncio.run(opened.compile(sized(8)))

    async def both() -> list[dict[str, np.ndarray]]:
        inputs = [np.full((n, 4), n, np.float32) for n in (1, 8, 3)]
        return await asyncio.gather(*(session.run(x=x) for x in inputs))

    assert [out["y"].shape[0] for out in asyncio.run(both())] == [1, 8, 3]


def test_constants_are_filled_in_parts(opened: tt.Device) -> None:
    g = tt.Graph()
    g.output("y", tt.ops.mul(g.input("x", (4,)), g.constant("w", tt.Spec((4,)))))
    session = asyncio.run(opened.compile(g))
    with pytest.raises(ShapeError, match="1 constants have no value yet: w"):
        run(session, x=np.ones(4))
    values = np.array([1, 2, 3, 4], np.float32)
    session.fill("w", values[:2])
    with pytest.raises(ShapeError, match="1 constants have no value yet: w"):
        run(session, x=np.ones(4))
    session.fill("w", values[2:], offset=8)
    np.testing.assert_array_equal(run(session, x=np.ones(4))["y"], values)
    with pytest.raises(ShapeError, match="'w': 12 bytes at byte 8, expected to end within 16"):
        session.fill("w", values[1:], offset=8)
    with pytest.raises(ShapeError, match="has no constant 'v'"):
        session.fill("v", values)


def test_sessions_share_constants(opened: tt.Device) -> None:
    def graph(rows: int) -> tt.Graph:
        g = tt.Graph()
        w = g.constant("w", tt.Spec((3, 4)))
        g.output("y", tt.ops.linear(g.input("x", (rows, 4)), w))
        return g

    first = asyncio.run(opened.compile(graph(1)))
    second = asyncio.run(opened.compile(graph(9), share=first))
    first.fill("w", np.eye(3, 4, dtype=np.float32))
    first.destroy()
    x = np.random.default_rng(0).standard_normal((9, 4), np.float32)
    np.testing.assert_array_equal(run(second, x=x)["y"], x[:, :3])
    second.destroy()


def test_many_small_outputs(opened: tt.Device) -> None:
    g = tt.Graph()
    x = g.input("x", (tt.Sym("n", 5),))
    for i in range(4):
        g.output(f"y{i}", tt.ops.mul(x, float(i)))
    out = run(asyncio.run(opened.compile(g)), x=np.ones(3))
    assert {n: y.tolist() for n, y in out.items()} == {f"y{i}": [i] * 3 for i in range(4)}


def test_a_buffer_beyond_the_limits(opened: tt.Device) -> None:
    g = tt.Graph()
    g.output("y", tt.ops.gelu(g.input("big", (1 << 40,))))
    with pytest.raises(DeviceError, match=r"big takes 4398046511104 bytes, this adapter's max"):
        asyncio.run(opened.compile(g))


def test_compiler_errors_point_at_the_file(opened: tt.Device) -> None:
    source = "// one\n@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n"
    source += "@compute @workgroup_size(1)\nfn main() { y[0] = oops; }\n"
    assert opened.backend
    with pytest.raises(KernelError, match=r"wgsl/bad.wgsl:4:20"):
        asyncio.run(opened.backend.compile([Kernel.from_source("bad", source)]))


def test_features_a_device_lacks(opened: tt.Device) -> None:
    kernel = Kernel.from_source("odd", "enable made_up;\n@compute @workgroup_size(1) fn main() {}")
    assert opened.backend
    with pytest.raises(KernelError, match=r"odd.wgsl needs \['made-up'\], which .*native.* lacks"):
        asyncio.run(opened.backend.compile([kernel]))


def test_reference_device_agrees(device: harness.Device) -> None:
    x = np.random.default_rng(1).standard_normal((5, 4), np.float32)
    reference = asyncio.run(tt.Device.open("reference"))
    want = run(asyncio.run(reference.compile(sized(8))), x=x)["y"]
    np.testing.assert_allclose(device.run(sized(8), x=x)["y"], want, rtol=1e-5, atol=1e-5)


def test_falls_back_to_numpy_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_kind: str, *, least: bool) -> None:  # noqa: ARG001
        raise DeviceError("no adapter")

    monkeypatch.setattr("tensortab.runtime._open", refuse)
    with pytest.warns(RuntimeWarning, match="no GPU, so numpy computes, slowly: no adapter"):
        assert asyncio.run(tt.Device.open()).info.kind == "reference"
    with pytest.raises(DeviceError, match="no native device: no adapter"):
        asyncio.run(tt.Device.open("native"))


def test_a_run_crosses_into_javascript_three_times(chrome: harness.Tab) -> None:
    import pickle

    steps, counts = pickle.loads(chrome.call(COUNT_CROSSINGS))
    assert steps == 300
    assert counts == [["to_js", "run", "to_bytes"]] * 3


def test_more_dispatches_than_go_ahead(device: harness.Device) -> None:
    """The first ones of a long run are a submission of their own in a browser."""
    g = tt.Graph()
    y = g.input("x", (3,))
    for _ in range(130):
        y = tt.ops.add(y, 1.0)
    g.output("y", y)
    got = device.run(g, x=np.array([1, 2, 3], np.float32))["y"]
    np.testing.assert_array_equal(got, [131, 132, 133])
