"""as_strided and what is made of it, gather and index_select, fill and pad."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def check(
    device: harness.Device, build: Callable[..., tt.Tensor], want: Any, **arrays: np.ndarray
) -> None:
    """torch = reference = device, to the last bit."""
    assert_close(reference(build, arrays), want, atol=0, rtol=0)
    assert_agrees(device, build, arrays, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("shape", "axes"), [((7,), (0,)), ((5, 65), (-1,)), ((3, 4, 5), (0, 2)), ((2, 3, 4, 5), (1, 3))]
)
def test_flip(device: harness.Device, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = numbers(*shape)
    check(device, lambda x: tt.ops.flip(x, axes), torch.from_numpy(x).flip(axes), x=x)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((4,), (3, 4)), ((2, 1, 5), (2, 4, 5)), ((1, 1), (3, 2)), ((), (2, 3)), ((3, 1), (2, 3, 4))],
)
def test_expand(device: harness.Device, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    x = numbers(*shape)
    check(device, lambda x: tt.ops.expand(x, wanted), torch.from_numpy(x).expand(wanted), x=x)


@pytest.mark.parametrize(
    ("shape", "times"),
    [((3, 5), (2, 2)), ((3,), (1, 1)), ((3, 5), (2, 3, 1)), ((2, 3, 2, 3), (2, 3, 2, 2))],
)
def test_repeat(device: harness.Device, shape: tuple[int, ...], times: tuple[int, ...]) -> None:
    x = numbers(*shape)
    check(device, lambda x: tt.ops.repeat(x, times), torch.from_numpy(x).repeat(times), x=x)


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [(0, None, 1), (1, 5, 1), (0, 8, 3), (-3, None, 1), (1, -1, 2), (2, 99, 1), (-99, 4, 1)],
)
def test_slice(device: harness.Device, start: int, end: int | None, step: int) -> None:
    x = numbers(3, 8, 4, dtype="int32")
    want = x[:, start:end:step]
    check(device, lambda x: tt.ops.slice(x, 1, start, end, step), want, x=x)


@pytest.mark.parametrize("pos", [0, 3, 5])
def test_slice_at_a_live_place(device: harness.Device, pos: int) -> None:
    graph = tt.Graph()
    x, at = graph.input("x", (8, 4)), graph.input("at", (1,), "int32")
    place = graph.select_as_symint(at, (0,), "pos", 5).dim
    graph.output("y", tt.ops.slice(x, 0, place, place + 3))
    arrays = {"x": numbers(8, 4), "at": np.array([pos], np.int32)}
    assert_close(tt.evaluate(graph, **arrays)["y"], numbers(8, 4)[pos : pos + 3], atol=0, rtol=0)
    assert_close(device.run(graph, **arrays)["y"], numbers(8, 4)[pos : pos + 3], atol=0, rtol=0)


INDEX = np.array([[2, 0], [-1, 1]], np.int32)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("index", [INDEX, INDEX[0], np.array(-2, np.int32)])
def test_index_select(device: harness.Device, axis: int, index: np.ndarray) -> None:
    x = numbers(3, 5, 7)
    want = x.take(index, axis, mode="wrap")
    check(device, lambda x, index: tt.ops.index_select(x, index, axis), want, x=x, index=index)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather(device: harness.Device, axis: int) -> None:
    x, index = numbers(3, 5, 7), np.random.default_rng(axis).integers(0, 3, (2, 4, 6), np.int32)
    want = torch.gather(torch.from_numpy(x), axis, torch.from_numpy(index).long())
    check(device, lambda x, index: tt.ops.gather(x, index, axis), want, x=x, index=index)


def test_indices_out_of_range_are_clamped(device: harness.Device) -> None:
    index = np.array([99, -99, 4, -5], np.int32)
    want = numbers(5)[[4, 0, 4, 0]]
    check(device, lambda x, i: tt.ops.index_select(x, i, 0), want, x=numbers(5), i=index)
    check(device, lambda x, i: tt.ops.gather(x, i, 0), want, x=numbers(5), i=index)


@pytest.mark.parametrize(
    ("shape", "widths"), [((3, 8), ((0, 0), (1, 2))), ((2, 4), ((2, 0), (1, 1))), ((4,), ((0, 0),))]
)
@pytest.mark.parametrize("value", [0.0, -2.0])
def test_pad(device: harness.Device, shape: Any, widths: Any, value: float) -> None:
    x = numbers(*shape)
    flat = [n for pair in reversed(widths) for n in pair]
    want = torch.nn.functional.pad(torch.from_numpy(x), flat, value=value)
    check(device, lambda x: tt.ops.pad(x, widths, value), want, x=x)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("float32", 2.5), ("float32", 1e39), ("int32", -7), ("uint8", 200), ("int8", -3), ("bool", 1)],
)
@pytest.mark.parametrize("shape", [(), (5,), (3, 67)])
def test_full(device: harness.Device, shape: Any, dtype: str, value: float) -> None:
    graph = tt.Graph()
    graph.output("y", tt.ops.full(shape, value, dtype))
    number = value if value < 1e38 else np.inf
    want = torch.full(shape, number, dtype=getattr(torch, dtype)).numpy()
    assert_close(tt.evaluate(graph)["y"], want, atol=0, rtol=0)
    assert_close(device.run(graph)["y"], want, atol=0, rtol=0)


@pytest.mark.parametrize(("dtype", "start", "step"), [("float32", 0.5, 0.25), ("int32", -3, 7)])
def test_arange(device: harness.Device, dtype: str, start: float, step: float) -> None:
    graph = tt.Graph()
    graph.output("y", tt.ops.arange(70, start, step, dtype))
    want = torch.arange(start, start + 70 * step, step, dtype=getattr(torch, dtype)).numpy()
    assert_close(tt.evaluate(graph)["y"], want, atol=0, rtol=0)
    assert_close(device.run(graph)["y"], want, atol=0, rtol=0)


def test_operands_that_do_not_fit() -> None:
    x, index, small = numbers(3, 5), INDEX, numbers(3, 5, dtype="int8")
    for build, arrays, match in (
        (lambda x: tt.ops.flip(x, (2,)), {"x": x}, r"flip: axis is 2, expected -2 to 1"),
        (lambda x: tt.ops.expand(x, (4, 5)), {"x": x}, r"expand: x is float32\[3, 5\], which does"),
        (lambda x: tt.ops.repeat(x, (2,)), {"x": x}, r"repeat: times are \(2,\), expected"),
        (lambda x: tt.ops.slice(x, 0, 0, 2, 0), {"x": x}, r"slice: step is 0, expected at least 1"),
        (
            lambda x: tt.ops.flip(x, (0,)),
            {"x": small},
            r"as_strided: x is int8\[3, 5\], expected a",
        ),
        (lambda x: tt.ops.pad(x, ((0, 1),)), {"x": x}, r"pad: widths are .*of float32\[3, 5\]"),
        (lambda x: tt.ops.pad(x, ((0, 0),) * 2), {"x": small}, r"pad: x is int8"),
        (
            lambda x, i: tt.ops.gather(x, i, 0),
            {"x": x, "i": x},
            r"gather: index is float32\[3, 5\]",
        ),
        (
            lambda x, i: tt.ops.gather(x, i, 1),
            {"x": x[:1], "i": index},
            r"gather: index is int32\[",
        ),
        (
            lambda x, i: tt.ops.index_select(x, i, 0),
            {"x": x[:0], "i": index},
            r"index_select: x is",
        ),
    ):
        with pytest.raises(ShapeError, match=match):
            graph_of(build, arrays)
    with pytest.raises(ShapeError, match=r"full: dtype is 'int64', expected float32 or int32"):
        tt.ops.full((1,), 0, "int64")
    with pytest.raises(ShapeError, match=r"arange: dtype is 'int8', expected float32 or int32"):
        tt.ops.arange(1, 0, 1, "int8")
