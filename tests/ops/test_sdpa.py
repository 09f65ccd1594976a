import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, reference


def operands(b: int, heads: int, s: int, keys: int, d: int) -> dict[str, np.ndarray]:
    r = np.random.default_rng([b, heads, s, keys, d])
    q, k, v = (r.standard_normal((b, heads, n, d), np.float32) for n in (s, keys, keys))
    mask = np.where(np.arange(keys) < r.integers(1, keys + 1, (b, 1, 1, 1)), 0, -np.inf)
    return {"q": q, "k": k, "v": v, "mask": mask.astype(np.float32)}


@pytest.mark.parametrize("scale", [None, 0.3])
def test_torch_is_reference(scale: float | None) -> None:
    a = operands(2, 3, 5, 7, 8)
    q, k, v, mask = map(torch.from_numpy, a.values())
    attend = torch.nn.functional.scaled_dot_product_attention
    want = attend(q, k, v, attn_mask=mask, scale=scale).numpy()
    got = reference(lambda **t: tt.ops.sdpa(**t, scale=scale), a)
    assert_close(got, want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (2, 3, 5, 7, 8), (1, 12, 33, 33, 32)])
@pytest.mark.parametrize("masked", [True, False])
def test_reference_is_device(
    device: harness.Device, shape: tuple[int, int, int, int, int], masked: bool
) -> None:
    a = operands(*shape)
    if not masked:
        del a["mask"]
    assert_agrees(device, tt.ops.sdpa, a, atol=1e-5)


def test_a_sentence_of_padding_gives_zeros(device: harness.Device) -> None:
    a = operands(2, 2, 3, 4, 8)
    a["mask"][1] = -np.inf
    assert_agrees(device, tt.ops.sdpa, a, atol=1e-5)
    assert not reference(tt.ops.sdpa, a)[1].any()


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 10), (2, 4)])
def test_symbolic_sizes(device: harness.Device, batch: int, length: int) -> None:
    b, s = tt.Sym("batch", 3, min=1), tt.Sym("length", 10, min=1)
    shapes = dict.fromkeys("qkv", (b, 2, s, 8)) | {"mask": (b, 1, 1, s)}
    assert_agrees(
        device, tt.ops.sdpa, operands(batch, 2, length, length, 8), shapes=shapes, atol=1e-5
    )
