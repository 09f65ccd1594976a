"""Tensors that remember how they were made, the ops that make them, and the graph of a model.

Building a graph computes nothing and touches no weight: constants are declared by name and spec
and filled later by whoever has the bytes. `evaluate` runs a graph on numpy; it is the definition
every GPU result is compared with.

A graph has four kinds of leaves: inputs (fed at every run), constants (weights), states (buffers
that outlive a run: a cache, the last token) and scalars (live values, "SymInts": a dim that the
host sets, and an int32 on the GPU that kernels read).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, Literal, ParamSpec

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .dim import Dim, Env, Expr, Sym, ceildiv, minimum, symbols, upper, value
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


@dataclass(frozen=True)
class Op(Generic[P]):
    """Three functions with one signature: what comes out, what it means, how to run it.

    `shape` checks its operands and gives the result's spec, `reference` is numpy, `lower` gives
    the dispatches that fill the output tensor it gets first; None makes the op a view, whose
    result lies in its first operand's buffer.

    An op may write one of its operands: `writes` is that operand's position, the result is its
    new contents in the same buffer, and whoever wants the old ones has to come before. `limit`
    gives (value, most, what) for what only live values can break. `becomes` is the live value of
    a scalar that the op writes.
    """

    name: str
    shape: Callable[P, Spec]
    reference: Callable[..., Array]
    lower: Callable[Concatenate[Target, Tensor, P], Sequence[Dispatch]] | None
    writes: int | None = None
    limit: Callable[P, Limit] | None = None
    becomes: Callable[P, Dim] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        spec = self.shape(*args, **kwargs)
        return Tensor(spec, op=self, args=args, kwargs=kwargs)

    @property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.shape)


class Graph:
    """Named leaves, the outputs computed from them, and effects: states written on the way."""

    def __init__(self) -> None:
        self.inputs: dict[str, Tensor] = {}
        self.constants: dict[str, Tensor] = {}
        self.states: dict[str, Tensor] = {}
        self.scalars: dict[str, Tensor] = {}
        self.symints: dict[str, Sym] = {}  # sizes that are set, not read off an input's shape
        self.selected: dict[str, tuple[str, tuple[int, ...]]] = {}  # symint -> input's element
        self.values: dict[str, Array] = {}  # constants given as arrays
        self.outputs: dict[str, Tensor] = {}
        self.effects: list[Tensor] = []

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

    def state(self, name: str, shape: Iterable[int], dtype: str = "float32") -> Tensor:
        """Declare a buffer that outlives a run: zeros at first, then what ops write into it."""
        return self._leaf(self.states, Tensor(Spec(tuple(shape), dtype), name, "state"))

    def symint(self, name: str, max: int, min: int = 0) -> Tensor:  # noqa: A002  # as Sym has them
        """Declare a live scalar: set between runs, read by kernels, usable in shapes as `.dim`."""
        self.symints[name] = Sym(name, max, min)
        return self.scalar(self.symints[name])

    def select_as_symint(self, source: Tensor, index: tuple[int, ...], name: str, max: int) -> Tensor:  # noqa: A002
        """Declare a live scalar that every run takes from one element of an integer input."""
        if source.role != "input" or np.dtype(source.dtype).kind not in "iu":
            raise ShapeError(f"select_as_symint: {source!r} is no integer input")
        if len(index) != len(source.shape):
            raise ShapeError(f"select_as_symint: index {index} of {source.spec}, one number each")
        self.selected[name] = source.name, index
        return self.symint(name, max)

    def scalar(self, dim: Dim) -> Tensor:
        """The live value of `dim` as an int32 [1] that kernels read."""
        name = str(dim)
        if name in self.scalars:
            return self.scalars[name]
        return self._leaf(self.scalars, Tensor(Spec((1,), "int32"), name, "scalar", live=dim))

    def effect(self, tensor: Tensor) -> None:
        """Compute `tensor` at every run, after the outputs, for what it writes."""
        self.effects.append(tensor)

    @property
    def leaves(self) -> dict[str, Tensor]:
        """Every leaf by name."""
        return {**self.inputs, **self.constants, **self.states, **self.scalars}

    def _leaf(self, table: dict[str, Tensor], leaf: Tensor) -> Tensor:
        if leaf.name in self.leaves:
            raise ShapeError(f"the graph has a leaf {leaf.name!r} already; names are unique")
        table[leaf.name] = leaf
        return leaf

    def output(self, name: str, tensor: Tensor) -> None:
        """Name a result of every run."""
        if name in self.outputs:
            raise ShapeError(f"the graph has an output {name!r} already; names are unique")
        for t in order([tensor]):
            if not t.op and self.leaves.get(t.name) is not t:
                raise ShapeError(f"output {name!r} needs the leaf {t!r}, which is another graph's")
        self.outputs[name] = tensor

    def nodes(self) -> list[Tensor]:
        """Every tensor the outputs and effects need, each after its operands."""
        return list(order([*self.outputs.values(), *self.effects]))

    def symbols(self) -> dict[str, Sym]:
        """Every size of the graph by name."""
        dims = (d for t in self.inputs.values() for d in t.shape)
        return {s.name: s for d in dims for s in symbols(d)} | self.symints

    def bind(self, arrays: Mapping[str, ArrayLike]) -> tuple[dict[str, Array], dict[str, int]]:
        """Check the arrays of a run; give them in the inputs' dtypes, and the sizes they fix."""
        if arrays.keys() != self.inputs.keys():
            raise ShapeError(f"this graph's inputs are {list(self.inputs)}, got {list(arrays)}")
        env: dict[str, int] = {}
        cast = {n: _cast(self.inputs[n], np.asarray(a)) for n, a in arrays.items()}
        for name, array in cast.items():
            _bind_shape(name, self.inputs[name].spec, array.shape, env)
        for name, (source, index) in self.selected.items():
            env[name] = int(cast[source][index])
            self.check_symint(name, env[name])
        for name, array in cast.items():  # dims that are expressions, once every symbol is known
            if (want := self.inputs[name].spec.at(env)) != array.shape:
                raise ShapeError(
                    f"input {name!r} is {array.dtype}{list(array.shape)}, expected "
                    f"{self.inputs[name].spec} = {list(want)} at {env}"
                )
        return cast, env


    def check_symint(self, name: str, value: int) -> None:
        """Refuse a live value that is not declared, or out of its bounds."""
        if name not in self.symints:
            raise ShapeError(f"the graph has no symint {name!r}; it has {list(self.symints)}")
        sym = self.symints[name]
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ShapeError(f"symint {name!r} is an integer, got {value!r}")
        if not sym.min <= value <= sym.max:
            raise ShapeError(f"symint {name!r} is {value}, expected {sym.min} to {sym.max}")

    def limits(self) -> list[tuple[str, Limit]]:
        """What live values must not break: op name, and (value, most, what)."""
        return [
            (t.op.name, t.op.limit(*t.args, **t.kwargs))
            for t in self.nodes()
            if t.op and t.op.limit
        ]


def check_limits(limits: Iterable[tuple[str, Limit]], env: Env) -> None:
    """Refuse live values that an op cannot take, naming it."""
    for op, (dim, most, what) in limits:
        if (live := value(dim, env)) > (end := value(most, env)):
            raise ShapeError(f"{op}: {what} is {dim} = {live}, expected at most {end}")


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


def evaluate(graph: Graph, **given: ArrayLike | int) -> dict[str, Array]:
    """Run `graph` on numpy: inputs, symints, and by name constants and states it has no value for.

    States are zeros and symints their least value unless given; what the run writes is dropped
    (`advance` gives it).
    """
    leaves = {n: np.asarray(a) for n, a in given.items() if n in graph.constants | graph.states}
    live = {n: a for n, a in given.items() if n in graph.symints}
    inputs = {n: a for n, a in given.items() if n not in leaves and n not in live}
    return advance(graph, inputs, graph.values | leaves, live)[0]  # type: ignore[arg-type]


def advance(
    graph: Graph,
    inputs: Mapping[str, ArrayLike],
    held: Mapping[str, Array],
    live: Mapping[str, int],
) -> tuple[dict[str, Array], dict[str, Array], dict[str, int]]:
    """One run on numpy: outputs, the states it leaves, and the symints it leaves."""
    cast, env = graph.bind(inputs)
    for name, number in live.items():
        graph.check_symint(name, number)
    env = {n: s.min for n, s in graph.symints.items()} | dict(live) | env
    check_limits(graph.limits(), env)
    values: dict[int, Array] = {}
    states = {n: held.get(n, np.zeros(t.spec.at({}), t.dtype)) for n, t in graph.states.items()}
    scalars = dict(env)
    for t in graph.nodes():
        if t.op:
            values[id(t)] = compute(t, values, env)
            if (leaf := buffer_of(t)).role == "state" and t.op.writes is not None:
                states[leaf.name] = values[id(t)].reshape(leaf.spec.at({}))
            if t.op.becomes:
                scalars[leaf.name] = value(t.op.becomes(*t.args, **t.kwargs), env)
        elif t.role == "scalar":
            values[id(t)] = np.array([value(t.dim, env)], np.int32)
        elif t.role == "constant" and t.name not in held:
            raise ShapeError(f"the constant {t.name!r} ({t.spec}) has no value yet")
        else:
            values[id(t)] = {"input": cast, "constant": held, "state": states}[t.role][t.name]
    outputs = {name: values[id(t)] for name, t in graph.outputs.items()}
    return outputs, states, {n: scalars[n] for n in graph.symints}


def buffer_of(t: Tensor) -> Tensor:
    """The tensor in whose buffer `t` lies: itself, unless it is a view or written in place."""
    while t.op and (t.op.lower is None or t.op.writes is not None):
        t = t.args[t.op.writes or 0]
    return t
