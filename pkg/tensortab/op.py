"""Tensors that remember how they were made, and the ops that make them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol

import numpy as np
from numpy.typing import NDArray

from .dim import Dim, Env, ceildiv, minimum, upper, value
from .errors import ShapeError
from .kernel import Kernel
from .target import Target

P = ParamSpec("P")
Array = NDArray[Any]
Limit = tuple[Dim, Dim, str]  # a live value, the most it may be, what it is
Role = Literal["input", "constant", "state", "scalar", ""]
Grid = tuple[Dim, Dim, Dim]


@dataclass(frozen=True)
class Spec:
    """Shape and dtype (a numpy name) of a tensor; dimensions are ints or symbolic."""

    shape: tuple[Dim, ...]
    dtype: str = "float32"

    @property
    def nbytes(self) -> int:
        """Bytes at the largest size."""
        return math.prod(map(upper, self.shape)) * np.dtype(self.dtype).itemsize

    def at(self, env: Env) -> tuple[int, ...]:
        """The shape at the live values of its symbols."""
        return tuple(value(d, env) for d in self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, eq=False)
class Tensor:
    """A node of a graph. Leaves have a name; everything else has an op."""

    spec: Spec
    name: str = ""
    role: Role = ""
    op: Op[...] | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    live: Dim | None = None  # a scalar's value

    @property
    def dim(self) -> Dim:
        """The value of a scalar, for shapes and uniforms."""
        if self.live is None:
            raise ShapeError(f"{self!r} is no live scalar (graph.symint, graph.scalar)")
        return self.live

    @property
    def shape(self) -> tuple[Dim, ...]:
        return self.spec.shape

    @property
    def dtype(self) -> str:
        return self.spec.dtype

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors among the op's operands, in order."""
        return [a for a in (*self.args, *self.kwargs.values()) if isinstance(a, Tensor)]

    def __repr__(self) -> str:
        return f"<{self.op.name if self.op else self.name} {self.spec}>"


@dataclass(frozen=True)
class Dispatch:
    """One kernel launch: which file, which tensors and numbers, how many workgroups."""

    kernel: Kernel
    grid: Grid
    operands: tuple[Tensor, ...]  # one per storage binding, in binding order
    values: Mapping[str, Dim | float]  # the uniform's fields


def dispatch(kernel: Kernel, grid: Grid, **named: Tensor | Dim | float) -> Dispatch:
    """Launch `kernel`; every binding and every Params field is given by its name."""
    bindings = [b.name for b in kernel.bindings]
    if named.keys() != {*bindings, *kernel.fields}:
        raise ShapeError(
            f"{kernel.name}.wgsl takes {[*bindings, *kernel.fields]}, got {sorted(named)}"
        )
    operands = tuple(t for b in bindings if isinstance(t := named[b], Tensor))
    values = {f: v for f in kernel.fields if not isinstance(v := named[f], Tensor)}
    if len(operands) != len(bindings) or len(values) != len(kernel.fields):
        raise ShapeError(f"{kernel.name}.wgsl: bindings take tensors and Params fields numbers")
    return Dispatch(kernel, grid, operands, values)


def fold(target: Target, workgroups: Dim) -> Grid:
    """Lay out any number of workgroups in x and y; kernels number them x + y · num_workgroups.x.

    A dispatch holds at most 65,535 workgroups a dimension; the last row may be partly past the
    end, so kernels check.
    """
    most = target.workgroups
    if upper(workgroups) <= most:
        return workgroups, 1, 1
    return minimum(workgroups, most), ceildiv(workgroups, most), 1


class Calls(Protocol):
    """What `on` asks of a device."""

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a function of tensors on arrays (eager.py)."""


@dataclass(frozen=True)
class Op(Generic[P]):
    """Three functions with one signature: what comes out, what it means, how to run it.

    `shape` checks its operands and gives the result's spec, `reference` is numpy, `lower` gives
    the dispatches that fill the output tensor it gets first; None makes the op a view, whose
    result lies in its first operand's buffer.

    An op may write one of its operands: `writes` is that operand's position, the result is its
    new contents in the same buffer, and whoever wants the old ones has to come before. `updates`
    are positions of operands it writes beside a result of its own: `reference` then gives the
    result and each one's new contents, which the op `after` shows to others. `limit`
    gives (value, most, what) for what only live values can break. `becomes` is the position of a
    scalar that the op writes, and its live value then.
    """

    name: str
    shape: Callable[P, Spec]
    reference: Callable[..., Any]  # an Array; a tuple of them where there are updates
    lower: Callable[Concatenate[Target, Tensor, P], Sequence[Dispatch]] | None
    writes: int | None = None
    updates: tuple[int, ...] = ()
    limit: Callable[P, Limit] | None = None
    becomes: tuple[int, Callable[P, Dim]] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        spec = self.shape(*args, **kwargs)
        return Tensor(spec, op=self, args=args, kwargs=kwargs)

    async def on(self, device: Calls, *args: Any, **kwargs: Any) -> Any:
        """Run the op on numpy arrays at once: an array, or a tuple of them (eager.py)."""
        return await device.call(self, *args, **kwargs)

    def lowered(self, target: Target, *args: Any, **kwargs: Any) -> Sequence[Dispatch]:
        """What an op made of others runs of this one: its dispatches, the output tensor first."""
        assert self.lower
        return self.lower(target, *args, **kwargs)

    @property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.shape)


class Composite(Generic[P]):
    """A function that makes one tensor of others with ops; called like them."""

    def __init__(self, function: Callable[P, Tensor]) -> None:
        self._function = function
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        return self._function(*args, **kwargs)

    async def on(self, device: Calls, *args: Any, **kwargs: Any) -> Any:
        """Run it on numpy arrays at once: an array, or a tuple of them (eager.py)."""
        return await device.call(self, *args, **kwargs)


def buffer_of(t: Tensor) -> Tensor:
    """The tensor in whose buffer `t` lies: itself, unless it is a view or written in place."""
    while t.op and (t.op.lower is None or t.op.writes is not None):
        t = t.args[t.op.writes or 0]
    return t


def advanced(t: Tensor) -> tuple[str, Dim] | None:
    """The name of the scalar that the op of `t` moves on, and its live value then."""
    if not t.op or not t.op.becomes:
        return None
    at, becomes = t.op.becomes
    return buffer_of(t.args[at]).name, becomes(*t.args, **t.kwargs)


def overwritten(t: Tensor) -> list[Tensor]:
    """The tensors whose buffers the op of `t` writes in place."""
    if not t.op:
        return []
    written = () if t.op.writes is None else (t.op.writes,)
    return [buffer_of(t.args[i]) for i in (*written, *t.op.updates)]
