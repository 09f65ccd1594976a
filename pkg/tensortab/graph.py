"""The graph of a model: named leaves, outputs computed from them, states written on the way.

Building a graph computes nothing and touches no weight: constants are declared by name and spec
and filled later by whoever has the bytes. There are four kinds of leaves: inputs (fed at every
run), constants (weights), states (buffers that outlive a run: a cache, the last token) and scalars
(live values, "SymInts": a dim that the host sets, and an int32 on the GPU that kernels read).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike

from .dim import Dim, Env, Sym, symbols, value
from .errors import ShapeError
from .op import Array, Limit, Spec, Tensor
from .pictured import html


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

    def symint(self, name: str, max: int, min: int = 0) -> Tensor:
        """Declare a live scalar: set between runs, read by kernels, usable in shapes as `.dim`."""
        self.symints[name] = Sym(name, max, min)
        return self.scalar(self.symints[name])

    def select_as_symint(
        self, source: Tensor, index: tuple[int, ...], name: str, max: int
    ) -> Tensor:
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

    _repr_html_ = html

    def limits(self) -> list[tuple[str, Limit]]:
        """What live values must not break: op name, and (value, most, what); each once."""
        found = (
            (t.op.name, t.op.limit(*t.args, **t.kwargs))
            for t in self.nodes()
            if t.op and t.op.limit
        )
        return list(dict.fromkeys(found))


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
