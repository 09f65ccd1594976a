import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError, UnsupportedError


def made(act: str):
    return lambda x: tt.ops.glu(x, act=act)


def operand(*shape: int) -> dict[str, np.ndarray]:
    x = 4 * np.random.default_rng(0).standard_normal(shape, np.float32)
    x.flat[0] = -200.0  # its exponential overflows
    return {"x": x}


@pytest.mark.parametrize("act", ["silu", "gelu_tanh"])
def test_torch_is_reference(act: str) -> None:
    a = operand(3, 14)
    gate, up = torch.from_numpy(a["x"]).chunk(2, -1)
    acted = torch.nn.functional.silu(gate)
    if act == "gelu_tanh":
        acted = torch.nn.functional.gelu(gate, approximate="tanh")
    assert_close(reference(made(act), a), (acted * up).numpy(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("act", ["silu", "gelu_tanh"])
@pytest.mark.parametrize("shape", [(2,), (1, 130), (3, 2, 66)])
def test_reference_is_device(device: harness.Device, act: str, shape: tuple[int, ...]) -> None:
    assert_agrees(device, made(act), operand(*shape), atol=1e-5, rtol=1e-5)


def test_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"glu: x is float32\[3, 7\], expected \[…, 2I\]"):
        graph_of(made("silu"), operand(3, 7))
    with pytest.raises(UnsupportedError, match="glu: act is 'relu', expected one of silu, gelu"):
        graph_of(made("relu"), operand(3, 8))
