"""Tensors of no elements: calls of a blob made by hand, whole programs, live sizes, states."""

import pickle
from typing import Any

import numpy as np
import pytest

import harness
import tensortab as tt
from calls import LAYOUT, built
from catalogue import assert_within, cases, results
from tensortab.errors import FormatError


def zeros(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.zeros(shape, dtype)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


E, CODES, IDS = zeros(0, 4), zeros(0, 4, dtype="int8"), zeros(0, dtype="int32")
W, IMAGE, HEADS = ones(5, 4), zeros(0, 4, 6, 6), zeros(1, 2, 0, 8)
ROWS = zeros(1, 0, 2, 8)
# An operator's name, its arguments, and what comes out.
CASES: list[tuple[str, list[Any], list[np.ndarray]]] = [
    ("aten.relu.default", [E], [E]),
    ("aten.add.Tensor", [E, ones(1, 4), 2], [E]),
    ("aten.eq.Tensor", [E, E], [zeros(0, 4, dtype="bool")]),
    ("aten.mm.default", [E, ones(4, 5)], [zeros(0, 5)]),
    ("aten.mm.default", [zeros(3, 0), E], [zeros(3, 4)]),
    ("aten.bmm.default", [zeros(2, 0, 4), ones(2, 4, 3)], [zeros(2, 0, 3)]),
    ("aten.linear.default", [E, W, ones(5)], [zeros(0, 5)]),
    ("aten.linear.default", [zeros(3, 0), zeros(5, 0), ones(5)], [ones(3, 5)]),
    ("aten.sum.dim_IntList", [E, (0,), False, None], [zeros(4)]),
    ("aten.sum.dim_IntList", [E, (1,), False, None], [zeros(0)]),
    ("aten.amax.default", [E, (1,), False], [zeros(0)]),
    ("aten.argmax.default", [E, 1, False], [IDS]),
    ("aten._softmax.default", [E, -1, False], [E]),
    ("aten._softmax.default", [zeros(3, 0), -1, False], [zeros(3, 0)]),
    ("aten.native_layer_norm.default", [E, (4,), ones(4), ones(4), 1e-5],
     [E, zeros(0, 1), zeros(0, 1)]),
    ("aten.view_copy.default", [E, (4, 0)], [zeros(4, 0)]),
    ("aten.permute_copy.default", [zeros(2, 0, 4), (2, 0, 1)], [zeros(4, 2, 0)]),
    ("aten.slice_copy.Tensor", [W, 0, 1, 1, 1], [E]),
    ("aten.flip.default", [E, (0,)], [E]),
    ("aten.constant_pad_nd.default", [E, (0, 0, 1, 0), 2.0], [2 * ones(1, 4)]),
    ("aten.index_select.default", [W, 0, IDS], [E]),
    ("aten.embedding.default", [W, IDS, -1, False, False], [E]),
    ("aten.full.default", [(0, 3), 2, *LAYOUT], [zeros(0, 3)]),
    ("aten.arange.start_step", [3, 3, 1, *LAYOUT], [IDS]),
    ("et_vk.linear_q4gsw.default",
     [zeros(0, 32), zeros(6, 16, dtype="uint8"), ones(1, 6), 32, None], [zeros(0, 6)]),
    ("aten.convolution.default",
     [IMAGE, ones(2, 4, 3, 3), None, (1,), (1,), (1,), False, (0,), 1], [zeros(0, 2, 6, 6)]),
    ("aten.native_group_norm.default", [IMAGE, ones(4), ones(4), 0, 4, 36, 2, 1e-5],
     [IMAGE, zeros(0, 2), zeros(0, 2)]),
    ("aten.upsample_bilinear2d.vec", [IMAGE, (9, 9), False, None], [zeros(0, 4, 9, 9)]),
    ("quantized_decomposed.quantize_per_tensor.default", [E, 0.1, 0, -128, 127, None], [CODES]),
    ("et_vk.q8ta_add.default", [CODES, CODES, 0.1, 0, 0.1, 0, 0.1, 0, 1.0], [CODES]),
    ("et_vk.apply_rotary_emb.default", [ROWS, ROWS, E, E], [ROWS, ROWS]),
    ("et_vk.sdpa.default", [HEADS, ones(1, 2, 3, 8), ones(1, 2, 3, 8), None, None], [HEADS]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "want"), CASES, ids=[c[0] for c in CASES])
def test_operators(
    device: harness.Device, name: str, args: list[Any], want: list[np.ndarray]
) -> None:
    made, arrays = built(name, args, want)
    for found in (tt.evaluate(made.graph, **arrays), device.run(made.graph, **arrays)):
        for key, array in zip(made.outputs, want, strict=True):
            assert found[key].dtype == array.dtype
            np.testing.assert_array_equal(found[key], array)


def test_the_largest_of_nothing_is_refused() -> None:
    with pytest.raises(FormatError, match=r"amax: x is float32\[0, 4\], expected elements along"):
        built("aten.amax.default", [E, (0,), False], [zeros(4)])


IN_TAB = """
import pickle
import tensortab as tt

async def main(payload):
    device = await tt.Device.open("browser")
    found = []
    for pte, inputs in pickle.loads(payload):
        program = await tt.load_pte(pte, device=device)
        found.append([await program.forward(*arrays) for arrays in inputs])
    device.close()
    return pickle.dumps(found)
"""
PROGRAMS = ["live_mlp", "live_attention", "live_embedding", "llama_live"]


def test_programs(loop: harness.Loop, device: harness.Device) -> None:
    """No rows, then some: what comes later is what it is without."""
    jobs = []
    for case in map(cases().__getitem__, PROGRAMS):
        first, *rest = case.inputs[0]
        jobs.append((case.pte, [[first[:, :0], *rest], *case.inputs]))
    if isinstance(device, harness.Tab):
        answers = pickle.loads(device.call(IN_TAB, pickle.dumps(jobs)))
    else:
        answers = [loop.run(results(device.device, *job)) for job in jobs]
    for name, ((nothing,), *outputs) in zip(PROGRAMS, answers, strict=True):
        case = cases()[name]
        golden = case.goldens[0][0]
        assert nothing.shape == (golden.shape[0], 0, *golden.shape[2:])
        for run, goldens in zip(outputs, case.goldens, strict=True):
            assert_within(run[0], goldens[0], case.atol, case.rtol)


LIVE = """
import pickle
import tensortab as tt

async def main(payload):
    scope, (source, x) = {}, pickle.loads(payload)
    exec(source, scope)
    device = await tt.Device.open("browser")
    found = await scope["live"](tt, device, x)
    device.close()
    return pickle.dumps(found)
"""
SESSION = """
async def live(tt, device, x):
    g = tt.Graph()
    rows = g.input("x", (tt.Sym("rows", max=70000), 4))
    y = tt.ops.softmax(tt.ops.linear(rows, g.constant("w", x[:3]), None))
    cache = g.state("empty", (0, 4))
    g.output("y", y)
    g.output("sum", tt.ops.sum(y, (0,), keep=False))
    g.output("joined", tt.ops.concat(cache, rows, axis=0))
    session = await device.compile(g)
    found = []
    for n in (0, 3, 0):
        found.append(await session.run(x=x[:n]))
    session.restore(session.snapshot())
    session.reset()
    session.state("empty").write(x[:0])
    return found, await session.state("empty").read(), g
"""


def test_live_sizes_and_states(loop: harness.Loop, device: harness.Device) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4), np.float32)
    if isinstance(device, harness.Tab):
        found, state, g = pickle.loads(device.call(LIVE, pickle.dumps((SESSION, x))))
    else:
        scope: dict[str, Any] = {}
        exec(SESSION, scope)
        found, state, g = loop.run(scope["live"](tt, device.device, x))
    assert state.shape == (0, 4)
    for n, out in zip((0, 3, 0), found, strict=True):
        want = tt.evaluate(g, x=x[:n])
        for name, array in want.items():
            assert out[name].shape == array.shape
            np.testing.assert_allclose(out[name], array, rtol=1e-5)
