"""A loaded ExecuTorch program: its methods run on a device, outside of delegates on numpy.

    program = await tt.load_pte("model.pte")
    (logits,) = await program.forward(tokens, position)

Arrays come and go in the method's order, dtypes and live shapes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..bars import Progress, told
from ..errors import FormatError, ShapeError, UnsupportedError
from ..op import Array
from ..pictured import html
from ..profile import Profile, Row
from ..runtime import Device
from ..weights import Source, open_source
from ..weights.source import Address
from . import blob, dtypes, portable, program, schema
from .check import check
from .delegate import Delegate, Host
from .describe import describe
from .schema import DelegateCall, KernelCall, ListValue, MoveCall, TensorValue

_COPY = "aten::copy_"  # into its first argument, which is its result


@dataclass(frozen=True)
class Module:
    """A program on a device."""

    program: schema.Program
    host: Host
    methods: Mapping[str, Method]

    def method(self, name: str) -> Method:
        """A method by name, to be called as `forward` is."""
        if name not in self.methods:
            raise ShapeError(
                f"{self.program.source.name} has no method {name!r}; it has {[*self.methods]}"
            )
        return self.methods[name]

    async def forward(self, *inputs: ArrayLike) -> tuple[Any, ...]:
        """Run the method `forward`: a numpy array for each output."""
        return await self.method("forward")(*inputs)

    async def profile(self, *inputs: ArrayLike) -> Profile:
        """Run `forward` with every dispatch timed; the outputs' names are their numbers."""
        return await self.method("forward").profile(*inputs)

    def describe(self) -> str:
        """Methods, delegates, operators and how often, and what runs on numpy."""
        blobs = {n: [d.blob for d in m.delegates] for n, m in self.methods.items()}
        return describe(self.program, blobs)

    _repr_html_ = html

    async def reset(self) -> None:
        """Put every buffer that outlives a call back to what the file says."""
        for method in self.methods.values():
            method.buffers.clear()
        for delegate in self._delegates():
            await delegate.reset(self.host)

    def close(self) -> None:
        """Free everything the program has on the device."""
        for delegate in self._delegates():
            delegate.close()

    def _delegates(self) -> list[Delegate]:
        return [d for m in self.methods.values() for d in m.delegates]


@dataclass(frozen=True)
class Method:
    """A method of a program, called with arrays in its own order."""

    where: str  # for errors: the file and the method
    host: Host
    plan: schema.Method
    delegates: Sequence[Delegate]
    constants: Mapping[int, Array]
    buffers: dict[int, Array] = field(default_factory=dict)  # what the last call left in them

    async def __call__(self, *inputs: ArrayLike) -> tuple[Any, ...]:
        """Run it: a numpy array for each output."""
        return await self._run(inputs, None)

    async def profile(self, *inputs: ArrayLike) -> Profile:
        """Run it with every dispatch timed; the outputs' names are their numbers."""
        rows: list[Row] = []
        outputs = await self._run(inputs, rows)
        return Profile(rows, {str(i): np.asarray(a) for i, a in enumerate(outputs)})

    async def _run(self, inputs: Sequence[ArrayLike], rows: list[Row] | None) -> tuple[Any, ...]:
        values = self._values(inputs)
        for call in self.plan.instructions:
            match call:
                case DelegateCall(number, args):
                    delegate = self.delegates[number]
                    count = len(delegate.blob.inputs)
                    given = [self._read(values, i) for i in args[:count]]
                    found = await delegate.run(self.host, given, rows)
                    for index, made in zip(args[count:], found, strict=True):
                        values[index] = made if isinstance(made, int) else self._cast(index, made)
                case KernelCall(name, args):
                    values[args[-1]] = self._kernel(name, args, values)
                case MoveCall(source, target):
                    values[target] = self._read(values, source)
        self.buffers.update((i, values[i]) for i in self._written)
        return tuple(self._read(values, i) for i in self.plan.outputs)

    @property
    def _written(self) -> set[int]:
        """The buffers that live from call to call: what is copied into, and is no input."""
        calls = (c for c in self.plan.instructions if isinstance(c, KernelCall))
        targets = {c.args[-1] for c in calls if c.name == _COPY and c.args[0] == c.args[-1]}
        return targets - {*self.plan.inputs}

    def _values(self, inputs: Sequence[ArrayLike]) -> dict[int, Any]:
        """What is known before the first instruction: the file's values, and the inputs."""
        if len(inputs) != len(self.plan.inputs):
            raise ShapeError(
                f"{self.where} takes {len(self.plan.inputs)} inputs, got {len(inputs)}"
            )
        known = enumerate(self.plan.values)
        values = {i: v for i, v in known if not isinstance(v, TensorValue)} | dict(self.constants)
        for i in self._written - values.keys():
            held = self._tensor(i)
            values[i] = np.broadcast_to(np.zeros((), held.dtype), held.shape)
        values |= self.buffers
        for position, (i, given) in enumerate(zip(self.plan.inputs, inputs, strict=True)):
            values[i] = self._checked(position, i, given)
        return values

    def _checked(self, position: int, index: int, given: ArrayLike) -> Any:
        """An input as the method wants it."""
        value = self.plan.values[index]
        who = f"{self.where}: input {position}"
        if not isinstance(value, TensorValue):
            if isinstance(value, bool | int | float) and np.ndim(given) == 0:
                return type(value)(given)  # type: ignore[arg-type]
            raise UnsupportedError(f"{who} is {value!r}, expected a tensor or a number")
        array = np.asarray(given)
        if not np.can_cast(array.dtype, dtypes.host(value.dtype), "same_kind"):
            raise ShapeError(f"{who} is {array.dtype}, expected {value.dtype}")
        fits = array.ndim == len(value.shape) and all(
            n <= m if value.dynamic else n == m
            for n, m in zip(array.shape, value.shape, strict=True)
        )
        if not fits:
            most = " at most" if value.dynamic else ""
            raise ShapeError(
                f"{who} has shape {list(array.shape)}, expected {list(value.shape)}{most}"
            )
        return dtypes.cast(array, value.dtype)

    def _kernel(self, name: str, args: tuple[int, ...], values: Mapping[int, Any]) -> Array:
        """An operator outside of delegates; its result is the last argument, given twice."""
        given = args[: -1 if name.endswith("_") else -2]
        out = self._tensor(args[-1])
        arrays = [self._decoded(values, i) for i in given]
        return portable.run(self.where, name, arrays, out.dtype, math.prod(out.shape))

    def _decoded(self, values: Mapping[int, Any], index: int) -> Any:
        """A kernel's argument: lists are of values, or refer to them."""
        value = self._read(values, index)
        if not isinstance(value, ListValue):
            return value
        if value.kind in ("float", "bool"):
            return value.items
        return tuple(None if i < 0 else self._read(values, i) for i in value.items)

    def _read(self, values: Mapping[int, Any], index: int) -> Any:
        if index not in values:
            raise FormatError(f"{self.where}: value {index} is read before it is computed")
        return values[index]

    def _cast(self, index: int, array: Array) -> Array:
        return dtypes.cast(array, self._tensor(index).dtype)

    def _tensor(self, index: int) -> TensorValue:
        value = self.plan.values[index]
        if not isinstance(value, TensorValue):
            raise FormatError(f"{self.where}: value {index} is {value!r}, expected a tensor")
        return value


async def load_pte(
    address: Address | Source,
    *,
    device: Device | None = None,
    progress: Progress | bool | None = None,
) -> Module:
    """Load an ExecuTorch program: a path, a URL or bytes, on the best device unless one is given.

    `progress` is called with "weights", the bytes of constants on the device, and how many there
    are; True shows a bar (bars.py), None does so in a notebook.

    Constants go from the file to the device in pieces: now, or where sizes are live with the first
    call, which is compiled for the sizes it has. Raises FormatError for a malformed file,
    UnsupportedError for operators, backends or forms that are not there, before anything is
    compiled.
    """
    made = await program.read(open_source(address))
    checked = {name: await check(made, plan) for name, plan in made.methods.items()}
    host = Host(device or await Device.open(), made.source)
    methods = {}
    for name, plan in made.methods.items():
        constants = await _constants(made.source, plan)
        where = f"{made.source.name}: {name}"
        methods[name] = Method(where, host, plan, checked[name], constants)
    loaded = Module(made, host, methods)
    try:
        with told(progress) as tell:
            await _prepare(host, methods.values(), tell)
    except BaseException:  # whatever stopped it, its buffers go
        loaded.close()
        raise
    return loaded


async def _prepare(host: Host, methods: Iterable[Method], tell: Progress | None) -> None:
    """Compile and fill the delegates whose sizes are known."""
    fixed = [
        (delegate, delegate.bounds)
        for method in methods
        if not any(isinstance(v, TensorValue) and v.dynamic for v in method.plan.values)
        for delegate in method.delegates
        if delegate.bounds is not None
    ]
    total, done = sum(blob.sizes(delegate.blob.values) for delegate, _ in fixed), 0
    for delegate, bounds in fixed:
        await delegate.session(host, bounds, tell and partial(_tell, tell, done, total))
        done += blob.sizes(delegate.blob.values)
        if tell and total:
            tell("weights", done, total)


def _tell(tell: Progress, before: int, total: int, done: int) -> None:
    """What one delegate has, as a part of all."""
    tell("weights", before + done, total)


async def _constants(source: Source, method: schema.Method) -> dict[int, Array]:
    """The tensors of a method whose data lie in the file."""
    found = {}
    for index, value in enumerate(method.values):
        if isinstance(value, TensorValue) and value.constant:
            size = math.prod(value.shape) * dtypes.width(value.dtype)
            start, end = value.constant.start, value.constant.end
            if size > end - start:
                raise FormatError(
                    f"{source.name}: at byte {start}: {end - start} bytes for a constant"
                    f" {value.dtype}{list(value.shape)}, expected {size}"
                )
            raw = await source.read(start, start + size)
            found[index] = dtypes.decode(raw, value.dtype, value.shape)
    return found
