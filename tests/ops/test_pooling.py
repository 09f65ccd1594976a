from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError
from tensortab.ops import avg_pool2d, max_pool2d, max_pool2d_indices

# x, size, settings that every pooling takes
CASES: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    ((1, 1, 1, 1), 1, {}),
    ((1, 8, 12, 12), 2, {}),
    ((2, 3, 7, 5), 3, {"stride": 2, "padding": 1}),
    ((3, 9, 7), (3, 2), {"stride": (2, 3), "padding": (1, 0)}),
    ((1, 2, 5, 5), 2, {"stride": 2, "ceil_mode": True}),
    ((1, 2, 6, 7), 3, {"stride": 3, "padding": 1, "ceil_mode": True}),
    ((1, 2, 8, 8), 7, {"stride": 1, "padding": 3}),  # mostly padding at the corners
    ((1, 2, 3, 4), (41, 300), {"stride": 3, "padding": (20, 150)}),  # all but padding
]
cases = pytest.mark.parametrize(("shape", "size", "settings"), CASES)


def normal(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


@cases
def test_torch_is_reference(shape: Any, size: Any, settings: Any) -> None:
    x = normal(shape)
    want = F.max_pool2d(torch.from_numpy(x), size, return_indices=True, **settings)
    for op, torch_has in zip((max_pool2d, max_pool2d_indices), want, strict=True):
        got = reference(lambda x, op=op: op(x, size, **settings), {"x": x})
        assert_close(got, torch_has.numpy(), atol=0, rtol=0)
    for mean in ({}, {"count_include_pad": False}, {"divisor": 5}):
        names = {"divisor_override" if n == "divisor" else n: v for n, v in mean.items()}
        averages = F.avg_pool2d(torch.from_numpy(x), size, **settings, **names).numpy()
        got = reference(lambda x, m=mean: avg_pool2d(x, size, **settings, **m), {"x": x})
        assert_close(got, averages, atol=1e-6, rtol=1e-5)


@cases
def test_reference_is_device(device: harness.Device, shape: Any, size: Any, settings: Any) -> None:
    x = {"x": normal(shape)}
    for op in (max_pool2d, max_pool2d_indices):
        assert_agrees(device, lambda x, op=op: op(x, size, **settings), x, atol=0, rtol=0)
    for mean in ({}, {"count_include_pad": False}, {"divisor": 5}):
        assert_agrees(device, lambda x, m=mean: avg_pool2d(x, size, **settings, **m), x)


def test_dilation(device: harness.Device) -> None:
    x = normal((2, 3, 9, 8))
    settings = {"stride": 2, "padding": 1, "dilation": (2, 3)}
    want = F.max_pool2d(torch.from_numpy(x), 3, return_indices=True, **settings)
    for op, torch_has in zip((max_pool2d, max_pool2d_indices), want, strict=True):
        graph = graph_of(lambda x, op=op: op(x, 3, **settings), {"x": x})
        assert_close(device.run(graph, x=x)["y"], torch_has.numpy(), atol=0, rtol=0)
        assert_close(tt.evaluate(graph, x=x)["y"], torch_has.numpy(), atol=0, rtol=0)


def test_the_first_of_equals_and_no_padding(device: harness.Device) -> None:
    x = np.full((1, 4, 4), -7, np.float32)
    x[0, 2, 2] = -np.inf
    for op, want in ((max_pool2d, -7), (max_pool2d_indices, [[0, 1, 3], [4, 5, 7], [12, 13, 15]])):
        graph = graph_of(lambda x, op=op: op(x, 2, stride=2, padding=1), {"x": x})
        for got in (device.run(graph, x=x)["y"], tt.evaluate(graph, x=x)["y"]):
            np.testing.assert_array_equal(got[0], np.broadcast_to(want, (3, 3)))


def test_symbolic_sizes(device: harness.Device) -> None:
    shapes = {"x": (tt.Sym("planes", 5), tt.Sym("h", 9, min=3), 8)}
    x = {"x": normal((2, 7, 8))}
    for op in (max_pool2d, avg_pool2d):
        for ceil in (False, True):
            assert_agrees(
                device,
                lambda x, op=op, ceil=ceil: op(x, 3, stride=2, padding=1, ceil_mode=ceil),
                x,
                shapes=shapes,
            )


def test_settings_that_do_not_fit() -> None:
    def build(op: tt.Op, size: Any, **settings: Any) -> None:
        graph_of(lambda x: op(x, size, **settings), {"x": normal((1, 5, 5))})

    with pytest.raises(ShapeError, match=r"padding \[2, 2\].*expected padding of at most half"):
        build(max_pool2d, 3, padding=2)
    with pytest.raises(ShapeError, match=r"avg_pool2d: a window \[6, 6\].*\['0', '0'\], expected"):
        build(avg_pool2d, 6)
    with pytest.raises(ShapeError, match=r"avg_pool2d: divisor is 0, expected at least 1"):
        build(avg_pool2d, 2, divisor=0)
    with pytest.raises(ShapeError, match=r"max_pool2d: x is float32\[5\], expected \[…, H, W\]"):
        graph_of(lambda x: max_pool2d(x, 2), {"x": normal((5,))})
    with pytest.raises(ShapeError, match=r"max_pool2d_indices: x is int32\[1, 5, 5\], expected"):
        graph_of(lambda x: max_pool2d_indices(x, 2), {"x": np.zeros((1, 5, 5), np.int32)})
