from collections.abc import Callable

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError

EDGES = np.array([0, -0.0, 1e-30, -1e-30, 0.5, 1.5, 2.5, -0.5, -1.5, 3, -3, 100, -100], np.float32)
WIDE = np.concatenate([np.linspace(-6, 6, 499, dtype=np.float32), EDGES])
POSITIVE = np.concatenate([np.geomspace(1e-6, 1e6, 300), [1.0]]).astype(np.float32)
ANGLES = np.linspace(-3, 3, 301, dtype=np.float32)  # beyond ±π WGSL promises nothing
ABOVE = np.array([0.0, 1e5, 3e38], np.float32)
OPS: dict[str, tuple[tt.Op, Callable[..., torch.Tensor], np.ndarray]] = {
    "abs": (tt.ops.abs, torch.abs, WIDE),
    "neg": (tt.ops.neg, torch.neg, WIDE),
    "exp": (tt.ops.exp, torch.exp, WIDE[:499]),
    "log": (tt.ops.log, torch.log, POSITIVE),
    "sqrt": (tt.ops.sqrt, torch.sqrt, np.concatenate([POSITIVE, ABOVE])),
    "rsqrt": (tt.ops.rsqrt, torch.rsqrt, POSITIVE),
    "sin": (tt.ops.sin, torch.sin, ANGLES),
    "cos": (tt.ops.cos, torch.cos, ANGLES),
    "tanh": (tt.ops.tanh, torch.tanh, np.concatenate([WIDE, -ABOVE])),
    "round": (tt.ops.round, torch.round, WIDE),
    "floor": (tt.ops.floor, torch.floor, WIDE),
    "sigmoid": (tt.ops.sigmoid, torch.sigmoid, np.concatenate([WIDE, -ABOVE, ABOVE])),
    "hardswish": (tt.ops.hardswish, torch.nn.functional.hardswish, WIDE),
}


@pytest.mark.parametrize("name", OPS)
def test_torch_is_reference(name: str) -> None:
    op, function, x = OPS[name]
    want = function(torch.from_numpy(x)).numpy()
    assert_close(reference(op, {"x": x}), want, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", OPS)
def test_reference_is_device(device: harness.Device, name: str) -> None:
    op, _, x = OPS[name]
    atol = 2**-11 if name in ("sin", "cos") else 2e-6  # all that WGSL promises of those
    assert_agrees(device, op, {"x": x}, atol=atol, rtol=2e-6)


def clamp(low: float, high: float) -> Callable[..., tt.Tensor]:
    return lambda x: tt.ops.clamp(x, low, high)


@pytest.mark.parametrize(
    ("low", "high"), [(-2.0, 3.0), (-np.inf, 3), (0.5, np.inf), (0, 1.797e308)]
)
def test_clamp(device: harness.Device, low: float, high: float) -> None:
    want = torch.clamp(torch.from_numpy(WIDE), low, high if high < 1e300 else None).numpy()
    assert_close(reference(clamp(low, high), {"x": WIDE}), want, atol=0, rtol=0)
    assert_agrees(device, clamp(low, high), {"x": WIDE}, atol=0, rtol=0)


def test_relu_and_leaky_relu(device: harness.Device) -> None:
    def both(x: tt.Tensor) -> tt.Tensor:
        return tt.ops.sub(tt.ops.relu(x), tt.ops.leaky_relu(x, 0.2))

    x = torch.from_numpy(WIDE)
    want = (torch.relu(x) - torch.nn.functional.leaky_relu(x, 0.2)).numpy()
    assert_close(reference(both, {"x": WIDE}), want, atol=1e-6, rtol=1e-6)
    assert_agrees(device, both, {"x": WIDE})


WHOLE = np.array([0, 1, -1, 7, -8, 2**31 - 1, -(2**31)], np.int32)


@pytest.mark.parametrize("op", [tt.ops.neg, tt.ops.bitwise_not, clamp(-5, 2**31 - 1), clamp(0, 6)])
def test_whole_numbers(device: harness.Device, op: Callable[..., tt.Tensor]) -> None:
    assert_agrees(device, op, {"x": WHOLE}, atol=0, rtol=0)


@pytest.mark.parametrize("op", [tt.ops.bitwise_not, tt.ops.logical_not])
@pytest.mark.parametrize("n", [1, 4, 67])
def test_bools(device: harness.Device, op: Callable[..., tt.Tensor], n: int) -> None:
    x = np.random.default_rng(n).integers(0, 2, n).astype(bool)
    assert_close(reference(op, {"x": x}), ~x, atol=0, rtol=0)
    assert_agrees(device, op, {"x": x}, atol=0, rtol=0)


SAMPLES = {
    "float32": np.array([0, 0.9, -0.9, 1.5, -127.5, 100, -0.0], np.float32),
    "int32": np.array([0, 1, -1, 127, -128, 255, 300, -300], np.int32),
    "uint8": np.array([0, 1, 127, 128, 255], np.uint8),
    "int8": np.array([0, 1, -1, 127, -128], np.int8),
    "bool": np.array([True, False, True, True, False]),
}


@pytest.mark.parametrize("source", SAMPLES)
@pytest.mark.parametrize("target", SAMPLES)
def test_convert(device: harness.Device, source: str, target: str) -> None:
    """Every dtype to every dtype, and from and to tensors that end within a word."""

    def build(x: tt.Tensor) -> tt.Tensor:
        return tt.ops.convert(x, target)

    x = SAMPLES[source]
    if (source, target) == ("float32", "uint8"):
        x = np.abs(x)  # what a negative fraction is as uint8, C leaves open
    want = torch.from_numpy(x).to(getattr(torch, target)).numpy()
    assert_close(reference(build, {"x": x}), want, atol=0, rtol=0)
    assert_agrees(device, build, {"x": x}, atol=0, rtol=0)


@pytest.mark.parametrize("rows", [1, 5, 8])
def test_symbolic_size(device: harness.Device, rows: int) -> None:
    x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3) - 4
    shapes = {"x": (tt.Sym("rows", 8, min=1), 3)}
    assert_agrees(
        device, lambda x: tt.ops.convert(x, "int8"), {"x": x}, shapes=shapes, atol=0, rtol=0
    )


def test_dtypes_that_do_not_fit() -> None:
    for op, x, match in (
        (tt.ops.exp, WHOLE, r"exp: x is int32\[7\], expected float32"),
        (tt.ops.bitwise_not, WIDE, r"bitwise_not: x is float32\[512\], expected int32 or bool"),
        (lambda x: tt.ops.convert(x, "int16"), WIDE, r"convert: dtype is 'int16', expected float"),
        (clamp(0, 1), WHOLE.astype(np.int8), r"clamp: x is int8\[7\], expected float32 or int32"),
    ):
        with pytest.raises(ShapeError, match=match):
            graph_of(op, {"x": x})
