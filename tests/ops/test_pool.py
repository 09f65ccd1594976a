import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError


def operands(b: int, s: int, d: int) -> dict[str, np.ndarray]:
    r = np.random.default_rng([b, s, d])
    mask = (np.arange(s) < r.integers(1, s + 1, (b, 1))).astype(np.float32)
    return {"x": r.standard_normal((b, s, d), np.float32), "mask": mask}


def test_torch_is_reference() -> None:
    """As sentence-transformers pools, in torch."""
    a = operands(3, 7, 5)
    x, mask = torch.from_numpy(a["x"]), torch.from_numpy(a["mask"])[..., None]
    want = ((x * mask).sum(1) / mask.sum(1).clamp(min=1e-9)).numpy()
    assert_close(reference(tt.ops.mean_pool, a), want, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 67), (5, 33, 64)])
def test_reference_is_device(device: harness.Device, shape: tuple[int, int, int]) -> None:
    assert_agrees(device, tt.ops.mean_pool, operands(*shape))


def test_weights_and_rows_without_a_token(device: harness.Device) -> None:
    a = operands(3, 4, 5)
    a["mask"][1] = 0
    a["mask"][2] = [0.5, 2, 0, 1]
    assert_agrees(device, tt.ops.mean_pool, a)
    assert not reference(tt.ops.mean_pool, a)[1].any()


@pytest.mark.parametrize(("b", "s"), [(1, 1), (2, 9), (4, 3)])
def test_symbolic_sizes(device: harness.Device, b: int, s: int) -> None:
    batch, length = tt.Sym("batch", 4, min=1), tt.Sym("length", 9, min=1)
    shapes = {"x": (batch, length, 6), "mask": (batch, length)}
    assert_agrees(device, tt.ops.mean_pool, operands(b, s, 6), shapes=shapes)


def test_operands_that_do_not_fit() -> None:
    a = operands(3, 4, 5)
    with pytest.raises(
        ShapeError, match=r"mask is float32\[2, 4\], expected \[B, S, D\], \[B, S\]"
    ):
        graph_of(tt.ops.mean_pool, a | {"mask": a["mask"][:2]})
    with pytest.raises(ShapeError, match=r"x is float32\[4, 5\]"):
        graph_of(tt.ops.mean_pool, a | {"x": a["x"][0]})
    with pytest.raises(ShapeError, match=r"mask is int32\[3, 4\], expected float32"):
        graph_of(tt.ops.mean_pool, a | {"mask": a["mask"].astype(np.int32)})
