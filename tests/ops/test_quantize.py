from typing import Any

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError
from tensortab.ops import Affine, dequantize, q8ta_add, q8ta_relu, quantize

AFFINES = [Affine(0.05, 0), Affine(0.02, -13), Affine(0.1, 127), Affine(1.5, 5)]
affines = pytest.mark.parametrize("affine", AFFINES)
SHAPES = [(), (1,), (5,), (3, 7), (2, 3, 4), (300,)]


def exactly(device: harness.Device, build: Any, arrays: Any, want: Any) -> None:
    """Torch = reference = device, bit by bit."""
    assert_close(reference(build, arrays), want, atol=0, rtol=0)
    assert_agrees(device, build, arrays, atol=0, rtol=0)


def values(shape: tuple[int, ...], affine: Affine) -> np.ndarray:
    """Within the codes' range, beyond it, and half-way between codes."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape, np.float32) * np.float32(90 * affine.scale)
    halves = rng.integers(-20, 20, shape).astype(np.float32) + np.float32(0.5)
    picks = rng.random(shape) < 0.3
    return np.where(picks, halves * np.float32(affine.scale), x)[...].astype(np.float32)


def codes(shape: tuple[int, ...], seed: int = 0, dtype: str = "int8") -> np.ndarray:
    span = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(span.min, span.max + 1, shape)[...].astype(dtype)


def quantized(v: torch.Tensor, affine: Affine, low: int = -128, high: int = 127) -> np.ndarray:
    return torch.clamp(torch.round(v * (1.0 / affine.scale)) + affine.zero_point, low, high).numpy()


def dequantized(x: np.ndarray, affine: Affine) -> torch.Tensor:
    return (torch.from_numpy(x).float() - affine.zero_point) * affine.scale


@affines
@pytest.mark.parametrize("shape", SHAPES)
def test_quantize(device: harness.Device, affine: Affine, shape: Any) -> None:
    x = values(shape, affine)
    want = quantized(torch.from_numpy(x), affine)
    exactly(device, lambda x: quantize(x, affine), {"x": x}, want)


def test_rounding_is_half_to_even(device: harness.Device) -> None:
    x = {"x": np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 1e30, -1e30, np.inf], np.float32)}
    want = [0, 2, 2, 0, -2, -2, 127, -128, 127]
    exactly(device, lambda x: quantize(x, Affine(1)), x, np.array(want))


@pytest.mark.parametrize("ends", [None, (0, 15), (-7, 7)])
def test_quantize_within_ends(device: harness.Device, ends: Any) -> None:
    x = values((50,), Affine(0.1))
    for dtype, affine in (("uint8", Affine(0.1, 128)), ("int8", Affine(0.1, 3))):
        low, high = ends or (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if low < np.iinfo(dtype).min:
            continue
        want = quantized(torch.from_numpy(x), affine, low, high)
        build = lambda x, a=affine, d=dtype: quantize(x, a, dtype=d, ends=ends)  # noqa: E731
        exactly(device, build, {"x": x}, want)


@affines
@pytest.mark.parametrize("shape", SHAPES)
def test_dequantize(device: harness.Device, affine: Affine, shape: Any) -> None:
    for dtype in ("int8", "uint8"):
        x = codes(shape, dtype=dtype)
        want = dequantized(x, affine).numpy()
        exactly(device, lambda x: dequantize(x, affine), {"x": x}, want)


@affines
@pytest.mark.parametrize("shape", SHAPES)
def test_relu(device: harness.Device, affine: Affine, shape: Any) -> None:
    x = codes(shape)
    out = Affine(0.07, -20)
    want = quantized(torch.relu(dequantized(x, affine)), out)
    exactly(device, lambda x: q8ta_relu(x, affine, out), {"x": x}, want)


@affines
@pytest.mark.parametrize("alpha", [1.0, -2.0])
def test_add(device: harness.Device, affine: Affine, alpha: float) -> None:
    a, b = codes((3, 7)), codes((3, 7), 1)
    other, out = Affine(0.1, 3), Affine(0.3, -2)
    total = dequantized(a, affine) + alpha * dequantized(b, other)
    exactly(
        device,
        lambda a, b: q8ta_add(a, b, affine, other, out, alpha=alpha),
        {"a": a, "b": b},
        quantized(total, out),
    )


def test_symbolic_rows(device: harness.Device) -> None:
    shapes = {"x": (tt.Sym("rows", 9), 3)}
    x = {"x": values((5, 3), AFFINES[0])}
    back = lambda x: dequantize(quantize(x, AFFINES[0]), AFFINES[0])  # noqa: E731
    assert_agrees(device, back, x, shapes=shapes, atol=0, rtol=0)


def test_operands_that_do_not_fit() -> None:
    x = {"x": np.zeros(4, np.float32)}
    with pytest.raises(ShapeError, match=r"quantize: Affine\(scale=0, .*expected a scale above 0"):
        graph_of(lambda x: quantize(x, Affine(0)), x)
    with pytest.raises(ShapeError, match=r"zero_point=300\), expected .* a code of 8 bits"):
        graph_of(lambda x: quantize(x, Affine(1, 300)), x)
    with pytest.raises(ShapeError, match=r"quantize: codes from -9 to 9, expected within 0 to 255"):
        graph_of(lambda x: quantize(x, Affine(1), dtype="uint8", ends=(-9, 9)), x)
    with pytest.raises(ShapeError, match=r"dtype is 'int16', expected int8 or uint8"):
        graph_of(lambda x: quantize(x, Affine(1), dtype="int16"), x)
    with pytest.raises(ShapeError, match=r"dequantize: x is float32\[4\], expected int8 or uint8"):
        graph_of(lambda x: dequantize(x, Affine(1)), x)
    pair = {"a": np.zeros(4, np.int8), "b": np.zeros(3, np.int8)}
    with pytest.raises(
        ShapeError, match=r"a is int8\[4\], b is int8\[3\], expected the same shape"
    ):
        graph_of(lambda a, b: q8ta_add(a, b, Affine(1), Affine(1), Affine(1)), pair)
