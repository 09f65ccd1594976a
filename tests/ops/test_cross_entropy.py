import sys
from typing import Any

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError
from tensortab.ops import cross_entropy, cross_entropy_gradient


def operands(*shape: int, scale: float = 5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(shape)
    targets = random.integers(0, shape[-1], shape[:-1], dtype=np.int32)
    return {
        "logits": random.standard_normal(shape, np.float32) * np.float32(scale),
        "labels": targets,
    }


@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 100), (1, 5000)])
def test_torch_is_reference(shape: tuple[int, ...]) -> None:
    arrays = operands(*shape)
    x = torch.from_numpy(arrays["logits"]).flatten(0, -2)
    targets = torch.from_numpy(arrays["labels"]).flatten().long()
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
    arrays["labels"][:] = [3, 5, 69, 0]
    assert_agrees(device, tt.ops.cross_entropy, arrays, atol=1e-4)


def test_a_target_outside_adds_nothing(device: harness.Device) -> None:
    arrays = operands(4, 70)
    arrays["labels"][:] = [-1, 70, 2**31 - 1, 69]
    assert not reference(tt.ops.cross_entropy, arrays)[:3].any()
    assert_agrees(device, tt.ops.cross_entropy, arrays, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_symbolic_rows(device: harness.Device, rows: int) -> None:
    most = tt.Sym("rows", 5, min=1)
    shapes = {"logits": (most, 90), "labels": (most,)}
    assert_agrees(device, tt.ops.cross_entropy, operands(rows, 90), shapes=shapes, atol=1e-5)


def test_operands_that_do_not_fit() -> None:
    arrays = operands(3, 7)
    with pytest.raises(ShapeError, match=r"labels is int32\[2\], expected int32\[3\], one for"):
        graph_of(tt.ops.cross_entropy, arrays | {"labels": arrays["labels"][:2]})
    with pytest.raises(ShapeError, match=r"labels is float32\[3\], expected int32\[3\]"):
        graph_of(tt.ops.cross_entropy, arrays | {"labels": np.zeros(3, np.float32)})
    with pytest.raises(ShapeError, match=r"logits is float32\[\], expected \[…, V\]"):
        graph_of(tt.ops.cross_entropy, {"logits": np.float32(1), "labels": np.int32(1)})
    with pytest.raises(ShapeError, match=r"logits is int32\[3\], expected float32"):
        graph_of(tt.ops.cross_entropy, {"logits": arrays["labels"], "labels": np.int32(1)})


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 33), (3, 500)])
def test_a_mean_and_its_gradient(device: harness.Device, shape: Any) -> None:
    logits = normal(*shape) * 20
    labels = np.random.default_rng(0).integers(-1, shape[1], shape[0]).astype(np.int32)
    given = torch.from_numpy(logits).requires_grad_()
    losses = torch.nn.functional.cross_entropy(
        given, torch.from_numpy(labels).long(), ignore_index=-1, reduction="none"
    )
    (losses.sum() / 3).backward()
    arrays = {"logits": logits, "labels": labels}
    pairs = ((cross_entropy, losses.detach() / 3), (cross_entropy_gradient, given.grad))
    for op, want in pairs:
        build = lambda op=op, **t: op(**t, count=3.0)  # noqa: E731
        assert_close(reference(build, arrays), want.numpy(), atol=2e-5, rtol=1e-5)
        assert_agrees(device, build, arrays, atol=2e-5)


def test_logits_near_the_end_of_float32(device: harness.Device) -> None:
    arrays = {
        "logits": np.array([[1e4, -1e4, 0], [-3e38, 3e38, 0]], np.float32),
        "labels": np.array([1, 1], np.int32),
    }
    graph = graph_of(lambda **t: cross_entropy(**t, count=1.0), arrays)
    for got in (tt.evaluate(graph, **arrays)["y"], device.run(graph, **arrays)["y"]):
        assert_close(got, np.array([2e4, 0]), atol=1e-3, rtol=1e-6)


@pytest.mark.parametrize("lanes", [1, 64])
def test_rows_shared_or_not(
    native: harness.Native, monkeypatch: pytest.MonkeyPatch, lanes: int
) -> None:
    """Both ways to share a row, whatever the device would choose."""

    def forced(kernel: tt.kernel.Kernel, target: Any, d: int, **knobs: int) -> tt.kernel.Kernel:
        del target, d
        return kernel.specialise(LANES=lanes, ROWS=2, **knobs)

    monkeypatch.setattr(sys.modules["tensortab.ops.cross_entropy"], "shared_rows", forced)
    arrays = {"logits": normal(5, 100) * 9, "labels": np.array([0, 99, -1, 4, 7], np.int32)}
    for op in (cross_entropy, cross_entropy_gradient):
        assert_agrees(native, lambda op=op, **t: op(**t, count=2.0), arrays, atol=1e-5)


def test_a_count_of_nothing() -> None:
    arrays = {"logits": normal(3, 5), "labels": np.zeros(3, np.int32)}
    with pytest.raises(ShapeError, match=r"cross_entropy_gradient: count is 0, expected above 0"):
        graph_of(lambda **t: cross_entropy_gradient(**t, count=0), arrays)
