"""A delegate on a device: compiled for the shapes it is called with.

The last few shapes are kept, and all share constants, states and live integers, so that a prompt
and the tokens after it are two plans over one set of weights and one cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..dim import value
from ..errors import FormatError, ShapeError
from ..op import Array
from ..profile import Row
from ..runtime import Device
from ..session import Session
from ..weights import Source
from .blob import Blob, SymInt, TensorValue
from .build import Built, Sizes, build
from .fill import fill

_KEPT = 4  # sessions of a delegate, each for other shapes


@dataclass
class Host:
    """What the delegates of a program share."""

    device: Device
    source: Source
    anchor: Session | None = None  # the latest session: whose buffers the next one shares


@dataclass
class Delegate:
    """A part of a method that runs on the device."""

    name: str  # for errors
    prefix: str  # of its states' names
    blob: Blob
    sessions: dict[Sizes, tuple[Built, Session]] = field(default_factory=dict)

    @property
    def bounds(self) -> Sizes | None:
        """The inputs' shapes at their largest; None where there are integers among them."""
        values = [self.blob.values[i] for i in self.blob.inputs]
        if any(isinstance(v, SymInt) for v in values):
            return None
        return tuple(v.shape if isinstance(v, TensorValue) else () for v in values)

    async def run(
        self, host: Host, inputs: Sequence[Any], rows: list[Row] | None
    ) -> tuple[Array | int, ...]:
        """The outputs in the blob's order; with `rows` each dispatch is timed and noted there."""
        kinds = [isinstance(self.blob.values[i], SymInt) for i in self.blob.inputs]
        sizes = tuple(
            self._integer(i, given) if whole else np.shape(given)
            for i, (given, whole) in enumerate(zip(inputs, kinds, strict=True))
        )
        built, session = await self.session(host, sizes)
        named = zip(built.inputs, inputs, strict=True)
        arrays = {name: given for name, given in named if name is not None}
        if rows is None:
            found = await session.run(**arrays)
        else:
            report = await session.profile(**arrays)
            rows += report.rows
            found = report.outputs
        live = session.store.values
        return tuple(found[o] if isinstance(o, str) else value(o, live) for o in built.outputs)

    def _integer(self, number: int, given: Any) -> int:
        found = np.asarray(given)
        if found.size != 1 or found.dtype.kind not in "biu":
            raise FormatError(f"{self.name}: input {number} is {given!r}, expected an integer")
        return int(found.item())

    async def session(
        self, host: Host, sizes: Sizes, filled: Callable[[int], None] | None = None
    ) -> tuple[Built, Session]:
        """The delegate compiled for inputs of these sizes; `filled` is told bytes of constants."""
        if sizes in self.sessions:
            self.sessions[sizes] = self.sessions.pop(sizes)  # the latest is last
            return self.sessions[sizes]
        built = build(self.name, self.prefix, self.blob, sizes)
        try:
            session = await host.device.compile(built.graph, share=host.anchor)
        except ShapeError as error:  # as of what is read after it was overwritten
            raise FormatError(f"{self.name}: {error}") from error
        held = session.store.held
        leaves = [
            (held[name], filling)
            for name, filling in built.constants.items()
            if held[name].filled < held[name].spec.nbytes
        ]
        try:
            await fill(host.device.backend, host.source, leaves, filled)
            if not self.sessions:
                await _restore(host, built, session)
        except BaseException:  # whatever stopped it, its buffers go
            session.destroy()
            raise
        host.anchor = session
        self.sessions[sizes] = built, session
        if len(self.sessions) > _KEPT:
            oldest = next(iter(self.sessions))
            self.sessions.pop(oldest)[1].destroy()
        return built, session

    async def reset(self, host: Host) -> None:
        """Put every buffer that outlives a call back to what the file says."""
        for built, session in [*self.sessions.values()][:1]:  # they share them
            session.reset()
            await _restore(host, built, session)

    def close(self) -> None:
        """Free its sessions' buffers."""
        for _, session in self.sessions.values():
            session.destroy()
        self.sessions.clear()


async def _restore(host: Host, built: Built, session: Session) -> None:
    """Give the states what the file has for them; the rest are zeros."""
    held = session.store.held
    leaves = [(held[name], filling) for name, filling in built.states.items()]
    await fill(host.device.backend, host.source, leaves)
