import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, graph_of, reference
from tensortab.errors import ShapeError, UnsupportedError

STRATEGIES = ["narrow", "wide"]


def normal(*shape: int) -> np.ndarray:
    return np.array(np.random.default_rng(shape).standard_normal(shape, np.float32))


def equal(device: harness.Device, x: np.ndarray, strategy: str | None = None) -> None:
    assert_agrees(device, lambda x: tt.ops.argmax(x, strategy=strategy), {"x": x}, atol=0, rtol=0)


def with_ties() -> np.ndarray:
    """Rows of ties near and far, of one value, of infinities, of zeros of both signs."""
    x = normal(9, 2500)
    x[0, [3, 4, 2000]] = 9
    x[1, [1023, 1024]] = x[2, [2499, 255, 256]] = 9
    x[3] = -3
    x[4] = -np.inf
    x[5] = -np.inf
    x[5, 1999] = -3e38
    x[6] = np.where(np.arange(2500) % 2, 0.0, -0.0)
    x[7] = -np.abs(x[7])
    x[7, 800:] = -np.inf
    x[8, [1200, 1300]] = np.inf
    return x


def test_torch_is_reference() -> None:
    for x in (with_ties(), normal(3, 4, 5), normal(7)):
        want = torch.from_numpy(x).max(-1).indices  # the lowest index, on a CPU
        np.testing.assert_array_equal(reference(tt.ops.argmax, {"x": x}), want)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ties_take_the_lowest_index(device: harness.Device, strategy: str) -> None:
    equal(device, with_ties(), strategy)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("shape", [(1,), (3, 1), (2, 3, 17), (40, 255), (257,), (5, 1025)])
def test_reference_is_device(device: harness.Device, shape: tuple[int, ...], strategy: str) -> None:
    equal(device, normal(*shape), strategy)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_vocabulary(native: harness.Native, strategy: str) -> None:
    equal(native, normal(2, 128_256), strategy)


def test_denormals_tie_with_zero(device: harness.Device) -> None:
    """GPUs may flush them, so every device counts them as the 0 that they would be."""
    equal(device, np.array([[-1, 0, 1e-40, 2e-38], [-1e-40, 0, 1e-40, -1]], np.float32))


@pytest.mark.parametrize(("rows", "d"), [(1, 1), (2, 300), (3, 700)])
def test_symbolic_sizes(device: harness.Device, rows: int, d: int) -> None:
    shapes = {"x": (tt.Sym("rows", 3), tt.Sym("d", 700, min=1))}
    assert_agrees(device, tt.ops.argmax, {"x": normal(rows, d)}, shapes=shapes, atol=0, rtol=0)


@pytest.mark.parametrize(("software", "lanes"), [(True, 1), (False, 64)])
def test_choice_follows_the_device(software: bool, lanes: int) -> None:
    graph = graph_of(tt.ops.argmax, {"x": normal(3)})
    steps = tt.plan.plan(graph, tt.target.Target("native", software=software)).steps
    assert [s.kernel["LANES"] for s in steps] == [lanes, lanes]


def test_operands_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"argmax: x is float32\[\], expected \[…, D\] with D at"):
        graph_of(tt.ops.argmax, {"x": np.float32(1)})
    with pytest.raises(
        ShapeError, match=r"x is float32\[2, 0\], expected \[…, D\] with D at least"
    ):
        graph_of(tt.ops.argmax, {"x": np.zeros((2, 0), np.float32)})
    with pytest.raises(ShapeError, match=r"argmax: x is int8\[3\], expected float32 or int32"):
        graph_of(tt.ops.argmax, {"x": np.zeros(3, np.int8)})
    with pytest.raises(UnsupportedError, match="strategy is 'tall', expected one of narrow, wide"):
        graph_of(lambda x: tt.ops.argmax(x, strategy="tall"), {"x": normal(3)})
