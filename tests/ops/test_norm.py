from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError

D = 67
X = np.random.default_rng(0).standard_normal((5, D), np.float32) * 3 + 1
WEIGHT = np.random.default_rng(1).standard_normal(D, np.float32)
BIAS = np.random.default_rng(2).standard_normal(D, np.float32)

# op, its vectors, the same in torch
NORMS: list[tuple[tt.Op, dict[str, np.ndarray], Callable[..., torch.Tensor]]] = [
    (
        tt.ops.layer_norm,
        {"weight": WEIGHT, "bias": BIAS},
        lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b),
    ),
    (tt.ops.rms_norm, {"weight": WEIGHT}, lambda x, w: F.rms_norm(x, x.shape[-1:], w, eps=1e-6)),
    (tt.ops.l2_normalize, {}, lambda x: F.normalize(x, dim=-1)),
    (tt.ops.softmax, {}, lambda x: F.softmax(x, dim=-1)),
]
# The last two are shared by more lanes, the last one on a software adapter too.
LENGTHS = [(D,), (1, 1), (1, D), (17, D), (2, 3, 64), (3, 200), (2, 1100), (2, 20000)]
NAMES = [op.name for op, _, _ in NORMS]
norms = pytest.mark.parametrize(("op", "vectors", "in_torch"), NORMS, ids=NAMES)


def fitted(vectors: dict[str, np.ndarray], d: int) -> dict[str, np.ndarray]:
    return {n: np.resize(v, d) for n, v in vectors.items()}


@norms
def test_torch_is_reference(op: tt.Op, vectors: Any, in_torch: Any) -> None:
    for x in (X, X * 1e4, np.zeros((2, D), np.float32)):
        want = in_torch(torch.from_numpy(x), *map(torch.from_numpy, vectors.values())).numpy()
        assert_close(reference(op, {"x": x, **vectors}), want, atol=2e-5, rtol=1e-5)


@norms
@pytest.mark.parametrize("shape", LENGTHS)
def test_reference_is_device(
    device: harness.Device, op: tt.Op, vectors: Any, in_torch: Any, shape: tuple[int, ...]
) -> None:
    del in_torch
    x = np.random.default_rng(shape).standard_normal(shape, np.float32) * 3 + 1
    assert_agrees(device, op, {"x": x, **fitted(vectors, shape[-1])}, atol=1e-5)


@norms
@pytest.mark.parametrize("lanes", [1, 64])
def test_rows_shared_or_not(
    native: harness.Native,
    monkeypatch: pytest.MonkeyPatch,
    op: tt.Op,
    vectors: Any,
    in_torch: Any,
    lanes: int,
) -> None:
    """Both ways to share a row, whatever the device would choose."""
    del in_torch

    def forced(kernel: tt.kernel.Kernel, target: tt.target.Target, d: int, **knobs: int) -> Any:
        del target, d
        return kernel.specialise(LANES=lanes, ROWS=3, **knobs)

    monkeypatch.setattr("tensortab.ops.norm.share_rows", forced)
    assert_agrees(native, op, {"x": X, **vectors}, atol=1e-5)


@norms
@pytest.mark.parametrize("rows", [1, 16, 33])
def test_symbolic_rows(
    device: harness.Device, op: tt.Op, vectors: Any, in_torch: Any, rows: int
) -> None:
    del in_torch
    shapes = {"x": (tt.Sym("rows", 33, min=1), D)}
    arrays = {"x": np.resize(X, (rows, D)), **vectors}
    assert_agrees(device, op, arrays, shapes=shapes, atol=1e-5)


@pytest.mark.parametrize("d", [1, 5, 40])
def test_symbolic_width(device: harness.Device, d: int) -> None:
    shapes = {"x": (3, tt.Sym("d", 40, min=1))}
    assert_agrees(device, tt.ops.softmax, {"x": X[:3, :d]}, shapes=shapes)


def test_eps_is_used(device: harness.Device) -> None:
    x = X * 1e-3
    for op, vectors, _ in NORMS[:3]:
        wide = {"x": x, **vectors}
        assert_agrees(device, lambda x, op=op, **v: op(x, **v, eps=0.5), wide, atol=1e-5)


def test_a_row_of_zeros_has_no_direction(device: harness.Device) -> None:
    x = X.copy()
    x[1] = 0
    graph = graph_of(tt.ops.l2_normalize, {"x": x})
    y = device.run(graph, x=x)["y"]
    assert not y[1].any()
    np.testing.assert_allclose(np.linalg.norm(y[[0, 2, 3, 4]], axis=-1), 1, rtol=1e-5)


def test_a_constant_row_has_no_variance(device: harness.Device) -> None:
    arrays = {"x": np.full((2, D), 7, np.float32), "weight": WEIGHT, "bias": BIAS}
    assert_agrees(device, tt.ops.layer_norm, arrays, atol=1e-3)


def test_large_logits(device: harness.Device) -> None:
    x = np.array([[3e38, -3e38, 0], [1e4, 1e4, 1e4 - 1], [-1e9, -1e9, -1e9]], np.float32)
    assert_agrees(device, tt.ops.softmax, {"x": x})


def test_masked_keys_get_nothing(device: harness.Device) -> None:
    """−∞ beside numbers, and a row of nothing else, which gives zeros."""
    x = X.copy()
    x[:, 3:] = -np.inf
    x[2] = -np.inf
    x[3] = np.finfo(np.float32).min
    y = device.run(graph_of(tt.ops.softmax, {"x": x}), x=x)["y"]
    assert_close(y, reference(tt.ops.softmax, {"x": x}), atol=1e-6, rtol=1e-5)
    assert not y[2].any()
    assert not y[0, 3:].any()
    np.testing.assert_allclose(y[3], 1 / D, rtol=1e-5)


def test_more_workgroups_than_one_dimension_holds(native: harness.Native) -> None:
    x = np.random.default_rng(3).standard_normal((16 * 65535 + 20, 2), np.float32)
    assert_agrees(native, tt.ops.softmax, {"x": x})


def test_operands_that_do_not_fit() -> None:
    with pytest.raises(
        ShapeError, match=r"layer_norm: weight is float32\[66\], expected float32\[67\] \(the last"
    ):
        graph_of(tt.ops.layer_norm, {"x": X, "weight": WEIGHT[:66], "bias": BIAS})
    with pytest.raises(ShapeError, match=r"rms_norm: weight is float32\[1, 67\]"):
        graph_of(tt.ops.rms_norm, {"x": X, "weight": WEIGHT[None]})
    with pytest.raises(ShapeError, match=r"softmax: x is int32\[2\], expected float32"):
        graph_of(tt.ops.softmax, {"x": np.zeros(2, np.int32)})
    with pytest.raises(ShapeError, match=r"l2_normalize: x is float32\[\], expected at least one"):
        graph_of(tt.ops.l2_normalize, {"x": np.float32(1)[...]})
