"""One op of each kind in Firefox: naga under a browser's rules, and shader-f16 without a GPU."""

import pickle
from collections.abc import Callable

import numpy as np
import pytest

import harness
import tensortab as tt
from close import assert_agrees

RANDOM = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, np.float32)


PACKED, SCALES = tt.quant.q4gsw.quantize(floats(70, 64), scales="float16")
BYTES, FULL = tt.quant.q8gsw.quantize(floats(70, 64))
Q4 = {"x": floats(5, 64), "packed": PACKED, "scales": SCALES}
Q8 = {"x": floats(1, 64), "packed": BYTES, "scales": FULL}

CASES: list[tuple[Callable[..., tt.Tensor], dict[str, np.ndarray]]] = [
    (tt.ops.gelu, {"x": floats(3, 100)}),
    (tt.ops.add, {"a": floats(3, 1, 5), "b": floats(4, 5)}),
    (lambda x: tt.ops.permute(x, (2, 0, 1)), {"x": floats(3, 4, 5)}),
    (
        tt.ops.embedding,
        {"ids": np.array([3, 0, 8], np.int32), "table": floats(9, 7)},
    ),
    (
        tt.ops.layer_norm,
        {"x": floats(5, 70), "weight": floats(70), "bias": floats(70)},
    ),
    (tt.ops.softmax, {"x": floats(5, 70)}),
    (tt.ops.mean_pool, {"x": floats(2, 5, 7), "mask": np.ones((2, 5), np.float32)}),
    (tt.ops.bmm, {"a": floats(2, 9, 17), "w": floats(2, 17, 70)}),
    (lambda x, packed, scales: tt.ops.linear_q4gsw(x, packed, scales, group=32), Q4),
    (lambda x, packed, scales: tt.ops.linear_q8gsw(x, packed, scales, group=32), Q8),
    (
        tt.ops.sdpa,
        {"q": floats(1, 2, 3, 32), "k": floats(1, 2, 6, 32), "v": floats(1, 2, 6, 32)},
    ),
]
CASES += [
    (
        lambda x, w: tt.ops.convolution(x, w, padding=1, stride=2),
        {"x": floats(1, 9, 7, 7), "w": floats(17, 9, 3, 3)},
    ),
    (
        lambda x, w, scales: tt.ops.q8ta_linear(x, w, scales, affine=tt.ops.Affine(0.1, 3)),
        {
            "x": RANDOM.integers(-128, 128, (3, 70)).astype(np.int8),
            "w": RANDOM.integers(-127, 128, (5, 70)).astype(np.int8),
            "scales": np.full(5, 0.01, np.float32),
        },
    ),
]
NAMES = ["gelu", "add", "permute", "embedding", "layer_norm", "softmax", "mean_pool", "bmm"]
NAMES += ["q4", "q8", "sdpa", "convolution", "q8ta_linear"]


@pytest.mark.parametrize(("build", "arrays"), CASES, ids=NAMES)
def test_reference_is_firefox(
    firefox: harness.Tab, build: Callable[..., tt.Tensor], arrays: dict[str, np.ndarray]
) -> None:
    assert_agrees(firefox, build, arrays, atol=1e-5)


HALVES = """
import pickle
import numpy as np
import tensortab as tt

SOURCE = '''// y = 2 · x, worked out in Acc.
alias Acc = f32;  // knob: f32 | f16
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(4)
fn main(@builtin(local_invocation_index) i: u32) { y[i] = f32(Acc(x[i]) * Acc(2.0)); }
'''

async def main(payload):
    device = await tt.Device.open("browser")
    double = tt.Kernel.from_source("double", SOURCE).specialise(Acc="f16")

    def lower(target, y, x):
        return [tt.op.dispatch(double, (1, 1, 1), x=x, y=y)]

    g = tt.Graph()
    op = tt.Op("double", lambda x: x.spec, lambda x: 2 * x, lower)
    g.output("y", op(g.input("x", (4,))))
    session = await device.compile(g)
    return pickle.dumps((await session.run(x=pickle.loads(payload)))["y"])
"""


def test_a_knob_turned_to_f16(firefox: harness.Tab) -> None:
    assert "shader-f16" in firefox.info.features
    x = np.array([1, 0.1, 1000.5, -3], np.float32)
    y = pickle.loads(firefox.call(HALVES, pickle.dumps(x)))
    np.testing.assert_array_equal(y, (x.astype(np.float16) * np.float16(2)).astype(np.float32))
    assert y[1] != np.float32(0.2), "that is what half precision looks like"
