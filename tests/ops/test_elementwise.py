import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError, UnsupportedError


def normal(*shape: int) -> np.ndarray:
    return np.array(np.random.default_rng(shape).standard_normal(shape, np.float32))


def of_two(op: tt.Op) -> Callable[..., tt.Tensor]:
    """The op by position, as its operands have no names in numpy."""

    def build(a: tt.Tensor, b: tt.Tensor) -> tt.Tensor:
        return op(a, b)

    return build


def gelu(approximate: str) -> Callable[..., tt.Tensor]:
    return lambda x: tt.ops.gelu(x, approximate=approximate)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_torch_is_reference(approximate: str) -> None:
    x = np.linspace(-12, 12, 4001, dtype=np.float32)
    want = torch.nn.functional.gelu(torch.from_numpy(x), approximate=approximate).numpy()
    assert_close(reference(gelu(approximate), {"x": x}), want, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_reference_is_device(device: harness.Device, approximate: str) -> None:
    x = np.concatenate([np.linspace(-12, 12, 1000), [0, 1e-30, 1e4, -1e4]]).astype(np.float32)
    assert_agrees(device, gelu(approximate), {"x": x}, atol=3e-6)


@pytest.mark.parametrize("shape", [(), (1,), (1, 63), (5, 65), (2, 3, 1, 7, 2)])
def test_gelu_takes_any_shape(device: harness.Device, shape: tuple[int, ...]) -> None:
    assert_agrees(device, tt.ops.gelu, {"x": normal(*shape)}, atol=3e-6)


def test_silu_torch_is_reference() -> None:
    x = np.linspace(-120, 120, 4001, dtype=np.float32)
    want = torch.nn.functional.silu(torch.from_numpy(x)).numpy()
    assert_close(reference(tt.ops.silu, {"x": x}), want, atol=1e-7, rtol=1e-6)


def test_silu_reference_is_device(device: harness.Device) -> None:
    x = np.concatenate([np.linspace(-120, 120, 1000), [0, 1e-30, 1e4, -1e4, -3e38]])
    assert_agrees(device, tt.ops.silu, {"x": x.astype(np.float32)}, atol=1e-6)


GATED = {
    tt.ops.swiglu: torch.nn.functional.silu,
    tt.ops.geglu: functools.partial(torch.nn.functional.gelu, approximate="tanh"),
}


@pytest.mark.parametrize(("op", "activation"), GATED.items(), ids=[op.name for op in GATED])
@pytest.mark.parametrize(("gate", "up"), [((5, 7), (5, 7)), ((2, 3, 65), (65,)), ((1,), (4, 1))])
def test_gated(
    device: harness.Device,
    op: tt.Op,
    activation: Callable[..., torch.Tensor],
    gate: tuple[int, ...],
    up: tuple[int, ...],
) -> None:
    arrays = {"gate": normal(*gate) * 30, "up": normal(*up)}
    arrays["gate"].flat[0] = 1e4  # where tanh overflows on some GPUs
    a, b = map(torch.from_numpy, arrays.values())
    assert_close(reference(op, arrays), (activation(a) * b).numpy(), atol=1e-6, rtol=1e-6)
    assert_agrees(device, op, arrays, atol=3e-6)


PAIRS = [
    ((5, 7), (5, 7)),
    ((5, 7), ()),  # a scalar tensor
    ((), (5, 7)),
    ((5, 7), (1,)),
    ((5, 7), (7,)),  # a row
    ((5, 7), (5, 1)),  # a column
    ((5, 1), (1, 7)),  # both ways at once
    ((1, 1), (1, 1)),
    ((3, 2, 4, 5), (2, 1, 5)),
    ((2, 3, 4, 1), (3, 1, 65)),
    ((2, 2, 3, 2, 2, 3), (2, 3)),  # rank 6 that folds to two dimensions
    ((2, 1, 3, 1, 4, 1, 5), (2, 1, 3, 1, 1, 1, 5)),  # dimensions of 1 go
]


BINARY = {
    tt.ops.add: torch.add,
    tt.ops.mul: torch.mul,
    tt.ops.sub: torch.sub,
    tt.ops.div: torch.div,
}


@pytest.mark.parametrize(("op", "torch_op"), BINARY.items(), ids=[op.name for op in BINARY])
@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_binary_torch_is_reference(
    op: tt.Op, torch_op: Callable[..., torch.Tensor], a: tuple[int, ...], b: tuple[int, ...]
) -> None:
    arrays = {"a": normal(*a), "b": normal(*b) + 1}
    want = torch_op(torch.tensor(arrays["a"]), torch.tensor(arrays["b"])).numpy()
    assert_close(reference(of_two(op), arrays), want, atol=0, rtol=0)


@pytest.mark.parametrize("op", [tt.ops.add, tt.ops.mul])
@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_binary_reference_is_device(
    device: harness.Device, op: tt.Op, a: tuple[int, ...], b: tuple[int, ...]
) -> None:
    assert_agrees(device, of_two(op), {"a": normal(*a), "b": normal(*b) + 1}, atol=0, rtol=1e-7)


@pytest.mark.parametrize("op", [tt.ops.add, tt.ops.mul])
@pytest.mark.parametrize("number", [0, -2.5, 1e-3])
def test_binary_with_a_number(device: harness.Device, op: tt.Op, number: float) -> None:
    assert_agrees(device, lambda a: op(a, number), {"a": normal(3, 67)}, atol=0, rtol=1e-6)


@pytest.mark.parametrize("op", [tt.ops.sub, tt.ops.div])
def test_what_does_not_commute(device: harness.Device, op: tt.Op) -> None:
    """Division is correct to 2.5 units in the last place in WGSL."""
    for a, b in (((5, 7), (5, 1)), ((), (5, 7)), ((2, 3, 4), (3, 4))):
        assert_agrees(device, of_two(op), {"a": normal(*a), "b": normal(*b) + 1}, atol=0, rtol=4e-7)
    assert_agrees(device, lambda a: op(a, -2.5), {"a": normal(3, 67)}, atol=0, rtol=4e-7)


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_binary_with_symbolic_rows(device: harness.Device, rows: int) -> None:
    n = tt.Sym("rows", 9, min=1)
    arrays = {"a": normal(2, rows, 5), "b": normal(rows, 1)}
    shapes = {"a": (2, n, 5), "b": (n, 1)}
    assert_agrees(device, of_two(tt.ops.mul), arrays, shapes=shapes, atol=0, rtol=1e-6)


def test_one_tensor_may_be_both_operands(device: harness.Device) -> None:
    assert_agrees(device, lambda a: tt.ops.add(a, a), {"a": normal(70)}, atol=0, rtol=0)


def test_more_workgroups_than_one_dimension_holds(native: harness.Native) -> None:
    arrays = {"a": normal(65535 * 64 + 65), "b": normal(1)}
    assert_agrees(native, of_two(tt.ops.add), arrays, atol=0, rtol=1e-7)


def test_workgroups_fold_into_two_dimensions() -> None:
    small = {**tt.target.DEFAULT_LIMITS, "maxComputeWorkgroupsPerDimension": 10}
    target = replace(tt.target.Target("native"), limits=small)
    graph = graph_of(tt.ops.gelu, {"x": normal(25 * 64 - 1)}, {"x": (tt.Sym("n", 25 * 64 - 1),)})
    step = tt.plan.plan(graph, target).steps[0]
    assert step.workgroups({"n": 25 * 64 - 1}) == (10, 3, 1)
    assert step.workgroups({"n": 64}) == (1, 1, 1)


def test_shapes_that_do_not_broadcast() -> None:
    with pytest.raises(
        ShapeError,
        match=r"add: float32\[5, 7\] and float32\[5\] do not broadcast: dimension -1 is 5 and 7",
    ):
        graph_of(of_two(tt.ops.add), {"a": normal(5, 7), "b": normal(5)})


def test_dtypes_are_float32() -> None:
    whole = np.zeros((2, 3), np.int32)
    with pytest.raises(ShapeError, match=r"mul: b is int32\[2, 3\], expected float32"):
        graph_of(of_two(tt.ops.mul), {"a": normal(2, 3), "b": whole})
    with pytest.raises(ShapeError, match=r"div: a is int32\[2, 3\], expected float32"):
        graph_of(lambda a: tt.ops.div(a, 1), {"a": whole})
    for op in (tt.ops.gelu, tt.ops.silu):
        with pytest.raises(ShapeError, match=rf"{op.name}: x is int32\[2, 3\], expected float32"):
            graph_of(op, {"x": whole})
    for op in GATED:
        with pytest.raises(ShapeError, match=rf"{op.name}: up is int32\[2, 3\], expected float32"):
            graph_of(op, {"gate": normal(2, 3), "up": whole})
        with pytest.raises(ShapeError, match=rf"{op.name}: .* do not broadcast: dimension -1 is 3"):
            graph_of(op, {"gate": normal(3), "up": normal(4)})


def test_approximations_there_are_not() -> None:
    with pytest.raises(UnsupportedError, match=r"approximate is 'fast', expected one of \['none'"):
        graph_of(gelu("fast"), {"x": normal(2)})


def test_a_rank_that_does_not_fold() -> None:
    arrays = {"a": normal(2, 3, 2, 3, 2), "b": normal(2, 1, 2, 1, 2)}
    graph = graph_of(of_two(tt.ops.add), arrays)
    with pytest.raises(
        UnsupportedError,
        match=r"add: \['2', '3', '2', '3', '2'\] needs 5 separate dimensions, kernels take 4",
    ):
        tt.plan.plan(graph, tt.target.Target("native"))
