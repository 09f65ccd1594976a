"""Ops on numpy arrays at once: what comes back, what is kept, what is refused."""

import asyncio
import pickle
import re
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

import harness
import tensortab as tt
from tensortab import eager
from tensortab.errors import DeviceLostError, ShapeError

CALL = """
import pickle
import tensortab as tt

async def main(payload):
    name, args, kwargs = pickle.loads(payload)
    return pickle.dumps(await tt.call(getattr(tt.ops, name), *args, **kwargs))
"""

HELLO = """
import pickle
import numpy as np
import tensortab as tt

SOURCE = '''
// y = x³ - x
struct Params { n: u32, }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < p.n) { y[id.x] = x[id.x] * x[id.x] * x[id.x] - x[id.x]; }
}
'''

def wiggle(source):
    kernel = tt.Kernel.from_source("wiggle", source)

    def lower(target, y, x):
        n = tt.product(x.shape)
        return [tt.dispatch(kernel, (tt.ceildiv(n, 64), 1, 1), x=x, y=y, n=n)]

    return tt.Op("wiggle", lambda x: x.spec, lambda x: x**3 - x, lower)

async def main(payload):
    x = pickle.loads(payload)
    device = await tt.Device.default()
    try:
        await wiggle(SOURCE.replace("- x[", "- z[")).on(device, x)
    except tt.errors.KernelError as error:
        refused = str(error)
    return pickle.dumps((await wiggle(SOURCE).on(device, x), refused))
"""

X = np.random.default_rng(0).normal(size=(3, 5))


def on(device: harness.Device, name: str, *args: Any, **kwargs: Any) -> Any:
    """The op on a device."""
    if isinstance(device, harness.Tab):
        return pickle.loads(device.call(CALL, pickle.dumps((name, args, kwargs))))
    work = getattr(tt.ops, name).on(device.device, *args, **kwargs)
    return device._loop.run(work)


def drive(work: Callable[[tt.Device], Coroutine[Any, Any, Any]]) -> Any:
    """Do something with a device on numpy, which costs nothing to open."""

    async def opened() -> Any:
        return await work(await tt.Device.open("reference"))

    return asyncio.run(opened())


def test_an_op_of_arrays_of_64_bits(device: harness.Device) -> None:
    y = on(device, "gelu", X, approximate="tanh")
    want = tt.ops.gelu.reference(X, approximate="tanh")
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, want, atol=1e-6)
    y[0, 0] = 1  # the caller's own
    np.testing.assert_array_equal(on(device, "mul", np.arange(3), np.int64(2)), [0, 2, 4])


def test_functions_of_several_ops(device: harness.Device) -> None:
    np.testing.assert_array_equal(on(device, "flip", np.arange(4.0), (0,)), [3, 2, 1, 0])
    np.testing.assert_array_equal(on(device, "concat", np.ones(2), np.zeros(1)), [1, 1, 0])


def test_what_is_written_comes_back(device: harness.Device) -> None:
    old, new = np.zeros(4, np.float32), np.arange(4.0)
    np.testing.assert_array_equal(on(device, "assign", old, new), new)
    np.testing.assert_array_equal(old, 0)  # the operand itself is nobody's to write
    np.testing.assert_array_equal(on(device, "advance", np.array([5]), 3), [8])
    cache = np.zeros((1, 4, 1, 2), np.float32)
    q, k, v = on(device, "update_caches", np.arange(8.0).reshape(1, 1, 4, 2), cache, cache, 1)
    np.testing.assert_array_equal(q.ravel(), [0, 1, 2, 3])
    np.testing.assert_array_equal(k.ravel(), [0, 0, 4, 5, 0, 0, 0, 0])
    np.testing.assert_array_equal(v.ravel(), [0, 0, 6, 7, 0, 0, 0, 0])


def test_a_kernel_of_ones_own(device: harness.Device) -> None:
    x = np.linspace(-1, 1, 130)
    if isinstance(device, harness.Tab):
        y, refused = pickle.loads(device.call(HELLO, pickle.dumps(x)))
    else:
        scope: dict[str, Any] = {}
        exec(HELLO, scope)
        y, refused = pickle.loads(device._loop.run(scope["main"](pickle.dumps(x))))
        device._loop.run(close_default())
    np.testing.assert_allclose(y, x**3 - x, atol=1e-6)
    assert refused.startswith("wgsl/wiggle.wgsl:9:61:\n")
    assert re.search(r"9 . .*- z\[id\.x\]; }\n.*\^", refused)
    assert re.search(r"(no definition in scope for identifier: `z`|unresolved value 'z')", refused)


async def close_default() -> None:
    (await tt.Device.default()).close()


def test_several_results_in_the_function_s_own_form() -> None:
    async def work(device: tt.Device) -> None:
        both = await device.call(lambda a, b: (tt.ops.mul(a, b), tt.ops.sub(a, b)), X[0], X[1])
        assert [type(both), len(both)] == [tuple, 2]
        np.testing.assert_allclose(both[1], X[0] - X[1], atol=1e-6)

        def remember(state: tt.Tensor, x: tt.Tensor) -> tt.Tensor:
            return tt.ops.mul(tt.ops.assign(state, x), 2.0)

        doubled, state = await device.call(remember, np.zeros(2), np.ones(2))
        np.testing.assert_array_equal(doubled, [2, 2])
        np.testing.assert_array_equal(state, [1, 1])

    drive(work)


def test_the_same_call_is_compiled_once() -> None:
    async def work(device: tt.Device) -> None:
        kept = device._eager.sessions
        await tt.ops.clamp.on(device, X, 0.0)
        await tt.ops.clamp.on(device, X + 1, 0.0)
        assert len(kept) == 1
        assert (await tt.ops.clamp.on(device, np.array([-1.0]), -0.5))[0] == -0.5
        await asyncio.gather(*(tt.ops.clamp.on(device, X, 1.0) for _ in range(3)))
        assert len(kept) == 3
        # Another op of the same name, as one who edits a cell makes it, is another op.
        for power in (2, 3):
            own = tt.Op("own", lambda x: x.spec, lambda x, n=power: x**n, tt.ops.gelu.lower)
            assert (await own.on(device, np.array([2.0])))[0] == 2**power

    drive(work)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager, "MOST", 2)
    monkeypatch.setattr(eager, "MOST_BYTES", 5000)

    async def work(device: tt.Device) -> None:
        kept = device._eager.sessions
        for n in (1, 2, 3, 2, 4):
            await tt.ops.relu.on(device, np.ones(n))
        assert [next(iter(s.graph.inputs.values())).shape for s in kept.values()] == [(2,), (4,)]
        await tt.ops.relu.on(device, np.ones(1000))  # too much to be kept at all
        assert not kept
        np.testing.assert_array_equal(await tt.ops.relu.on(device, -np.ones(2)), [0, 0])

    drive(work)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: tt.ops.gelu.on(d, np.arange(3)), r"gelu: x is int32\[3\], expected float32"),
        (lambda d: tt.ops.gelu.on(d, np.zeros((0, 2))), r"x is float32\[0, 2\], .* at least one"),
        (lambda d: tt.ops.gelu.on(d, np.array(["a"])), "expected numbers or booleans"),
        (lambda d: tt.ops.abs.on(d, np.array([1 << 40])), "outside of int32"),
        (lambda d: tt.ops.advance.on(d, np.ones(2)), r"scalar is array.*, expected one integer"),
        (lambda d: d.call(lambda _: 3, X), "<lambda> gives 3, expected a tensor or a tuple"),
        (lambda d: d.call(lambda _: (), X), r"<lambda> gives \(\), expected a tensor"),
    ],
)
def test_what_cannot_be_called(call: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        drive(call)


def test_the_default_device_is_opened_once_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    async def open_one() -> tt.Device:
        device = await real("reference")
        opened.append(device)
        await asyncio.sleep(0)
        return device

    real = tt.Device.open
    monkeypatch.setattr(tt.Device, "open", open_one)

    async def work() -> None:
        first, second = await asyncio.gather(tt.Device.default(), tt.Device.default())
        assert first is second
        assert (await tt.call(tt.ops.neg, np.ones(1)))[0] == -1
        assert len(opened) == 2  # the two that asked at once; one of them was given back
        first.close()
        again = await tt.Device.default()
        assert again is not first

        def lost(*_: Any) -> Any:
            raise DeviceLostError("gone")

        monkeypatch.setattr(again._eager, "call", lost)
        with pytest.raises(DeviceLostError, match="gone"):
            await tt.call(tt.ops.neg, np.ones(1))
        assert await tt.Device.default() is not again
        (await tt.Device.default()).close()

    asyncio.run(work())
