"""A loaded ExecuTorch program: its methods run on a device, outside of delegates on numpy.

    program = await tt.load_pte("model.pte")
    (logits,) = await program.forward(tokens, position)

Arrays come and go in the method's order, dtypes and live shapes. A delegate is compiled for the
shapes it is called with; the last few are kept, and all share constants, states and live integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import FormatError, ShapeError, UnsupportedError
from ..op import Array
from ..profile import Profile, Row
from ..runtime import Device
from ..session import Session
from ..weights import Source, open_source
from ..weights.source import Address
from . import blob as blobs
from . import portable, program
from .build import INSIDE, Built, Filling, build, check_operators
from .describe import describe

_KEPT = 4  # sessions of a delegate, each for other shapes
_CHUNK = 16 << 20  # bytes of the file at a time
_BACKENDS = ("VulkanBackend",)

Shapes = tuple[tuple[int, ...], ...]


@dataclass
class Delegate:
    """A part of a method that runs on the device."""

    name: str  # for errors
    prefix: str  # of its states' names
    blob: blobs.Blob
    sessions: dict[Shapes, tuple[Built, Session]] = field(default_factory=dict)

    @property
    def bounds(self) -> Shapes:
        """The inputs' shapes at their largest."""
        values = (self.blob.values[i] for i in self.blob.inputs)
        return tuple(v.shape for v in values if isinstance(v, blobs.TensorValue))


class Module:
    """A program on a device."""

    def __init__(self, device: Device, made: program.Program, delegates: Delegates) -> None:
        self.program = made
        self._device = device
        self._delegates = delegates
        self._anchor: Session | None = None  # what all sessions share with

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods' names."""
        return tuple(self.program.methods)

    def method(self, name: str) -> Method:
        """A method by name; `forward` is the usual one."""
        if name not in self.program.methods:
            raise ShapeError(
                f"{self.program.source.name} has no method {name!r}; it has {[*self.methods]}"
            )
        return Method(self, self.program.methods[name], self._delegates[name])

    async def forward(self, *inputs: ArrayLike) -> tuple[Any, ...]:
        """Run the method `forward`."""
        return await self.method("forward")(*inputs)

    async def profile(self, *inputs: ArrayLike) -> Profile:
        """Run `forward` with every dispatch timed; the outputs' names are their numbers."""
        return await self.method("forward").profile(*inputs)

    def describe(self) -> str:
        """Methods, delegates, operators and how often, and what runs on numpy."""
        return describe(
            self.program, {m: [d.blob for d in ds] for m, ds in self._delegates.items()}
        )

    async def reset(self) -> None:
        """Put every buffer that outlives a call back to what the file says."""
        for delegate in (d for ds in self._delegates.values() for d in ds):
            for built, session in [*delegate.sessions.values()][:1]:
                session.reset()
                await self._states(built, session)

    async def session(self, delegate: Delegate, shapes: Shapes) -> tuple[Built, Session]:
        """The delegate compiled for inputs of these shapes."""
        if shapes in delegate.sessions:
            delegate.sessions[shapes] = delegate.sessions.pop(shapes)  # the latest is last
            return delegate.sessions[shapes]
        built = build(delegate.name, delegate.prefix, delegate.blob, shapes)
        session = await self._device.compile(built.graph, share=self._anchor)
        self._anchor = session
        for name, filling in built.constants.items():
            held = session.store.held[name]
            if held.filled < held.spec.nbytes:
                await self._fill(session, name, filling)
        if not delegate.sessions:
            await self._states(built, session)
        delegate.sessions[shapes] = built, session
        if len(delegate.sessions) > _KEPT:
            oldest = next(iter(delegate.sessions))
            delegate.sessions.pop(oldest)[1].destroy()
        return built, session

    async def _fill(self, session: Session, name: str, filling: Filling) -> None:
        """Stream a constant from the file to the device."""
        source, spec = self.program.source, session.graph.constants[name].spec
        if filling.stored != spec.dtype:
            session.fill(name, await self._converted(filling, spec.at({}), spec.dtype))
            return
        start = filling.place.start
        for offset in range(0, spec.nbytes, _CHUNK):
            end = min(offset + _CHUNK, spec.nbytes)
            session.fill(name, await source.foreign(start + offset, start + end), offset)

    async def _states(self, built: Built, session: Session) -> None:
        for name, filling in built.states.items():
            spec = session.graph.states[name].spec
            array = await self._converted(filling, spec.at({}), spec.dtype)
            session.state(name).write(array)

    async def _converted(self, filling: Filling, shape: tuple[int, ...], dtype: str) -> Array:
        stored = np.dtype(filling.stored)
        count = int(np.prod(shape, dtype=np.int64))
        start = filling.place.start
        raw = await self.program.source.read(start, start + count * stored.itemsize)
        return np.frombuffer(raw, stored, count).astype(dtype).reshape(shape)


Delegates = Mapping[str, Sequence[Delegate]]


@dataclass(frozen=True)
class Method:
    """A method of a program, to be called with arrays in its own order."""

    module: Module
    plan: program.Method
    delegates: Sequence[Delegate]

    async def __call__(self, *inputs: ArrayLike) -> tuple[Any, ...]:
        """Run it: a numpy array for each output."""
        return (await self._run(inputs, None))[0]

    async def profile(self, *inputs: ArrayLike) -> Profile:
        """Run it with every dispatch timed; the outputs' names are their numbers."""
        rows: list[Row] = []
        outputs, rows = await self._run(inputs, rows)
        return Profile(rows, {str(i): np.asarray(a) for i, a in enumerate(outputs)})

    async def _run(
        self, inputs: Sequence[ArrayLike], rows: list[Row] | None
    ) -> tuple[tuple[Any, ...], list[Row]]:
        values = await self._values(inputs)
        who = f"{self.module.program.source.name}: {self.plan.name}"
        for call in self.plan.instructions:
            match call:
                case program.DelegateCall(delegate, args):
                    await self._delegate(self.delegates[delegate], args, values, rows)
                case program.KernelCall(name, args):
                    values[args[-1]] = self._kernel(who, name, args, values)
                case program.MoveCall(source, target):
                    values[target] = _read(values, source, who)
        return tuple(_read(values, i, who) for i in self.plan.outputs), rows or []

    def _kernel(
        self, who: str, name: str, args: tuple[int, ...], values: Mapping[int, Any]
    ) -> Array:
        """An operator outside of delegates; its result is the last argument, given twice."""
        given = args[: -1 if name.endswith("_") else -2]
        if not given:
            raise FormatError(f"{who}: {name} has {len(args)} arguments")
        out = _tensor(self.plan, args[-1], who)
        return portable.run(who, name, [_decoded(values, i, who) for i in given], out.dtype)

    async def _delegate(
        self,
        delegate: Delegate,
        args: tuple[int, ...],
        values: dict[int, Any],
        rows: list[Row] | None,
    ) -> None:
        count = len(delegate.blob.inputs)
        given = [np.asarray(_read(values, i, delegate.name)) for i in args[:count]]
        built, session = await self.module.session(delegate, tuple(a.shape for a in given))
        arrays = dict(zip(built.inputs, given, strict=True))
        if rows is None:
            found = await session.run(**arrays)
        else:
            report = await session.profile(**arrays)
            rows += report.rows
            found = report.outputs
        for name, index in zip(built.outputs, args[count:], strict=True):
            values[index] = found[name].astype(
                _tensor(self.plan, index, delegate.name).dtype, copy=False
            )

    async def _values(self, inputs: Sequence[ArrayLike]) -> dict[int, Any]:
        """What is known before the first instruction: the file's values, and the inputs."""
        if len(inputs) != len(self.plan.inputs):
            raise ShapeError(
                f"{self.plan.name} takes {len(self.plan.inputs)} inputs, got {len(inputs)}"
            )
        values: dict[int, Any] = {}
        for i, value in enumerate(self.plan.values):
            if isinstance(value, program.TensorValue):
                if value.constant:
                    values[i] = await self._constant(value)
            else:
                values[i] = value
        for position, (i, given) in enumerate(zip(self.plan.inputs, inputs, strict=True)):
            values[i] = _checked(self.plan, position, i, given)
        return values

    async def _constant(self, value: program.TensorValue) -> Array:
        assert value.constant
        dtype, count = np.dtype(value.dtype), int(np.prod(value.shape, dtype=np.int64))
        start = value.constant.start
        source = self.module.program.source
        if start + count * dtype.itemsize > value.constant.end:
            raise FormatError(
                f"{source.name}: at byte {start}: a constant {value.dtype}{list(value.shape)} does"
                f" not fit before byte {value.constant.end}"
            )
        raw = await source.read(start, start + count * dtype.itemsize)
        return np.frombuffer(raw, dtype, count).reshape(value.shape)


def _read(values: Mapping[int, Any], index: int, what: str) -> Any:
    if index not in values:
        raise FormatError(f"{what}: value {index} is read before it is computed")
    return values[index]


def _decoded(values: Mapping[int, Any], index: int, what: str) -> Any:
    """A kernel's argument: lists are of values, or refer to them."""
    value = _read(values, index, what)
    if not isinstance(value, program.ListValue):
        return value
    if value.kind in ("float", "bool"):
        return value.items
    return tuple(None if i < 0 else _read(values, i, what) for i in value.items)


def _checked(plan: program.Method, position: int, index: int, given: ArrayLike) -> Any:
    """An input as the method wants it."""
    value = plan.values[index]
    who = f"{plan.name}: input {position}"
    if not isinstance(value, program.TensorValue):
        if isinstance(value, bool | int | float) and np.ndim(given) == 0:
            return type(value)(given)  # type: ignore[arg-type]
        raise UnsupportedError(f"{who} is {value!r}, expected a tensor or a number")
    array = np.asarray(given)
    if not np.can_cast(array.dtype, value.dtype, "same_kind"):
        raise ShapeError(f"{who} is {array.dtype}, expected {value.dtype}")
    fits = array.ndim == len(value.shape) and all(
        n <= m if value.dynamic else n == m for n, m in zip(array.shape, value.shape, strict=True)
    )
    if not fits:
        most = " at most" if value.dynamic else ""
        raise ShapeError(f"{who} has shape {list(array.shape)}, expected {list(value.shape)}{most}")
    return array.astype(value.dtype, copy=False)


def _tensor(plan: program.Method, index: int, what: str) -> program.TensorValue:
    value = plan.values[index]
    if not isinstance(value, program.TensorValue):
        raise FormatError(f"{what}: value {index} is {value!r}, expected a tensor")
    return value


async def load_pte(address: Address | Source, *, device: Device | None = None) -> Module:
    """Load an ExecuTorch program: a path, a URL or bytes, on the best device unless one is given.

    Constants go from the file to the device in pieces. Raises FormatError for a malformed file,
    UnsupportedError for operators, backends or forms that are not there, before anything is
    compiled.
    """
    made = await program.read(open_source(address))
    delegates = {name: await _delegates(made, method) for name, method in made.methods.items()}
    module = Module(device or await Device.open(), made, delegates)
    for found in delegates.values():
        for delegate in found:
            await module.session(delegate, delegate.bounds)
    return module


async def _delegates(made: program.Program, method: program.Method) -> list[Delegate]:
    """The delegates of a method, each built once for its largest sizes, which checks it."""
    found = []
    for number, delegate in enumerate(method.delegates):
        name = f"{made.source.name}: {method.name}: delegate {number}"
        if delegate.id not in _BACKENDS:
            raise UnsupportedError(f"{name} is for {delegate.id!r}, expected {_BACKENDS[0]!r}")
        blob = await blobs.read(made, delegate.blob)
        prefix = f"{method.name}/{number}/"
        found.append(Delegate(name, prefix, blob))
        build(name, prefix, blob, found[-1].bounds)
    for call in method.instructions:
        if isinstance(call, program.DelegateCall):
            blob = found[call.delegate].blob
            if len(call.args) != len(blob.inputs) + len(blob.outputs):
                raise FormatError(
                    f"{found[call.delegate].name} is called with {len(call.args)} values, it has"
                    f" {len(blob.inputs)} inputs and {len(blob.outputs)} outputs"
                )
        if isinstance(call, program.KernelCall) and call.name not in portable.FUNCTIONS:
            raise UnsupportedError(
                f"{made.source.name}: {method.name}: {call.name} is outside of a delegate and not"
                " implemented"
            )
    return found
