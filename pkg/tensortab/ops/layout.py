"""Strides folded to the four dimensions kernels take, and the checks ops share."""

from __future__ import annotations

from collections.abc import Sequence

from ..dim import Dim, product
from ..errors import ShapeError, UnsupportedError
from ..op import Array, Tensor

Shape = tuple[Dim, ...]


def contiguous(shape: Sequence[Dim]) -> Shape:
    """Strides in elements of a row-major tensor."""
    return tuple(product(shape[i + 1 :]) for i in range(len(shape)))


def broadcast(op: str, *tensors: Tensor) -> Shape:
    """The shape numpy's broadcasting gives; ShapeError names the operands that do not fit."""
    rank = max(len(t.shape) for t in tensors)
    shape: list[Dim] = []
    for axis in range(-rank, 0):
        sizes = {t.shape[axis] for t in tensors if len(t.shape) >= -axis} - {1}
        if len(sizes) > 1:
            raise ShapeError(
                f"{op}: {' and '.join(str(t.spec) for t in tensors)} do not broadcast:"
                f" dimension {axis} is {' and '.join(map(str, sorted(sizes, key=str)))}"
            )
        shape.append(next(iter(sizes), 1))
    return tuple(shape)


def strides_in(t: Tensor, shape: Shape) -> Shape:
    """Strides that read `t` as if it had `shape`: 0 along dimensions it repeats."""
    own = [0 if n == 1 else s for n, s in zip(t.shape, contiguous(t.shape), strict=True)]
    return (*[0] * (len(shape) - len(own)), *own)


def fold4(op: str, shape: Shape, *strides: Shape) -> list[tuple[Dim, Dim, Dim, Dim]]:
    """Four dimensions and as many strides for each operand: what `shape` and `strides` come to.

    Dimensions of 1 go; neighbours that every operand walks through without a jump become one.
    """
    rows: list[list[Dim]] = []  # [size, stride of each operand], outermost first
    for row in zip(shape, *strides, strict=True):
        if row[0] == 1:
            continue
        if rows and all(a == b * row[0] for a, b in zip(rows[-1][1:], row[1:], strict=True)):
            rows[-1] = [rows[-1][0] * row[0], *row[1:]]
        else:
            rows.append(list(row))
    if len(rows) > 4:
        raise UnsupportedError(
            f"{op}: {list(map(str, shape))} needs {len(rows)} separate dimensions, kernels take 4"
        )
    padded = [[1, *[0] * len(strides)]] * (4 - len(rows)) + rows
    return [(a, b, c, d) for a, b, c, d in zip(*padded, strict=True)]


def require_float32(op: str, **tensors: Tensor) -> None:
    """Refuse operands of another dtype, naming them."""
    for name, t in tensors.items():
        if t.dtype != "float32":
            raise ShapeError(f"{op}: {name} is {t.spec}, expected float32")


def require_vector(op: str, name: str, t: Tensor | None, n: Dim, why: str) -> None:
    """Refuse an optional float32 vector of another length than `n`."""
    if t is not None and (t.shape != (n,) or t.dtype != "float32"):
        raise ShapeError(f"{op}: {name} is {t.spec}, expected float32[{n}] ({why})")


def require_strategy(op: str, strategy: str | None, known: Sequence[str]) -> None:
    """Refuse the name of a strategy the op has not."""
    if strategy is not None and strategy not in known:
        raise UnsupportedError(
            f"{op}: strategy is {strategy!r}, expected one of {', '.join(known)}, or None"
        )


def rows_of(t: Tensor) -> Dim:
    """How many rows: the product of every dimension but the last."""
    return product(t.shape[:-1])


def float32(a: Array) -> Array:
    """The array as float32, without a copy where it is."""
    return a.astype("float32", copy=False)
