"""Ops called on numpy arrays at once, without a graph of one's own.

    y = await tt.ops.gelu.on(device, x)
    y = await tt.call(lambda x, w: tt.ops.silu(tt.ops.linear(x, w)), x, w)

Arrays become tensors, whatever else is given (numbers, shapes, options) stays what it is. Arrays of
64 bits are taken as 32, since kernels know no others: float64 as float32, int64 as int32 where the
values fit. What comes back is what the function gives, arrays for tensors; operands that it writes
in place and does not give follow, so that `update_caches` gives q and both caches.

Each combination of kernels, shapes and options is compiled once and kept: up to 64 of them, and of
256 MiB of buffers, the latest. Calls on one device run one after the other.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .device import Backend
from .errors import ShapeError
from .graph import Graph, order
from .op import Array, Op, Tensor, buffer_of, overwritten
from .ops.state import after
from .plan import Plan, largest, plan
from .session import Session
from .store import Store

MOST = 64  # compiled combinations
MOST_BYTES = 256 << 20  # of their buffers
_NARROWED = {"float64": "float32", "int64": "int32", "uint64": "uint32"}
_INT32 = (1 << 31) - 1


class Eager:
    """The compiled combinations of one device, the latest used last."""

    def __init__(self, backend: Backend) -> None:
        self.sessions: dict[tuple[Any, ...], Session] = {}
        self._backend = backend
        self._turn = asyncio.Lock()

    async def call(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Run `function` on arrays."""
        traced = Traced.of(function, args, kwargs)
        made = plan(traced.graph, self._backend.target)
        key = _key(traced.graph, made)
        async with self._turn:
            session = self.sessions.pop(key, None)
            if session is None:
                session = await Session.create(self._backend, traced.graph, made, Store())
            self.sessions[key] = session
            try:
                session.set(**traced.live)
                outputs = await session.run(**traced.arrays)
            finally:
                self._trim()
        return traced.result(outputs)

    def _trim(self) -> None:
        """Free the oldest, until what is kept is few and small enough."""
        sizes = {k: sum(s.nbytes for s in v.plan.slots) for k, v in self.sessions.items()}
        while len(sizes) > MOST or sum(sizes.values()) > MOST_BYTES:
            oldest = next(iter(sizes))
            del sizes[oldest]
            self.sessions.pop(oldest).destroy()


@dataclass
class Traced:
    """The graph of one call, and the values of its leaves."""

    graph: Graph = field(default_factory=Graph)
    arrays: dict[str, Array] = field(default_factory=dict)
    live: dict[str, int] = field(default_factory=dict)  # scalars that an op advances
    form: Any = None  # what the function gave

    @classmethod
    def of(
        cls, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Traced:
        """Call the function on tensors in place of the arrays."""
        self = cls()
        given = _signature(function).bind(*args, **kwargs)
        # Only a live scalar can be advanced, so that is what the operand of such an op becomes.
        moved = function.becomes[0] if isinstance(function, Op) and function.becomes else None
        for i, (name, value) in enumerate(given.arguments.items()):
            given.arguments[name] = (
                self._scalar(name, value) if i == moved else self._leaf(name, value)
            )
        self.form = function(*given.args, **given.kwargs)
        found = list(_tensors(self.form))
        if not found or not all(isinstance(t, Tensor) for t in found):
            raise ShapeError(
                f"{_name(function)} gives {self.form!r}, expected a tensor or a tuple of tensors"
            )
        written = _written(found)
        if written:
            self.form = (*found, *written)
        for i, tensor in enumerate(_tensors(self.form)):
            self.graph.output(str(i), tensor)
        return self

    def _leaf(self, name: str, value: Any) -> Any:
        if isinstance(value, tuple | list):
            several = [self._leaf(f"{name}{i}", v) for i, v in enumerate(value)]
            return several if isinstance(value, list) else tuple(several)
        if isinstance(value, dict):
            return {k: self._leaf(f"{name}_{k}", v) for k, v in value.items()}
        if isinstance(value, np.generic):
            return value.item()
        if not isinstance(value, np.ndarray):
            return value
        dtype = _NARROWED.get(value.dtype.name, value.dtype.name)
        if value.dtype.kind not in "fiub" or not value.size:
            raise ShapeError(
                f"{name} is {dtype}{list(value.shape)}, expected numbers or booleans, at least one"
            )
        self.arrays[name] = value
        return self.graph.input(name, value.shape, dtype)

    def _scalar(self, name: str, value: Any) -> Tensor:
        number = np.asarray(value)
        if number.size != 1 or number.dtype.kind not in "iu":
            raise ShapeError(f"{name} is {value!r}, expected one integer")
        self.live[name] = int(number.reshape(()))
        return self.graph.symint(name, _INT32)

    def result(self, outputs: Mapping[str, Array]) -> Any:
        """The arrays in the form the function gave, each the caller's own."""
        arrays = [a.copy() for a in outputs.values()]
        return tuple(arrays) if isinstance(self.form, tuple | list) else arrays[0]


def _tensors(form: Any) -> Iterator[Any]:
    if isinstance(form, tuple | list):
        yield from form
    else:
        yield form


def _written(found: Sequence[Tensor]) -> list[Tensor]:
    """The operands that were written in place, as they are after it, but those that are given."""
    last = {id(leaf): (leaf, t) for t in order(found) for leaf in overwritten(t) if leaf.role}
    given = [buffer_of(t) for t in found]
    return [
        t if buffer_of(t) is leaf else after(leaf, t)
        for leaf, t in last.values()
        if not any(g is leaf for g in given)
    ]


def _key(graph: Graph, made: Plan) -> tuple[Any, ...]:
    """All that makes two calls the same: what the GPU is told, and for numpy the ops."""
    env = largest(graph)
    return (
        made.slots,
        tuple((s.kernel, s.slots, s.pack(env), s.workgroups(env), s.uniform) for s in made.steps),
        *(tuple(table.items()) for table in (made.leaves, made.outputs, made.advances)),
        tuple(t.op or t.spec for t in graph.nodes()),
    )


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return function.signature if isinstance(function, Op) else inspect.signature(function)


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "name", getattr(function, "__name__", function)))
