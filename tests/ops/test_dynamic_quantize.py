from typing import Any

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError
from tensortab.ops import choose_scale, choose_zero_point, fake_quantize, linear_q4gsw
from tensortab.quant import q4gsw

SHAPES = [(1,), (7,), (1, 64), (5, 33), (2, 3, 40), (4, 300), (9, 1)]
shapes = pytest.mark.parametrize("shape", SHAPES)


def rows(shape: tuple[int, ...], shift: float = 0.3) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32) * 3 + np.float32(shift)


def chosen(x: np.ndarray, low: int = -128, high: int = 127) -> tuple[torch.Tensor, torch.Tensor]:
    """As torchao's choose_qparams_affine has it."""
    v = torch.from_numpy(x)
    least, most = v.amin(-1).clamp(max=0), v.amax(-1).clamp(min=0)
    scale = ((most - least) / float(high - low)).clamp(min=torch.finfo(torch.float32).eps)
    return scale, torch.clamp(low - torch.round(least / scale), low, high)


def faked(x: np.ndarray, scale: torch.Tensor, zero: torch.Tensor) -> np.ndarray:
    s, z = scale[..., None], zero[..., None]
    codes = torch.clamp(torch.round(torch.from_numpy(x) * (1.0 / s)) + z, -128, 127)
    return ((codes - z) * s).numpy()


@shapes
@pytest.mark.parametrize("shift", [0.3, 20.0, -20.0])  # both signs, all above 0, all below
def test_choosing(device: harness.Device, shape: Any, shift: float) -> None:
    x = rows(shape, shift)
    for ends in ((-128, 127), (0, 127), (-8, 7)):
        scale, zero = chosen(x, *ends)
        for op, want in ((choose_scale, scale), (choose_zero_point, zero)):
            build = lambda x, op=op, ends=ends: op(x, ends=ends)  # noqa: E731
            assert_close(reference(build, {"x": x}), want.numpy(), atol=0, rtol=1e-6)
            assert_agrees(device, build, {"x": x}, atol=0, rtol=1e-6)


def test_a_row_of_zeros(device: harness.Device) -> None:
    x = {"x": np.zeros((2, 5), np.float32)}
    eps = np.finfo(np.float32).eps
    for op, settings, want in (
        (choose_scale, {}, eps),
        (choose_scale, {"eps": 0.5}, 0.5),
        (choose_zero_point, {}, -128),
    ):
        graph = graph_of(lambda x, op=op, s=settings: op(x, **s), x)
        for got in (tt.evaluate(graph, **x)["y"], device.run(graph, **x)["y"]):
            np.testing.assert_array_equal(got, want)


@shapes
def test_fake_quantize(device: harness.Device, shape: Any) -> None:
    x = rows(shape)
    scale, zero = chosen(x)
    arrays = {"x": x, "scale": scale.numpy(), "zero_point": zero.numpy().astype(np.int8)}
    assert_close(reference(fake_quantize, arrays), faked(x, scale, zero), atol=1e-6, rtol=1e-6)
    assert_agrees(device, fake_quantize, arrays, atol=1e-6)


@pytest.mark.parametrize("lanes", [1, 64])
def test_rows_shared_or_not(
    native: harness.Native, monkeypatch: pytest.MonkeyPatch, lanes: int
) -> None:
    """Both ways to share a row, whatever the device would choose."""

    def forced(kernel: tt.kernel.Kernel, target: Any, d: int, **knobs: int) -> tt.kernel.Kernel:
        del target, d
        return kernel.specialise(LANES=lanes, ROWS=3, **knobs)

    monkeypatch.setattr("tensortab.ops.dynamic_quantize.shared_rows", forced)
    for op in (choose_scale, choose_zero_point):
        assert_agrees(native, op, {"x": rows((14, 100))}, atol=0)


@pytest.mark.parametrize("m", [1, 6])
def test_a_linear_of_them(device: harness.Device, m: int) -> None:
    """Activations quantized by row, then 4-bit weights: ExecuTorch's linear_dq8ca_q4gsw."""
    r = np.random.default_rng(m)
    packed, scales = q4gsw.quantize(r.standard_normal((9, 64), np.float32), 32)
    arrays = {"x": rows((m, 64)), "packed": packed, "scales": scales}

    def linear(x: tt.Tensor, **weight: tt.Tensor) -> tt.Tensor:
        near = fake_quantize(x, choose_scale(x), choose_zero_point(x))
        return linear_q4gsw(near, **weight, group=32)

    x = torch.from_numpy(faked(arrays["x"], *chosen(arrays["x"])))
    weight = torch.from_numpy(q4gsw.dequantize(packed, scales))
    want = torch.nn.functional.linear(x, weight).numpy()
    assert_close(reference(linear, arrays), want, atol=1e-4, rtol=1e-5)
    shapes = {"x": (tt.Sym("rows", 6), 64)}
    assert_agrees(device, linear, arrays, shapes=shapes, atol=2e-4)


def test_operands_that_do_not_fit() -> None:
    x = rows((3, 8))
    with pytest.raises(ShapeError, match=r"choose_scale: codes from 1 to 7, expected within −128"):
        graph_of(lambda x: choose_scale(x, ends=(1, 7)), {"x": x})
    with pytest.raises(ShapeError, match=r"choose_zero_point: x is float32\[\], expected at least"):
        graph_of(choose_zero_point, {"x": np.float32(1)[...]})
    arrays = {"x": x, "scale": np.ones(2, np.float32), "zero_point": np.zeros(3, np.int8)}
    with pytest.raises(ShapeError, match=r"scale is float32\[2\], expected one for each row of x"):
        graph_of(fake_quantize, arrays)
    with pytest.raises(ShapeError, match=r"zero_point is float32\[3\], expected int8"):
        graph_of(fake_quantize, arrays | {"zero_point": np.ones(3, np.float32)})
