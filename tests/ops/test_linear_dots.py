"""Products of many rows as integers of 16 bits, by packed dot products."""

import numpy as np
import pytest
import torch
from test_linear_qgsw import build, operands, surrounded

import harness
import tensortab as tt
from close import Shapes, assert_agrees, assert_close, graph_of, reference
from tensortab.errors import UnsupportedError
from tensortab.ops import linear_sliced
from tensortab.quant import q4gsw

NEAR = 3e-5  # of y's largest magnitude


def assert_near(
    device: harness.Device,
    a: dict[str, np.ndarray],
    group: int = 32,
    bits: int = 4,
    shapes: Shapes | None = None,
) -> None:
    most = float(np.abs(reference(build(bits, group), a)).max())
    assert_agrees(device, build(bits, group, "dots"), a, atol=NEAR * most, rtol=0, shapes=shapes)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("half", "bias"), [(False, True), (True, False)])
@pytest.mark.parametrize(
    ("m", "n", "k", "group"),
    [
        (1, 2, 32, 32),
        (7, 67, 96, 32),  # odd N with paired scales
        (70, 5, 384, 128),  # K is cut
        (130, 131, 192, 64),
    ],
)
def test_device_is_reference(
    device: harness.Device, bits: int, m: int, n: int, k: int, group: int, half: bool, bias: bool
) -> None:
    assert_near(
        device, operands(m, n, k, bits=bits, group=group, half=half, bias=bias), group, bits
    )


def test_torch_is_device(device: harness.Device) -> None:
    a = operands(9, 66, 128)
    weight = torch.from_numpy(q4gsw.dequantize(a["packed"], a["scales"]))
    x, bias = torch.from_numpy(a["x"]), torch.from_numpy(a["bias"])
    want = torch.nn.functional.linear(x, weight, bias).numpy()
    got = device.run(graph_of(build(4, 32, "dots"), a), **a)["y"]
    assert_close(got, want, atol=NEAR * float(np.abs(want).max()), rtol=0)


@pytest.mark.parametrize("act", [None, "silu", "gelu_tanh"])
@pytest.mark.parametrize(
    ("m", "n", "k", "bits"), [(1, 66, 32, 4), (7, 70, 96, 8), (70, 262, 64, 4), (130, 130, 544, 4)]
)
def test_what_surrounds_it(
    device: harness.Device, act: str | None, m: int, n: int, k: int, bits: int
) -> None:
    made, a = surrounded(m, n, k, bits=bits, act=act, strategy="dots")
    most = float(np.abs(reference(made, a)).max())
    assert_agrees(device, made, a, atol=2 * NEAR * most, rtol=0)


@pytest.mark.parametrize("rows", [1, 8, 40, 70])
def test_any_number_of_rows_up_to_the_maximum(device: harness.Device, rows: int) -> None:
    shapes = {"x": (tt.Sym("rows", 70, min=1), 256)}
    assert_near(device, operands(rows, 33, 256), shapes=shapes)


def test_every_tile_walks_all_of_k(native: harness.Native, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_sliced, "_TILES", 1)
    assert_near(native, operands(66, 130, 512))


def test_every_code(device: harness.Device) -> None:
    packed = np.arange(256, dtype=np.uint8).reshape(2, 128)
    x = np.random.default_rng(0).standard_normal((2, 256), np.float32)
    scales = np.array([[1, 0.5], [2, -1]], np.float32).repeat(4, axis=0)
    assert_near(device, {"x": x, "packed": packed, "scales": scales})


def test_blocks_of_any_magnitude(device: harness.Device) -> None:
    """Each block has its scale: small ones beside large ones keep their precision; zeros stay."""
    a = operands(24, 64, 64, bias=False)
    powers = 10.0 ** np.linspace(-24, 28, 24)
    a["x"] = (a["x"] * powers[:, None]).astype(np.float32)
    a["x"][3] = 0
    a["x"][:, 32:] *= 1e-4
    graph = graph_of(build(4, 32, "dots"), a)
    got, want = device.run(graph, **a)["y"], tt.evaluate(graph, **a)["y"]
    most = np.maximum(np.abs(want).max(1, keepdims=True), 1e-38)
    assert_close(got / most, want / most, atol=NEAR, rtol=0)
    assert not got[3].any()


def test_nan_stays(device: harness.Device) -> None:
    a = operands(5, 8, 64)
    a["x"][2, 40] = np.nan
    got = device.run(graph_of(build(4, 32, "dots"), a), **a)["y"]
    assert np.isnan(got[2]).all()
    assert np.isfinite(np.delete(got, 2, 0)).all()


def test_many_rows_are_two_dispatches() -> None:
    made, a = surrounded(64, 8, 32, act="silu")
    steps = tt.plan.plan(graph_of(made, a), tt.target.Target("browser")).steps
    assert [s.kernel.name for s in steps] == ["integer_rows", "linear_qgsw_dots"]


@pytest.mark.parametrize(
    ("vendor", "bits", "kernel"),
    [("nvidia", 4, "dots"), ("nvidia", 8, "gemm"), ("apple", 4, "gemm")],
)
def test_it_is_chosen_for_four_bits_where_the_instruction_is(
    vendor: str, bits: int, kernel: str
) -> None:
    graph = graph_of(build(bits), operands(9, 8, 32, bits=bits))
    plan = tt.plan.plan(graph, tt.target.Target("browser", vendor=vendor))
    assert plan.steps[-1].kernel.name == f"linear_qgsw_{kernel}"


def test_fits_the_smallest_adapters() -> None:
    graph = graph_of(build(4, 32, "dots"), operands(128, 8, 32))
    kernel = tt.plan.plan(graph, tt.target.Target("native")).steps[1].kernel
    assert np.prod(kernel.workgroup) <= 256
    # A block of 32 elements of x is four vec4s, of w one (two of bytes); each has a float32 scale.
    rows, columns = kernel["DOWN"] * kernel["ROWS"], 16 * kernel["COLUMNS"]
    assert 16 * (4 * (rows + 2) + 2 * columns) + 4 * (rows + columns) <= 16384


def test_what_it_does_not_take() -> None:
    a = operands(9, 8, 32)
    with pytest.raises(UnsupportedError, match="'dots' takes the low nibble first"):
        graph_of(
            lambda **t: tt.ops.linear_q4gsw(**t, group=32, high_first=True, strategy="dots"), a
        )
