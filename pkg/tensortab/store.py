"""What outlives a run: buffers of constants and states, live scalars; sessions may share them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .device import Backend, Buffer
from .errors import ShapeError
from .op import Array, Spec


@dataclass
class Held:
    """A leaf's buffer, which sessions may share."""

    buffer: Buffer
    spec: Spec
    filled: int = 0
    sessions: int = 0  # that use it; the last one frees it


class Store:
    """What sessions share: buffers of constants, states and scalars, and the scalars' values."""

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.values: dict[str, int] = {}  # symints
        self.written: dict[str, int] = {}  # what each scalar's buffer holds

    def buffer(self, backend: Backend, name: str, spec: Spec) -> Buffer:
        """The leaf's buffer, made when it is first asked for."""
        if name not in self.held:
            self.held[name] = Held(backend.alloc(spec.nbytes, label=name), spec)
        held = self.held[name]
        if held.spec != spec:
            raise ShapeError(f"{name!r} is {spec}; the session it is shared with has {held.spec}")
        held.sessions += 1
        return held.buffer

    def release(self, backend: Backend, name: str) -> None:
        """Count a session off; the buffer goes with the last."""
        held = self.held[name]
        held.sessions -= 1
        if not held.sessions:
            backend.free(held.buffer)
            del self.held[name]
            self.written.pop(name, None)


@dataclass(frozen=True)
class State:
    """A named buffer that outlives a run."""

    backend: Backend
    name: str
    held: Held

    async def read(self) -> Array:
        """Its contents."""
        data = await self.backend.read(self.held.buffer, self.held.spec.nbytes)
        return np.frombuffer(data, self.held.spec.dtype).reshape(self.held.spec.at({}))

    def write(self, array: ArrayLike) -> None:
        """Replace its contents; the shape must be the state's."""
        data = np.ascontiguousarray(array, self.held.spec.dtype)
        if data.shape != self.held.spec.shape:
            raise ShapeError(
                f"state {self.name!r} is {self.held.spec}, got an array {list(data.shape)}"
            )
        self.backend.write(self.held.buffer, data)

    def clear(self) -> None:
        """Zero its contents, on the device."""
        self.backend.copy(None, self.held.buffer, self.held.spec.nbytes)


@dataclass(frozen=True)
class Snapshot:
    """Copies of a session's states, on the device, and its symints."""

    backend: Backend
    states: dict[str, Buffer]
    values: dict[str, int]

    def destroy(self) -> None:
        """Free the copies."""
        for buffer in self.states.values():
            self.backend.free(buffer)
