"""Tensors that remember how they were made, the ops that make them, and the graph of a model.

Building a graph computes nothing and touches no weight: constants are declared by name and spec
and filled later by whoever has the bytes. `evaluate` runs a graph on numpy; it is the definition
every GPU result is compared with.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, Literal, ParamSpec

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .dim import Dim, Env, Expr, Sym, ceildiv, minimum, upper, value
from .errors import ShapeError
from .kernel import Kernel
from .target import Target

P = ParamSpec("P")
Array = NDArray[Any]
Role = Literal["input", "constant", ""]
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


@dataclass(frozen=True)
class Op(Generic[P]):
    """Three functions with one signature: what comes out, what it means, how to run it.

    `shape` checks its operands and gives the result's spec, `reference` is numpy, `lower` gives
    the dispatches that fill the output tensor it gets first; None makes the op a view, whose
    result lies in its first operand's buffer.
    """

    name: str
    shape: Callable[P, Spec]
    reference: Callable[..., Array]
    lower: Callable[Concatenate[Target, Tensor, P], Sequence[Dispatch]] | None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        spec = self.shape(*args, **kwargs)
        return Tensor(spec, op=self, args=args, kwargs=kwargs)

    @property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.shape)


class Graph:
    """Named inputs and constants, and the outputs computed from them."""

    def __init__(self) -> None:
        self.inputs: dict[str, Tensor] = {}
        self.constants: dict[str, Tensor] = {}
        self.values: dict[str, Array] = {}  # constants given as arrays
        self.outputs: dict[str, Tensor] = {}

    def input(self, name: str, shape: Iterable[Dim], dtype: str = "float32") -> Tensor:
        """Declare an array fed at every run; dims may be `Sym`s."""
        return self._leaf(self.inputs, Tensor(Spec(tuple(shape), dtype), name, "input"))

    def constant(self, name: str, value: Spec | ArrayLike) -> Tensor:
        """Declare a weight: an array, or a `Spec` to be filled before the first run."""
        if isinstance(value, Spec):
            return self._leaf(self.constants, Tensor(value, name, "constant"))
        array = np.ascontiguousarray(value)
        spec = Spec(array.shape, array.dtype.name)
        leaf = self._leaf(self.constants, Tensor(spec, name, "constant"))
        self.values[name] = array
        return leaf

    def _leaf(self, table: dict[str, Tensor], leaf: Tensor) -> Tensor:
        if leaf.name in self.inputs or leaf.name in self.constants:
            raise ShapeError(f"the graph has a leaf {leaf.name!r} already; names are unique")
        table[leaf.name] = leaf
        return leaf

    def output(self, name: str, tensor: Tensor) -> None:
        """Name a result of every run."""
        if name in self.outputs:
            raise ShapeError(f"the graph has an output {name!r} already; names are unique")
        for t in order([tensor]):
            known = self.inputs.get(t.name) or self.constants.get(t.name)
            if not t.op and known is not t:
                raise ShapeError(f"output {name!r} needs the leaf {t!r}, which is another graph's")
        self.outputs[name] = tensor

    def nodes(self) -> list[Tensor]:
        """Every tensor the outputs need, each after its operands."""
        return list(order(self.outputs.values()))

    def bind(self, arrays: Mapping[str, ArrayLike]) -> tuple[dict[str, Array], dict[str, int]]:
        """Check the arrays of a run; give them in the inputs' dtypes, and the live sizes."""
        if arrays.keys() != self.inputs.keys():
            raise ShapeError(f"this graph's inputs are {list(self.inputs)}, got {list(arrays)}")
        env: dict[str, int] = {}
        cast = {n: _cast(self.inputs[n], np.asarray(a)) for n, a in arrays.items()}
        for name, array in cast.items():
            _bind_shape(name, self.inputs[name].spec, array.shape, env)
        for name, array in cast.items():  # dims that are expressions, once every symbol is known
            if (want := self.inputs[name].spec.at(env)) != array.shape:
                raise ShapeError(
                    f"input {name!r} is {array.dtype}{list(array.shape)}, expected "
                    f"{self.inputs[name].spec} = {list(want)} at {env}"
                )
        return cast, env


def _cast(leaf: Tensor, array: Array) -> Array:
    want = np.dtype(leaf.dtype)
    if not np.can_cast(array.dtype, want, "same_kind"):
        raise ShapeError(f"input {leaf.name!r} is {array.dtype}, expected {want}")
    if want.kind in "iu" and array.size:
        span = np.iinfo(want)
        if array.min() < span.min or array.max() > span.max:
            raise ShapeError(
                f"input {leaf.name!r} has values from {array.min()} to {array.max()},"
                f" outside of {want} ({span.min} to {span.max})"
            )
    # ascontiguousarray would give a scalar a dimension
    return np.asarray(array, want, order="C")


def _bind_shape(name: str, spec: Spec, shape: tuple[int, ...], env: dict[str, int]) -> None:
    fits = len(shape) == len(spec.shape)
    for dim, n in zip(spec.shape, shape, strict=fits):
        if isinstance(dim, int):
            fits = fits and n == dim
        elif isinstance(dim, Sym) and fits:
            if not dim.min <= n <= dim.max:
                raise ShapeError(
                    f"input {name!r} has {dim.name} = {n}, expected {dim.min} to {dim.max}"
                    f" (buffers are allocated for {dim.max})"
                )
            if env.setdefault(dim.name, n) != n:
                raise ShapeError(
                    f"input {name!r} has {dim.name} = {n}, another input has {env[dim.name]}"
                )
    if not fits:
        raise ShapeError(f"input {name!r} has shape {list(shape)}, expected {spec}")


def order(outputs: Iterable[Tensor]) -> Iterator[Tensor]:
    """Every tensor `outputs` need, each after its operands; without recursion, so any depth."""
    seen: set[int] = set()
    stack = [(t, False) for t in reversed(list(outputs))]
    while stack:
        t, ready = stack.pop()
        if ready:
            yield t
        elif id(t) not in seen:
            seen.add(id(t))
            stack.append((t, True))
            stack += [(a, False) for a in reversed(t.inputs) if id(a) not in seen]


def compute(tensor: Tensor, values: Mapping[int, Array], env: Env) -> Array:
    """Run one op's reference on the arrays of its operands, symbolic attributes made ints."""

    def concrete(a: Any) -> Any:
        if isinstance(a, Tensor):
            return values[id(a)]
        if isinstance(a, Sym | Expr):
            return value(a, env)
        return tuple(map(concrete, a)) if isinstance(a, tuple | list) else a

    assert tensor.op
    kwargs = {k: concrete(v) for k, v in tensor.kwargs.items()}
    result = tensor.op.reference(*map(concrete, tensor.args), **kwargs)
    return np.asarray(result, tensor.dtype)


def evaluate(graph: Graph, **arrays: ArrayLike) -> dict[str, Array]:
    """Run `graph` on numpy: inputs, and constants that have no value yet, by name."""
    given = {n: a for n, a in arrays.items() if n in graph.constants}
    cast, env = graph.bind({n: a for n, a in arrays.items() if n not in given})
    leaves = {**graph.values, **{n: np.asarray(a) for n, a in given.items()}, **cast}
    values: dict[int, Array] = {}
    for t in graph.nodes():
        if not t.op and t.name not in leaves:
            raise ShapeError(f"the constant {t.name!r} ({t.spec}) has no value yet")
        values[id(t)] = compute(t, values, env) if t.op else leaves[t.name]
    return {name: values[id(t)] for name, t in graph.outputs.items()}
