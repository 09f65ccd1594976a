from typing import Any

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError, UnsupportedError


def permute(*axes: int) -> Any:
    return lambda x: tt.ops.permute(x, axes)


def numbers(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


AXES = [
    ((7,), (0,)),
    ((1, 5), (1, 0)),
    ((33, 65), (1, 0)),
    ((3, 4, 5), (0, 1, 2)),
    ((3, 4, 5), (2, 0, 1)),
    ((2, 3, 4, 5), (0, 2, 1, 3)),  # heads
    ((2, 3, 4, 5), (3, 2, 1, 0)),
    ((2, 3, 2, 3, 2), (2, 3, 4, 0, 1)),  # rank 5 that folds to two dimensions
    ((2, 1, 3, 1, 2, 1, 3), (6, 1, 4, 3, 2, 5, 0)),  # dimensions of 1 go
]


@pytest.mark.parametrize(("shape", "axes"), AXES)
def test_torch_is_reference(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = numbers(*shape)
    want = torch.from_numpy(x).permute(axes).numpy()
    assert_close(reference(permute(*axes), {"x": x}), want, atol=0, rtol=0)


@pytest.mark.parametrize(("shape", "axes"), AXES)
def test_reference_is_device(
    device: harness.Device, shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    assert_agrees(device, permute(*axes), {"x": numbers(*shape)}, atol=0, rtol=0)


def test_whole_numbers(device: harness.Device) -> None:
    x = np.arange(-3, 3, dtype=np.int32).reshape(2, 3)
    assert_agrees(device, permute(1, 0), {"x": x}, atol=0, rtol=0)


@pytest.mark.parametrize("rows", [1, 5, 8])
def test_symbolic_size(device: harness.Device, rows: int) -> None:
    shapes = {"x": (2, tt.Sym("rows", 8, min=1), 3, 4)}
    x = numbers(2, rows, 3, 4)
    assert_agrees(device, permute(0, 2, 1, 3), {"x": x}, shapes=shapes, atol=0, rtol=0)


@pytest.mark.parametrize("rows", [1, 8])
def test_reshape_is_a_view(device: harness.Device, rows: int) -> None:
    """Split into heads and back, around an op that has a kernel."""
    n = tt.Sym("rows", 8, min=1)

    def build(x: tt.Tensor) -> tt.Tensor:
        return tt.ops.reshape(tt.ops.gelu(tt.ops.reshape(x, (n, 3, 4))), (n * 12,))

    graph = graph_of(build, {"x": numbers(rows, 12)}, {"x": (n, 12)})
    assert [s.op for s in tt.plan.plan(graph, device.info).steps] == ["gelu"]
    got = device.run(graph, x=numbers(rows, 12))["y"]
    want = tt.evaluate(graph, x=numbers(rows, 12))["y"]
    assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_axes_that_are_no_permutation() -> None:
    for axes in ((0, 0), (0,), (0, 2), (-1, 0)):
        with pytest.raises(ShapeError, match=r"expected each of 0 … 1 once \(x is float32\[2, 3\]"):
            graph_of(permute(*axes), {"x": numbers(2, 3)})


def test_dtypes_have_4_bytes() -> None:
    with pytest.raises(ShapeError, match=r"x is float16\[2, 3\], expected a dtype of 4 bytes"):
        graph_of(permute(1, 0), {"x": np.zeros((2, 3), np.float16)})


def test_a_rank_that_does_not_fold() -> None:
    graph = graph_of(permute(4, 3, 2, 1, 0), {"x": numbers(2, 2, 2, 2, 2)})
    with pytest.raises(UnsupportedError, match=r"permute: .* needs 5 separate dimensions"):
        tt.plan.plan(graph, tt.target.Target("native"))


def test_reshape_keeps_the_elements() -> None:
    with pytest.raises(
        ShapeError, match=r"reshape: float32\[2, 3\] has 6 elements, \[2, 4\] has 8"
    ):
        graph_of(lambda x: tt.ops.reshape(x, (2, 4)), {"x": numbers(2, 3)})


PARTS = [((7,), 0, 2, 3), ((3, 5), 1, 0, 5), ((3, 5), -1, 4, 1), ((4, 3, 6), 1, 1, 2)]


@pytest.mark.parametrize(("shape", "axis", "start", "length"), PARTS)
def test_narrow(
    device: harness.Device, shape: tuple[int, ...], axis: int, start: int, length: int
) -> None:
    x = numbers(*shape)

    def build(x: Any) -> Any:
        return tt.ops.narrow(x, axis, start, length)

    want = torch.from_numpy(x).narrow(axis, start, length).numpy()
    assert_close(reference(build, {"x": x}), want, atol=0, rtol=0)
    assert_agrees(device, build, {"x": x}, atol=0, rtol=0)


JOINED = [([(7,)], 0), ([(2, 3), (2, 1), (2, 4)], -1), ([(1, 3, 2), (4, 3, 2)], 0)]


@pytest.mark.parametrize(("shapes", "axis"), JOINED)
def test_concat(device: harness.Device, shapes: list[tuple[int, ...]], axis: int) -> None:
    arrays = {f"x{i}": numbers(*shape) + i for i, shape in enumerate(shapes)}

    def build(**xs: Any) -> Any:
        return tt.ops.concat(*xs.values(), axis=axis)

    want = torch.cat([torch.from_numpy(a) for a in arrays.values()], axis).numpy()
    assert_close(reference(build, arrays), want, atol=0, rtol=0)
    assert_agrees(device, build, arrays, atol=0, rtol=0)


@pytest.mark.parametrize("rows", [1, 5])
def test_concat_and_narrow_of_live_rows(device: harness.Device, rows: int) -> None:
    n = tt.Sym("rows", 8, min=1)

    def build(a: Any, b: Any) -> Any:
        return tt.ops.narrow(tt.ops.concat(a, b, axis=1), 1, 1, 3)

    arrays = {"a": numbers(rows, 2), "b": -numbers(rows, 3)}
    shapes = {"a": (n, 2), "b": (n, 3)}
    assert_agrees(device, build, arrays, shapes=shapes, atol=0, rtol=0)


def test_narrow_stays_within() -> None:
    for start, length in ((0, 4), (-1, 2), (3, 1), (1, 0)):
        with pytest.raises(ShapeError, match=r"narrow: .* of dimension 1 of float32\[2, 3\]"):
            graph_of(lambda x, s=start, n=length: tt.ops.narrow(x, 1, s, n), {"x": numbers(2, 3)})
    with pytest.raises(ShapeError, match=r"narrow: axis is 2, expected -2 to 1"):
        graph_of(lambda x: tt.ops.narrow(x, 2, 0, 1), {"x": numbers(2, 3)})


def test_concat_wants_the_same_other_dimensions() -> None:
    arrays = {"a": numbers(2, 3), "b": numbers(3, 3)}
    with pytest.raises(ShapeError, match=r"float32\[3, 3\] does not join float32\[2, 3\]"):
        graph_of(lambda a, b: tt.ops.concat(a, b, axis=1), arrays)
