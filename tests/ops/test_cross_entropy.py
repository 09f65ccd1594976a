import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError


def operands(*shape: int, scale: float = 5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(shape)
    targets = random.integers(0, shape[-1], shape[:-1], dtype=np.int32)
    return {
        "logits": random.standard_normal(shape, np.float32) * np.float32(scale),
        "targets": targets,
    }


@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 100), (1, 5000)])
def test_torch_is_reference(shape: tuple[int, ...]) -> None:
    arrays = operands(*shape)
    x = torch.from_numpy(arrays["logits"]).flatten(0, -2)
    targets = torch.from_numpy(arrays["targets"]).flatten().long()
    want = torch.nn.functional.cross_entropy(x, targets, reduction="none").numpy()
    got = reference(tt.ops.cross_entropy, arrays).reshape(-1)
    assert_close(got, want, atol=1e-6, rtol=1e-5)


# A row of a lone lane, of one lane's several rows, of 64 lanes, of 256, and a model's vocabulary.
@pytest.mark.parametrize("shape", [(1, 1), (9, 63), (2, 3, 100), (5, 1025), (17, 2000)])
def test_reference_is_device(device: harness.Device, shape: tuple[int, ...]) -> None:
    assert_agrees(device, tt.ops.cross_entropy, operands(*shape), atol=1e-5)


def test_a_vocabulary(native: harness.Native) -> None:
    assert_agrees(native, tt.ops.cross_entropy, operands(3, 128_256), atol=1e-5)


def test_large_logits_and_impossible_tokens(device: harness.Device) -> None:
    arrays = operands(4, 70, scale=1000)
    arrays["logits"][1, ::2] = -np.inf
    arrays["targets"][:] = [3, 5, 69, 0]
    assert_agrees(device, tt.ops.cross_entropy, arrays, atol=1e-4)


def test_a_target_outside_adds_nothing(device: harness.Device) -> None:
    arrays = operands(4, 70)
    arrays["targets"][:] = [-1, 70, 2**31 - 1, 69]
    assert not reference(tt.ops.cross_entropy, arrays)[:3].any()
    assert_agrees(device, tt.ops.cross_entropy, arrays, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_symbolic_rows(device: harness.Device, rows: int) -> None:
    most = tt.Sym("rows", 5, min=1)
    shapes = {"logits": (most, 90), "targets": (most,)}
    assert_agrees(device, tt.ops.cross_entropy, operands(rows, 90), shapes=shapes, atol=1e-5)


def test_operands_that_do_not_fit() -> None:
    arrays = operands(3, 7)
    with pytest.raises(ShapeError, match=r"targets is int32\[2\], expected int32\[3\], one for"):
        graph_of(tt.ops.cross_entropy, arrays | {"targets": arrays["targets"][:2]})
    with pytest.raises(ShapeError, match=r"targets is float32\[3\], expected int32\[3\]"):
        graph_of(tt.ops.cross_entropy, arrays | {"targets": np.zeros(3, np.float32)})
    with pytest.raises(ShapeError, match=r"logits is float32\[\], expected \[…, V\]"):
        graph_of(tt.ops.cross_entropy, {"logits": np.float32(1), "targets": np.int32(1)})
    with pytest.raises(ShapeError, match=r"logits is int32\[3\], expected float32"):
        graph_of(tt.ops.cross_entropy, {"logits": arrays["targets"], "targets": np.int32(1)})
