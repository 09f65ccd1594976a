"""The table from an operator's name in a delegate to what builds it of this package's ops.

    @operator("aten.add.Tensor")
    def add(call: Call, a: Tensor, b: Tensor, alpha: float) -> Tensor: …

A builder gets the arguments of the file, decoded, all but the output: tensors, numbers, texts,
None, and tuples of them; a live integer is a `Dim`. Its annotations are what the file is checked
against, so that a builder sees only what it asks for. It gives a tensor, a tuple of tensors where
the operator has several outputs (None for one that nobody reads), or a `Dim`.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, Union

from ..dim import Dim, Sym
from ..errors import FormatError, UnsupportedError
from ..graph import Graph
from ..op import Spec, Tensor

Number: TypeAlias = float | bool
Result: TypeAlias = Tensor | Dim | tuple[Tensor | None, ...]
Build: TypeAlias = Callable[..., Result]


@dataclass(frozen=True)
class Operator:
    """How an operator is built; `mutates` are the positions of arguments it writes in place."""

    name: str
    build: Build
    mutates: tuple[int, ...] = ()

    @functools.cached_property
    def hints(self) -> list[tuple[str, Any]]:
        """Name and type of each argument."""
        hints = typing.get_type_hints(self.build)
        return [(p.name, hints[p.name]) for p in self._parameters if p.kind is not p.VAR_POSITIONAL]

    @functools.cached_property
    def least(self) -> int:
        """How many arguments there have to be: all without a default."""
        parameters = (p for p in self._parameters if p.kind is not p.VAR_POSITIONAL)
        return sum(p.default is p.empty for p in parameters)

    @functools.cached_property
    def open(self) -> bool:
        """Whether more arguments may follow, as where to put the result."""
        return any(p.kind is p.VAR_POSITIONAL for p in self._parameters)

    @property
    def _parameters(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self.build).parameters.values())[1:]


@dataclass(frozen=True)
class Call:
    """What a builder may know of the call beyond its arguments."""

    where: str  # for errors: the file, the call's number, the operator
    stored: tuple[str | None, ...]  # of each argument that is a tensor, its dtype in the file
    outputs: tuple[Spec | None, ...]  # what the file says comes out, at the largest sizes
    graph: Graph
    update: Callable[[int, Tensor], None]  # argument `position` has become this tensor
    prefix: str  # that makes a leaf's name its own

    @property
    def out(self) -> Spec:
        """What the file says comes out, of an operator with one output."""
        if len(self.outputs) != 1 or self.outputs[0] is None:
            raise self.malformed(f"{len(self.outputs)} outputs, expected one tensor")
        return self.outputs[0]

    def scalar(self, value: Dim) -> Tensor | int:
        """A live value for kernels: its buffer, or the int it is."""
        return value if isinstance(value, int) else self.graph.scalar(value)

    def malformed(self, what: str) -> FormatError:
        """The error for what the file must not say."""
        return FormatError(f"{self.where}: {what}")

    def unsupported(self, what: str) -> UnsupportedError:
        """The error for what is sound, but not built."""
        return UnsupportedError(f"{self.where}: {what}")


PREPACK = "et_vk.prepack.default"  # a tensor that holds a constant from the start; build.py does it
OPERATORS: dict[str, Operator] = {}


def operator(*names: str, mutates: Iterable[int] = ()) -> Callable[[Build], Build]:
    """Enter a builder under the names of its operators."""

    def enter(build: Build) -> Build:
        for name in names:
            assert name not in OPERATORS, f"{name} is registered twice"
            OPERATORS[name] = Operator(name, build, tuple(mutates))
        return build

    return enter


def bind(entry: Operator, call: Call, args: list[Any]) -> Result:
    """Build the operator of checked arguments."""
    count = len(entry.hints)
    if len(args) < entry.least or (len(args) > count and not entry.open):
        raise call.malformed(f"{len(args)} arguments, expected {count}")
    for value, (name, hint) in zip(args, entry.hints, strict=False):
        if not fits(value, hint):
            text = getattr(hint, "__name__", str(hint))
            raise call.malformed(f"{name} is {value!r}, expected {text}")
    return entry.build(call, *args)


def fits(value: Any, hint: Any) -> bool:
    """Whether a decoded value is what an annotation asks for; an int will do for a float."""
    origin = typing.get_origin(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        hints = typing.get_args(hint)
        if Sym in hints and isinstance(value, int):  # a Dim: a place may be as far as 2⁶³
            return not isinstance(value, bool)
        return any(fits(value, h) for h in hints)
    if origin is tuple:
        item = typing.get_args(hint)[0]
        return isinstance(value, tuple) and all(fits(v, item) for v in value)
    return _is(value, hint)


def _is(value: Any, hint: type) -> bool:
    if isinstance(value, bool):
        return hint is bool
    if hint is int:  # a setting, which kernels have in 32 bits
        return isinstance(value, int) and abs(value) < 1 << 31
    return isinstance(value, int | float if hint is float else hint)
