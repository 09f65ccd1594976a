"""A delegate's blob as an ordinary graph, for given sizes of its inputs.

Constants are declared by where their bytes lie in the file, so that whoever has the file fills
them, and parts of a program that refer to the same bytes share a buffer. What an operator writes in
place is a state, or where it is an input the input itself. So is a constant that becomes what an
operator gives: a buffer that the model updates (the partitioner's `alias_buffer_mutations`). Sizes
in the blob are upper bounds: a graph is built for the sizes at hand. Integers read from tensors
stay live.

int64 is int32 inside, float64 and float16 are float32.

Errors: UnsupportedError for operators and forms that are not there, FormatError for a graph that
does not fit together; both before anything is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..dim import Dim, Expr, Sym, upper
from ..errors import FormatError, ShapeError, UnsupportedError
from ..graph import Graph
from ..op import Spec, Tensor, buffer_of
from ..ops import assign
from .blob import Blob, SymInt, TensorValue, ValueList
from .calls import check_operators, mutable, targets
from .registry import OPERATORS, PREPACK, Call, Result, bind
from .schema import Place

# Of each input: its shape, or an integer itself.
Sizes: TypeAlias = tuple[tuple[int, ...] | int, ...]
INSIDE = {"int64": "int32", "float64": "float32", "float16": "float32"}
_LARGEST = 1 << 32  # bytes of a tensor end before it, and so do those of WebGPU's buffers
_MOST_ITEMS = 1 << 20  # items of all arguments that are lists; calls may share a list


@dataclass(frozen=True)
class Filling:
    """What a leaf begins with: bytes of the file, and the dtype they have there."""

    place: Place
    stored: str


@dataclass(frozen=True)
class Built:
    """A graph, its inputs and outputs in the delegate's order, and what fills it.

    An input is a name, or None for an integer that the graph was built for; an output is a name,
    or a live integer.
    """

    graph: Graph
    inputs: tuple[str | None, ...]
    outputs: tuple[str | Dim, ...]
    constants: Mapping[str, Filling]
    states: Mapping[str, Filling]


def build(name: str, prefix: str, blob: Blob, sizes: Sizes) -> Built:
    """The graph for inputs of these sizes; `prefix` keeps its states' names its own."""
    check_operators(name, blob)
    try:
        return _Builder(name, prefix, blob).build(sizes)
    except ShapeError as error:
        raise FormatError(f"{name}: {error}") from error


@dataclass
class _Builder:
    """The values known so far."""

    name: str
    prefix: str
    blob: Blob
    graph: Graph = field(default_factory=Graph)
    values: dict[int, Any] = field(default_factory=dict)  # of tensors and live integers
    constants: dict[str, Filling] = field(default_factory=dict)
    states: dict[str, Filling] = field(default_factory=dict)
    mutable: frozenset[int] = frozenset()
    items: int = 0  # of lists, so far
    where: str = ""

    def build(self, sizes: Sizes) -> Built:
        inputs = tuple(self._input(i, size) for i, size in enumerate(sizes))
        self.mutable = mutable(self.blob)
        for number, call in enumerate(self.blob.calls):
            self.where = f"{self.name}: at byte {call.at}: call {number}, {call.name}"
            if not call.args:
                raise FormatError(f"{self.where}: no arguments")
            if call.name == PREPACK:
                self._prepack(call.args)
            else:
                self._call(call.name, call.args)
        self.where = f"{self.name}: outputs"
        outputs = tuple(self._output(i, n) for i, n in enumerate(self.blob.outputs))
        return Built(self.graph, inputs, outputs, self.constants, self.states)

    def _input(self, number: int, size: tuple[int, ...] | int) -> str | None:
        index = self.blob.inputs[number]
        value = self.blob.values[index]
        who = f"{self.name}: input {number}"
        if index in self.values:
            raise FormatError(f"{who} is value {index}, as another one")
        if isinstance(value, SymInt) and isinstance(size, int):
            self.values[index] = size
            return None
        if not isinstance(value, TensorValue) or isinstance(size, int):
            raise FormatError(f"{who} is {value!r}, given {size}, expected a tensor or an integer")
        spec = self._spec(value)
        if len(size) != len(value.shape) or any(
            n > m for n, m in zip(size, value.shape, strict=True)
        ):
            raise FormatError(f"{who} has the shape {size}, expected {spec} at most")
        self.values[index] = self.graph.input(f"in{number}", size, spec.dtype)
        return f"in{number}"

    def _output(self, number: int, index: int) -> str | Dim:
        if isinstance(self.blob.values[index], SymInt):
            live: Dim = self._value(index)
            return live
        self.graph.output(f"out{number}", self._tensor(index))
        return f"out{number}"

    def _spec(self, value: TensorValue) -> Spec:
        spec = Spec(value.shape, INSIDE.get(value.dtype, value.dtype))
        # Strides have to be counted, too, where a size of 0 leaves no bytes.
        if Spec(tuple(max(upper(n), 1) for n in spec.shape), spec.dtype).nbytes >= _LARGEST:
            raise UnsupportedError(
                f"{self.where or self.name}: a tensor {spec}, expected less than 4 GiB"
            )
        return spec

    def _prepack(self, args: tuple[int, ...]) -> None:
        """The second tensor holds the first's data from the start."""
        if len(args) != 2:
            raise FormatError(f"{self.where}: {len(args)} arguments, expected 2")
        source, target = (self.blob.values[i] for i in args)
        if not isinstance(source, TensorValue) or not isinstance(target, TensorValue):
            raise FormatError(f"{self.where}: {source!r} to {target!r}, expected tensors")
        if self._spec(source) != self._spec(target) or args[1] in self.values:
            raise FormatError(f"{self.where}: {self._spec(source)} to {self._spec(target)}")
        if source.constant is None:
            raise FormatError(f"{self.where}: {self._spec(source)} is no constant")
        self.values[args[1]] = self._leaf(args[1], source, source.constant)

    def _leaf(self, index: int, value: TensorValue, place: Place | None) -> Tensor:
        """A constant, or a state where something writes it."""
        spec = self._spec(value)
        filling = Filling(place, value.dtype) if place else None
        if filling:
            self._check_filling(value, filling)
        if index in self.mutable:
            name = f"{self.prefix}{index}"
            if filling:
                self.states[name] = filling
            return self.graph.state(name, tuple(map(upper, spec.shape)), spec.dtype)
        if filling is None:
            raise FormatError(f"{self.where}: value {index} is read before it is computed")
        name = f"{filling.place.start} {value.dtype}{list(spec.shape)}"
        if name not in self.constants:
            self.constants[name] = filling
            return self.graph.constant(name, spec)
        return self.graph.constants[name]

    def _check_filling(self, value: TensorValue, filling: Filling) -> None:
        want = Spec(value.shape, value.dtype).nbytes
        if (given := filling.place.end - filling.place.start) < want:
            raise FormatError(
                f"{self.where}: at byte {filling.place.start}: a constant of {given} bytes,"
                f" {Spec(value.shape, value.dtype)} takes {want}"
            )

    def _tensor(self, index: int) -> Tensor:
        if index not in self.values:
            value = self.blob.values[index]
            if not isinstance(value, TensorValue):
                raise FormatError(f"{self.where}: value {index} is {value!r}, expected a tensor")
            self.values[index] = self._leaf(index, value, value.constant)
        found = self.values[index]
        if not isinstance(found, Tensor):
            raise FormatError(f"{self.where}: value {index} is {found!r}, expected a tensor")
        return found

    def _value(self, index: int, depth: int = 0) -> Any:
        value = self.blob.values[index]
        if isinstance(value, TensorValue):
            return self._tensor(index)
        if isinstance(value, SymInt):
            if index not in self.values:
                raise FormatError(f"{self.where}: integer {index} is read before it is computed")
            return self.values[index]
        if isinstance(value, ValueList):
            self.items += len(value.items)
            if depth or self.items > _MOST_ITEMS:
                what = "a list within a list" if depth else f"one of over {_MOST_ITEMS} list items"
                raise FormatError(f"{self.where}: value {index} is {what}")
            return tuple(self._value(i, depth + 1) for i in value.items)
        return value

    def _call(self, name: str, args: tuple[int, ...]) -> None:
        *given, last = args
        outputs = targets(self.blob, last)

        def update(position: int, tensor: Tensor) -> None:
            self.values[given[position]] = tensor
            self.graph.effect(tensor)

        specs = tuple(
            self._spec(v) if isinstance(v := self.blob.values[t], TensorValue) else None
            for t in outputs
        )
        dtypes = tuple(getattr(self.blob.values[i], "dtype", None) for i in given)
        call = Call(self.where, dtypes, specs, self.graph, update, self.prefix)
        decoded = [self._value(i) for i in given]
        try:
            result = bind(OPERATORS[name], call, decoded)
        except ShapeError as error:
            raise FormatError(f"{self.where}: {error}") from error
        except UnsupportedError as error:
            text = str(error)
            if text.startswith(self.where):
                raise
            raise UnsupportedError(f"{self.where}: {text}") from error
        self._store(outputs, specs, result)

    def _store(self, targets: Sequence[int], specs: Sequence[Spec | None], result: Result) -> None:
        """The results become the values of the outputs, if they are what the file says."""
        results = result if isinstance(result, tuple) else (result,)
        if len(results) != len(targets):
            raise FormatError(f"{self.where}: {len(targets)} outputs, expected {len(results)}")
        for target, spec, made in zip(targets, specs, results, strict=True):
            if made is None:
                continue
            if isinstance(made, int | Sym | Expr):
                if not isinstance(self.blob.values[target], SymInt):
                    raise FormatError(f"{self.where}: the output is no live integer")
            elif spec is None or not _within(made.spec, spec):
                if not all(isinstance(n, int) for n in made.shape):
                    raise UnsupportedError(
                        f"{self.where}: gives {made.spec}, of a live size that the file bounds by"
                        f" {spec}"
                    )
                raise FormatError(f"{self.where}: gives {made.spec}, the file says {spec}")
            self.values[target] = self._replaced(target, made) if target in self.values else made

    def _replaced(self, target: int, made: Any) -> Any:
        """What a value becomes that is there already: a state, overwritten."""
        old = self.values[target]
        if old is made:  # the operator wrote it
            return made
        if not isinstance(old, Tensor) or buffer_of(old).role != "state":
            raise FormatError(f"{self.where}: value {target} is computed twice")
        new = assign(old, made)
        self.graph.effect(new)
        return new


def _within(made: Spec, bound: Spec) -> bool:
    """Whether a result is what the file says, or smaller where sizes are live."""
    return (
        made.dtype == bound.dtype
        and len(made.shape) == len(bound.shape)
        and all(upper(m) <= upper(n) for m, n in zip(made.shape, bound.shape, strict=True))
    )
