from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError, UnsupportedError

OPS: dict[str, Callable[..., Any]] = {
    "sum": torch.sum,
    "mean": torch.mean,
    "amax": torch.amax,
    "amin": torch.amin,
}


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def reduction(name: str, axes: tuple[int, ...], keep: bool) -> Callable[..., tt.Tensor]:
    return lambda x: getattr(tt.ops, name)(x, axes, keep=keep)


CASES = [
    ((7,), (0,)),
    ((1, 1), (1,)),
    ((5, 67), (-1,)),
    ((5, 67), (0,)),
    ((2, 3, 4, 5), (2, 3)),
    ((2, 3, 4, 5), (0, 2)),
    ((2, 3, 4, 5), (1, 3)),
    ((2, 3, 4, 5), (0, 1, 2, 3)),
    ((2, 600), (1,)),
]


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(("shape", "axes"), CASES)
@pytest.mark.parametrize("name", OPS)
def test_over_dimensions(
    device: harness.Device, name: str, shape: Any, axes: tuple[int, ...], keep: bool
) -> None:
    x, build = normal(*shape), reduction(name, axes, keep)
    want = OPS[name](torch.from_numpy(x), axes, keepdim=keep).numpy()
    assert_close(reference(build, {"x": x}), want, atol=1e-5, rtol=1e-5)
    assert_agrees(device, build, {"x": x}, atol=2e-5)


@pytest.mark.parametrize("name", OPS)
def test_a_long_row(device: harness.Device, name: str) -> None:
    """More than one invocation's turns on a software adapter: a workgroup shares it."""
    x = normal(2, 17000)
    assert_agrees(device, reduction(name, (1,), False), {"x": x}, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", ["sum", "amax", "amin", "prod"])
def test_whole_numbers(device: harness.Device, name: str) -> None:
    x = np.random.default_rng(1).integers(-4, 5, (3, 5), np.int32)
    assert_agrees(device, reduction(name, (1,), False), {"x": x}, atol=0, rtol=0)


def test_prod(device: harness.Device) -> None:
    x = normal(4, 6)
    want = torch.prod(torch.from_numpy(x), 1).numpy()
    assert_close(reference(reduction("prod", (1,), False), {"x": x}), want, atol=1e-6, rtol=1e-5)
    assert_agrees(device, reduction("prod", (1,), False), {"x": x}, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 5])
def test_symbolic_size(device: harness.Device, rows: int) -> None:
    shapes = {"x": (3, tt.Sym("rows", 8, min=1), 4)}
    for axes in ((1,), (2,), (0, 2)):
        build = reduction("mean", axes, False)
        assert_agrees(device, build, {"x": normal(3, rows, 4)}, shapes=shapes)


def test_operands_that_do_not_fit() -> None:
    x = normal(3, 5)
    for name, axes, array, match in (
        ("mean", (0,), x.astype(np.int32), r"mean: x is int32\[3, 5\], expected float32"),
        ("sum", (0,), x.astype(bool), r"sum: x is bool\[3, 5\], expected float32 or but for mean"),
        ("amax", (1,), x[:, :0], r"amax: x is float32\[3, 0\], expected elements along \[1\]"),
        ("sum", (2,), x, r"sum: axis is 2, expected -2 to 1"),
    ):
        with pytest.raises(ShapeError, match=match):
            graph_of(reduction(name, axes, False), {"x": array})


def test_three_places(native: harness.Native) -> None:
    graph = graph_of(reduction("sum", (0, 2, 4), False), {"x": normal(2, 2, 2, 2, 2)})
    with pytest.raises(UnsupportedError, match=r"sum: axes \(0, 2, 4\) of .* more than two places"):
        native.run(graph, x=normal(2, 2, 2, 2, 2))
