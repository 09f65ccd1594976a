"""A device, and a plan on it with its buffers: compile once, run many times.

    device = await Device.open()
    session = await device.compile(graph)
    session.fill("weight", array)          # constants the graph had no array for
    out = await session.run(x=array)       # {"y": numpy array}

A run writes what changed, replays every dispatch and reads the outputs: in a browser three calls
through the FFI, whatever the graph's size.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from .device import Backend, Buffer, Bytes, Read, Recording, Workgroups, Write
from .device.reference import TARGET, ReferenceSession
from .errors import DeviceError, ShapeError
from .graph import Array, Graph
from .plan import Plan, largest, plan
from .target import Target

Kind = Literal["browser", "native", "reference"]


class Session(Protocol):
    """A compiled graph."""

    graph: Graph

    def fill(self, name: str, data: Bytes, offset: int = 0) -> None:
        """Write a constant's bytes, or the part of them that begins at byte `offset`.

        `data` is an array, bytes, or in a browser a JS Uint8Array.
        """

    async def run(self, **inputs: ArrayLike) -> dict[str, Array]:
        """Compute the outputs; a symbolic dimension takes any size up to its maximum."""

    def destroy(self) -> None:
        """Free the session's buffers."""


class Device:
    """navigator.gpu in a browser, wgpu natively, numpy where there is neither."""

    def __init__(self, backend: Backend | None) -> None:
        self.backend = backend  # None: the numpy reference

    @classmethod
    async def open(cls, kind: Kind | None = None) -> Device:
        """Open a device; without `kind` the best there is, numpy with a warning at worst.

        Raises DeviceError where `kind` is asked for and cannot be had.
        """
        wanted = kind or ("browser" if sys.platform == "emscripten" else "native")
        if wanted == "reference":
            return cls(None)
        try:
            return cls(await _open(wanted))
        except (DeviceError, ImportError) as e:
            if kind:
                raise DeviceError(f"no {kind} device: {e}") from e
            warnings.warn(f"no GPU, so numpy computes, slowly: {e}", RuntimeWarning, stacklevel=2)
            return cls(None)

    @property
    def info(self) -> Target:
        """Vendor, architecture, description, and whether it is a GPU imitated on the CPU."""
        return self.backend.target if self.backend else TARGET

    @property
    def features(self) -> frozenset[str]:
        """WebGPU features, of those this package uses."""
        return self.info.features

    @property
    def limits(self) -> dict[str, int]:
        """WebGPU limits, of those this package uses."""
        return dict(self.info.limits)

    async def compile(self, graph: Graph, *, share: Session | None = None) -> Session:
        """Plan `graph`, compile its kernels, allocate and bind its buffers.

        `share` is another session of this device whose constants of the same names are used too.
        """
        if not self.backend:
            return ReferenceSession(graph, share if isinstance(share, ReferenceSession) else None)
        made = plan(graph, self.info)
        shared = share._constants if isinstance(share, GpuSession) else {}  # noqa: SLF001
        return await GpuSession.create(self.backend, graph, made, shared)

    def close(self) -> None:
        """Give the device back; its sessions are gone."""
        if self.backend:
            self.backend.close()


async def _open(kind: str) -> Backend:
    # Each backend imports what only its platform has.
    if kind == "browser":
        from .device.browser import BrowserBackend  # noqa: PLC0415

        return await BrowserBackend.open()
    from .device.native import NativeBackend  # noqa: PLC0415

    return NativeBackend()


class GpuSession:
    """A plan's buffers and its recording on a backend."""

    def __init__(
        self,
        backend: Backend,
        graph: Graph,
        made: Plan,
        buffers: Sequence[Buffer],
        constants: dict[str, _Constant],
    ) -> None:
        self.graph = graph
        self.plan = made
        self._backend = backend
        self._buffers = buffers
        self._constants = constants
        self._env = largest(graph)
        self._recording: Recording
        self._lock = asyncio.Lock()  # a run owns the readback buffer until it is done

    @classmethod
    async def create(
        cls, backend: Backend, graph: Graph, made: Plan, shared: dict[str, _Constant]
    ) -> GpuSession:
        compiling = asyncio.ensure_future(backend.compile(made.kernels))
        constants = {n: shared[n] for n in made.constants if n in shared}
        buffers = []
        for i, slot in enumerate(made.slots):
            held = constants.get(slot.name) if slot.role == "constant" else None
            label = slot.name or f"work {i}"
            buffers.append(held.buffer if held else backend.alloc(slot.nbytes, label=label))
        for name, i in made.constants.items():
            spec = graph.constants[name].spec
            held = constants.setdefault(name, _Constant(buffers[i], spec.nbytes))
            if held.nbytes != spec.nbytes:
                raise ShapeError(f"constant {name!r} is {spec}; shared, it has {held.nbytes} bytes")
            held.sessions += 1
        buffers.append(backend.alloc(made.uniform_bytes, uniform=True, label="uniforms"))
        self = cls(backend, graph, made, buffers, constants)
        for name, array in graph.values.items():
            if name not in shared:
                self.fill(name, array)
        for step in made.steps:
            if step.uniform:
                backend.write(buffers[-1], step.pack(self._env), step.uniform[0])
        pipelines = await compiling
        self._recording = await backend.record(buffers, pipelines, made.bound(self._env))
        return self

    def fill(self, name: str, data: Bytes, offset: int = 0) -> None:
        if name not in self._constants:
            raise ShapeError(f"the graph has no constant {name!r}")
        held = self._constants[name]
        size = int(data.byteLength) if hasattr(data, "byteLength") else memoryview(data).nbytes
        if offset % 4 or offset + size > held.nbytes:
            raise ShapeError(
                f"constant {name!r}: {size} bytes at byte {offset}, expected to end within"
                f" {held.nbytes} ({self.graph.constants[name].spec}) and start at a multiple of 4"
            )
        self._backend.write(held.buffer, data, offset)
        held.filled += size

    async def run(self, **inputs: ArrayLike) -> dict[str, Array]:
        arrays, env = self.graph.bind(inputs)
        empty = [
            n for n in self.plan.constants if self._constants[n].filled < self._constants[n].nbytes
        ]
        if empty:
            raise ShapeError(f"{len(empty)} constants have no value yet: {', '.join(empty[:5])}")
        async with self._lock:
            writes = [Write(self.plan.inputs[n], 0, a.tobytes()) for n, a in arrays.items()]
            resized, grids = self._resize(env)
            shapes = {n: spec.at(env) for n, (_, spec) in self.plan.outputs.items()}
            reads = [
                Read(slot, int(np.prod(shapes[n])) * np.dtype(spec.dtype).itemsize)
                for n, (slot, spec) in self.plan.outputs.items()
            ]
            data = await self._recording.run([*writes, *resized], grids, reads)
        return {
            n: np.frombuffer(d, spec.dtype).reshape(shapes[n])
            for d, (n, (_, spec)) in zip(data, self.plan.outputs.items(), strict=True)
        }

    def _resize(self, env: dict[str, int]) -> tuple[list[Write], list[tuple[int, Workgroups]]]:
        """Uniforms and grids of just the steps that depend on a size that changed."""
        changed = {n for n, v in env.items() if self._env.get(n) != v}
        self._env = env
        writes, grids = [], []
        if changed:
            for i, step in enumerate(self.plan.steps):
                if changed & step.symbols:
                    if step.uniform:
                        uniforms = len(self._buffers) - 1
                        writes.append(Write(uniforms, step.uniform[0], step.pack(env)))
                    grids.append((i, step.workgroups(env)))
        return writes, grids

    def destroy(self) -> None:
        self._recording.destroy()
        shared = set()
        for held in self._constants.values():
            held.sessions -= 1
            if held.sessions:
                shared.add(id(held.buffer))
        for buffer in self._buffers:
            if id(buffer) not in shared:
                self._backend.free(buffer)


class _Constant:
    """A weight's buffer, which sessions may share."""

    def __init__(self, buffer: Any, nbytes: int) -> None:
        self.buffer = buffer
        self.nbytes = nbytes
        self.filled = 0
        self.sessions = 0  # that use it; the last one frees it
