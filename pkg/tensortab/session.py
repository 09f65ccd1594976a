"""A plan on a device with its buffers: compile once, run many times.

    device = await Device.open()
    session = await device.compile(graph)
    session.fill("weight", array)          # constants the graph had no array for
    out = await session.run(x=array)       # {"y": numpy array}

A run writes what changed, replays every dispatch and reads the outputs: in a browser three calls
through the FFI, whatever the graph's size.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import warnings
from collections.abc import Awaitable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .device import (
    TIMED,
    Backend,
    Buffer,
    Bytes,
    Layout,
    Read,
    Recording,
    Run,
    Write,
    size_of,
)
from .errors import DeviceError, ShapeError
from .graph import Graph
from .live import Live
from .op import Array
from .plan import Plan
from .profile import Profile, rows
from .store import Snapshot, State, Store

_NO_CLOCK = "{} has no timestamp-query, so nothing is timed"


class Session:
    """A compiled graph: its buffers, its live scalars, and its state between runs."""

    def __init__(self, backend: Backend, graph: Graph, made: Plan, store: Store) -> None:
        self.graph = graph
        self.plan = made
        self.store = store
        self.live = Live(graph, made, store)
        self._backend = backend
        self._buffers: list[Buffer] = []  # slot by slot, then the uniforms
        self._held = ExitStack()  # what `destroy` gives back
        self._recording: Recording
        self._unfilled = list(graph.constants)  # as far as is known
        self._profiled = os.environ.get("WEBGPU_TIMESTAMP_QUERY") == "1"

    @classmethod
    async def create(cls, backend: Backend, graph: Graph, made: Plan, store: Store) -> Session:
        self = cls(backend, graph, made, store)
        compiling = asyncio.ensure_future(backend.compile(made.kernels))
        try:
            await self._build(compiling)
        except BaseException:  # whatever stopped it, cancelling too, its buffers go
            compiling.cancel()
            await asyncio.gather(compiling, return_exceptions=True)
            self.destroy()
            raise
        return self

    async def _build(self, compiling: Awaitable[Any]) -> None:
        """Allocate, write what is known, bind."""
        backend, graph, made, store = self._backend, self.graph, self.plan, self.store
        fresh = {n for n in graph.values if n not in store.held}
        for i, slot in enumerate(made.slots):
            if slot.name in made.leaves and slot.role not in ("input", "output"):
                spec = graph.leaves[slot.name].spec
                self._buffers.append(store.buffer(backend, slot.name, spec))
                self._held.callback(store.release, backend, slot.name)
            else:
                self._alloc(slot.nbytes, label=slot.name or f"work {i}")
        self._alloc(made.uniform_bytes, uniform=True, label="uniforms")
        for name, sym in graph.symints.items():
            store.values.setdefault(name, sym.min)
        for name in fresh:
            self.fill(name, graph.values[name])
        for step in made.steps:
            if step.uniform:
                backend.write(self._buffers[-1], step.pack(self.live.env), step.uniform[0])
        pipelines = await compiling
        layout = Layout(graph, made.leaves, {n: slot for n, (slot, _) in made.outputs.items()})
        steps = made.bound(self.live.env)
        self._recording = await backend.record(self._buffers, pipelines, steps, layout)
        self._held.callback(self._recording.destroy)

    def _alloc(self, nbytes: int, label: str, *, uniform: bool = False) -> None:
        buffer = self._backend.alloc(nbytes, uniform=uniform, label=label)
        self._buffers.append(buffer)
        self._held.callback(self._backend.free, buffer)

    def fill(self, name: str, data: Bytes, offset: int = 0) -> None:
        """Write a constant's bytes, or the part of them that begins at byte `offset`.

        `data` is an array, bytes, or in a browser a JS Uint8Array.
        """
        if name not in self.graph.constants:
            raise ShapeError(f"the graph has no constant {name!r}")
        held = self.store.held[name]
        size = size_of(data)
        if offset % 4 or offset + size > held.spec.nbytes:
            raise ShapeError(
                f"constant {name!r}: {size} bytes at byte {offset}, expected to end within"
                f" {held.spec.nbytes} ({held.spec}) and start at a multiple of 4"
            )
        self._backend.write(held.buffer, data, offset)
        held.filled += size

    def set(self, **symints: int) -> None:
        """Give live scalars new values; out of bounds is a ShapeError and changes nothing.

        The next run writes what changed and evaluates the uniforms and grids that depend on it.
        """
        for name, number in symints.items():
            self.graph.check_symint(name, number)
        self.store.values.update({n: int(v) for n, v in symints.items()})

    def get(self, symint: str) -> int:
        """A live scalar's value."""
        self.graph.check_symint(symint, self.store.values.get(symint, 0))
        return self.store.values[symint]

    def truncate(self, **symints: int) -> None:
        """Go back: `set`, but never beyond the present values, where a cache holds nothing."""
        for name, number in symints.items():
            if number > (now := self.get(name)):
                raise ShapeError(f"truncate: {name} = {number} is beyond the present {now}")
        self.set(**symints)

    async def run(self, **inputs: ArrayLike) -> dict[str, Array]:
        """Compute the outputs; a symbolic dimension takes any size up to its maximum."""
        if self._profiled:
            report = await self.profile(**inputs)
            print(report, file=sys.stderr)  # noqa: T201  # what the variable asks for
            return report.outputs
        return {n: a[0] for n, a in (await self.run_steps(1, **inputs)).items()}

    def run_steps(self, steps: int, **inputs: ArrayLike) -> Awaitable[dict[str, Array]]:
        """Run `steps` times in one submission, each from the state the one before it left.

        Outputs are stacked, [steps, …]. All is submitted when this returns: await it late, and the
        GPU never waits for the host.
        """
        run = self._prepare(steps, inputs)
        return self._read(self._recording.submit(run), run)

    def time_steps(
        self, steps: int, **inputs: ArrayLike
    ) -> Awaitable[tuple[dict[str, Array], Array]]:
        """The same, and what each step took on the GPU: int64 [steps], ns by its own clock.

        A step stays the one pass it is: unlike in `profile`, nothing is added between dispatches.
        """
        if "timestamp-query" not in self._backend.target.features:
            raise DeviceError(_NO_CLOCK.format(self._backend.target))
        if steps > TIMED:
            raise ShapeError(f"steps is {steps}, expected at most {TIMED} timed in one submission")
        run = replace(self._prepare(steps, inputs), timed=True)
        return self._timed(self._recording.submit(run), run)

    async def _timed(
        self, reading: Awaitable[list[bytes]], run: Run
    ) -> tuple[dict[str, Array], Array]:
        *data, stamps = await reading
        spans = np.frombuffer(stamps, np.int64).reshape(run.times, 2)
        return self._outputs(data, run), spans[:, 1] - spans[:, 0]

    async def profile(self, **inputs: ArrayLike) -> Profile:
        """Run once with every dispatch timed; where the adapter has no clock, say so and run on."""
        run = self._prepare(1, inputs)
        if "timestamp-query" not in self._backend.target.features:
            warnings.warn(_NO_CLOCK.format(self._backend.target), RuntimeWarning, stacklevel=2)
            outputs = await self._read(self._recording.submit(run), run)
            return Profile([], {n: a[0] for n, a in outputs.items()})
        spans, data = await self._recording.profile(run)
        outputs = self._outputs(data, run)
        steps = [
            (s.op, s.kernel.name, s.workgroups(run.env), s.kernel.workgroup)
            for s in self.plan.steps
        ]
        return Profile(rows(steps, spans), {n: a[0] for n, a in outputs.items()})

    def _prepare(self, steps: int, inputs: Mapping[str, ArrayLike]) -> Run:
        """Check everything, then move the live values on: what a submission is made of."""
        arrays, sizes = self.graph.bind(inputs)
        self._check_filled()
        env = {n: self.store.values[n] for n in self.graph.symints} | sizes
        last, after = self.live.advanced(env, steps)
        writes = [Write(self.plan.leaves[n], 0, a.tobytes()) for n, a in arrays.items()]
        writes += self.live.scalars(env)
        resized, grids = self.live.resized(env, last, len(self._buffers) - 1)
        reads = [
            Read(slot, math.prod(spec.at(env)) * np.dtype(spec.dtype).itemsize)
            for slot, spec in self.plan.outputs.values()
        ]
        # What the GPU has made of the scalars by now, as far as later submissions can tell.
        live = {n: v for n, v in after.items() if n in self.graph.symints}
        self.store.values.update(live)
        self.store.written.update((n, live[n]) for n in self.plan.advances)
        return Run([*writes, *resized], grids, reads, steps, env)

    def _check_filled(self) -> None:
        """Refuse to run while a constant has no value; what is filled stays so."""
        held = self.store.held
        empty = [n for n in self._unfilled if held[n].filled < held[n].spec.nbytes]
        self._unfilled = empty
        if empty:
            raise ShapeError(f"{len(empty)} constants have no value yet: {', '.join(empty[:5])}")

    async def _read(self, data: Awaitable[list[bytes]], run: Run) -> dict[str, Array]:
        return self._outputs(await data, run)

    def _outputs(self, data: list[bytes], run: Run) -> dict[str, Array]:
        outputs = self.plan.outputs.items()
        return {
            n: np.frombuffer(d, spec.dtype).reshape(run.times, *spec.at(run.env))
            for d, (n, (_, spec)) in zip(data, outputs, strict=True)
        }

    def state(self, name: str) -> State:
        """A state's contents, to read and to write."""
        if name not in self.graph.states:
            raise ShapeError(f"the graph has no state {name!r}; it has {list(self.graph.states)}")
        return State(self._backend, name, self.store.held[name])

    def reset(self) -> None:
        """Zero every state and put every symint at its least value."""
        for name in self.graph.states:
            self.state(name).clear()
        self.store.values.update((n, s.min) for n, s in self.graph.symints.items())

    def snapshot(self) -> Snapshot:
        """Copy every state and symint, on the device."""
        copies = {}
        for name in self.graph.states:
            held = self.store.held[name]
            copies[name] = self._backend.alloc(held.spec.nbytes, label=f"snapshot of {name}")
            self._backend.copy(held.buffer, copies[name], held.spec.nbytes)
        values = {n: self.store.values[n] for n in self.graph.symints}
        return Snapshot(self._backend, copies, values)

    def restore(self, snapshot: Snapshot) -> None:
        """Put back a snapshot of this session, or of one that shares its states."""
        if snapshot.states.keys() != self.graph.states.keys():
            raise ShapeError(
                f"the snapshot holds {list(snapshot.states)}, this session has"
                f" {list(self.graph.states)}"
            )
        for name, copied in snapshot.states.items():
            held = self.store.held[name]
            self._backend.copy(copied, held.buffer, held.spec.nbytes)
        self.set(**snapshot.values)

    def destroy(self) -> None:
        """Free the session's buffers, but those that another session shares."""
        self._held.close()
