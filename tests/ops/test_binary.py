from collections.abc import Callable

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError


def of_two(op: tt.Op) -> Callable[..., tt.Tensor]:
    """The op by position, as its operands have no names in numpy."""

    def build(a: tt.Tensor, b: tt.Tensor) -> tt.Tensor:
        return op(a, b)

    return build


def floor_divide(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.div(a, b, rounding_mode="floor")


def trunc_divide(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.div(a, b, rounding_mode="trunc")


NUMBERS: dict[str, tuple[tt.Op, Callable[..., torch.Tensor]]] = {
    "add": (tt.ops.add, torch.add),
    "sub": (tt.ops.sub, torch.sub),
    "mul": (tt.ops.mul, torch.mul),
    "minimum": (tt.ops.minimum, torch.minimum),
    "maximum": (tt.ops.maximum, torch.maximum),
    "floor_divide": (tt.ops.floor_divide, floor_divide),
    "trunc_divide": (tt.ops.trunc_divide, trunc_divide),
    "remainder": (tt.ops.remainder, torch.remainder),
}
COMPARED: dict[str, tuple[tt.Op, Callable[..., torch.Tensor]]] = {
    n: (getattr(tt.ops, n), getattr(torch, n)) for n in ("eq", "ne", "lt", "le", "gt", "ge")
}
BITS = {n: (getattr(tt.ops, f"bitwise_{n}"), getattr(torch, f"bitwise_{n}"))
        for n in ("and", "or", "xor")}  # fmt: skip
# Quotients that are whole, with every sign; a division's last bit must not matter.
A, B = (
    m.ravel().astype(np.float32) for m in np.meshgrid(np.arange(-12, 13), [-5, -3, -1, 2, 3, 7])
)


def both(name: str, a: np.ndarray, b: np.ndarray, table: dict) -> Callable[..., tt.Tensor]:
    op, function = table[name]
    build = of_two(op)
    want = function(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    assert_close(reference(build, {"a": a, "b": b}), want, atol=1e-6, rtol=1e-6)
    return build


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(device: harness.Device, name: str, dtype: str) -> None:
    a, b = A.astype(dtype), B.astype(dtype)
    build = both(name, a, b, NUMBERS)
    assert_agrees(device, build, {"a": a, "b": b}, atol=0, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "int32", "int8", "uint8", "bool"])
@pytest.mark.parametrize("name", COMPARED)
def test_compared(device: harness.Device, name: str, dtype: str) -> None:
    a, b = np.abs(A).astype(dtype), np.abs(B).astype(dtype)
    if dtype in ("int8", "float32"):
        a = A.astype(dtype)
    build = both(name, a, b, COMPARED)
    assert_agrees(device, build, {"a": a, "b": b}, atol=0, rtol=0)


@pytest.mark.parametrize("dtype", ["int32", "bool"])
@pytest.mark.parametrize("name", BITS)
def test_bits(device: harness.Device, name: str, dtype: str) -> None:
    a, b = (np.arange(150) % 7 - 3).astype(dtype), (np.arange(150) % 5 - 2).astype(dtype)
    build = both(name, a, b, BITS)
    assert_agrees(device, build, {"a": a, "b": b}, atol=0, rtol=0)


def test_pow(device: harness.Device) -> None:
    bases = np.array([-2.5, -1, 0, 0.3, 1, 2, 7], np.float32)
    exponents = np.array([[-3], [-1], [0], [0.5], [1], [2], [3], [4]], np.float32)
    arrays = {"a": bases, "b": exponents}
    with np.errstate(all="ignore"):
        build = both("pow", bases, exponents, {"pow": (tt.ops.pow, torch.pow)})
    assert_agrees(device, build, arrays, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "shapes", [((2, 3, 8), (3, 1)), ((1,), (5, 1, 3)), ((67,), ()), ((1,), (1,))]
)
def test_bytes_with_broadcasting(device: harness.Device, shapes: tuple) -> None:
    """Words of bytes go across rows, and the last one is not full."""
    rng = np.random.default_rng(len(shapes[0]))
    a, b = (rng.integers(-2, 3, s).astype(np.int8) for s in shapes)
    build = both("le", a, b, COMPARED)
    assert_agrees(device, build, {"a": a, "b": b}, atol=0, rtol=0)


@pytest.mark.parametrize(("dtype", "number"), [("float32", 2.5), ("int32", 16777217), ("int8", -3)])
def test_a_number(device: harness.Device, dtype: str, number: float) -> None:
    a = np.array([-3, 2, 2.5, 3, 100, 16777216, 16777217]).astype(dtype)
    assert_agrees(device, lambda a: tt.ops.eq(a, number), {"a": a}, atol=0, rtol=0)
    assert reference(lambda a: tt.ops.eq(a, number), {"a": a}).sum() == 1


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_where(device: harness.Device, dtype: str) -> None:
    rng = np.random.default_rng(3)
    condition = rng.integers(0, 2, (3, 1, 5)).astype(bool)
    a, b = rng.integers(-9, 9, (4, 1)).astype(dtype), rng.integers(-9, 9, (3, 4, 5)).astype(dtype)
    arrays = {"condition": condition, "a": a, "b": b}
    want = torch.where(*map(torch.from_numpy, arrays.values())).numpy()
    assert_close(reference(tt.ops.where, arrays), want, atol=0, rtol=0)
    assert_agrees(device, tt.ops.where, arrays, atol=0, rtol=0)


def test_operands_that_do_not_fit() -> None:
    x, whole, flag = np.zeros(3, np.float32), np.zeros(3, np.int32), np.zeros(3, bool)
    for op, a, b, match in (
        (tt.ops.add, x, whole, r"add: b is int32\[3\], expected float32"),
        (tt.ops.add, flag, flag, r"add: a is bool\[3\], expected float32 or int32"),
        (tt.ops.pow, whole, whole, r"pow: a is int32\[3\], expected float32"),
        (tt.ops.eq, x, x[:2], r"eq: float32\[3\] and float32\[2\] do not broadcast"),
    ):
        with pytest.raises(ShapeError, match=match):
            graph_of(of_two(op), {"a": a, "b": b})
    with pytest.raises(ShapeError, match=r"where: condition is int32\[3\], expected bool"):
        graph_of(tt.ops.where, {"condition": whole, "a": x, "b": x})
    with pytest.raises(
        ShapeError, match=r"where: a is float32\[3\], b is int32\[3\], expected one"
    ):
        graph_of(tt.ops.where, {"condition": flag, "a": x, "b": whole})
