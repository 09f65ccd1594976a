"""Backend on numpy: a compiled graph runs the ops' reference functions instead of kernels.

The definition, and the fallback where no adapter is. Slow, and honest about it: `Device.open` warns
when it has to fall back to this. Buffers are bytes; everything about sessions (states, live
scalars, several steps a submission) is what it is on a GPU.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError
from ..evaluate import advance
from ..kernel import Kernel
from ..op import Array, Spec
from ..target import Target
from . import Bound, Buffer, Bytes, Layout, Pipeline, Recording, Run, Span, allocated, flat, on_host

_NO_CLOCK = "numpy has no GPU clock (the feature timestamp-query)"


class ReferenceBackend:
    """numpy."""

    target = Target("reference", "numpy", "", "numpy reference", software=True)

    def alloc(self, nbytes: int, *, uniform: bool = False, label: str = "") -> Buffer:  # noqa: ARG002
        return np.zeros(allocated(nbytes), np.uint8)

    def write(self, buffer: Buffer, data: Bytes, offset: int = 0) -> None:
        raw = flat(on_host(data))
        buffer[offset : offset + len(raw)] = np.frombuffer(raw, np.uint8)

    async def read(self, buffer: Buffer, nbytes: int, offset: int = 0) -> bytes:
        return bytes(buffer[offset : offset + nbytes])

    async def foreign(self, buffer: Buffer, nbytes: int, offset: int = 0) -> Bytes:
        return await self.read(buffer, nbytes, offset)

    def copy(self, source: Buffer | None, target: Buffer, nbytes: int) -> None:
        target[:nbytes] = 0 if source is None else source[:nbytes]

    async def compile(self, kernels: Sequence[Kernel]) -> list[Pipeline]:
        return [None for _ in kernels]

    async def record(
        self,
        buffers: Sequence[Buffer],
        pipelines: Sequence[Pipeline],  # noqa: ARG002  # ops, not kernels, run here
        steps: Sequence[Bound],  # noqa: ARG002
        layout: Layout,
    ) -> Recording:
        return ReferenceRecording(buffers, layout)

    def free(self, buffer: Buffer) -> None:
        """Numpy frees what nobody holds."""

    def close(self) -> None:
        """There is nothing to give back."""


class ReferenceRecording:
    """A graph and the buffers its leaves and outputs lie in."""

    def __init__(self, buffers: Sequence[NDArray[np.uint8]], layout: Layout) -> None:
        self._buffers = buffers
        self._layout = layout

    def submit(self, run: Run) -> Awaitable[list[bytes]]:
        if run.timed:
            raise DeviceError(_NO_CLOCK)
        for w in run.writes:
            self._buffers[w.slot][w.offset : w.offset + len(w.data)] = np.frombuffer(
                w.data, np.uint8
            )
        found: list[list[bytes]] = [[] for _ in run.reads]
        for _ in range(run.times):
            self._step(dict(run.env))
            for rows, r in zip(found, run.reads, strict=True):
                rows.append(bytes(self._buffers[r.slot][: r.nbytes]))
        return _ready([b"".join(rows) for rows in found])

    def profile(self, run: Run) -> Awaitable[tuple[list[Span], list[bytes]]]:  # noqa: ARG002
        raise DeviceError(_NO_CLOCK)

    def _step(self, env: dict[str, int]) -> None:
        graph, places = self._layout.graph, self._layout.leaves
        env |= {n: int(self._leaf(n, graph.scalars[n].spec, env)[0]) for n in graph.symints}
        inputs = {n: self._leaf(n, t.spec, env) for n, t in graph.inputs.items()}
        held = {n: self._leaf(n, t.spec, env) for n, t in (graph.constants | graph.states).items()}
        live = {n: env[n] for n in graph.symints}
        outputs, states, live = advance(graph, inputs, held, live)
        for name, array in outputs.items():
            self._store(self._layout.outputs[name], array)
        for name, array in states.items():
            self._store(places[name], array)
        for name, number in live.items():
            self._store(places[name], np.array([number], np.int32))

    def _leaf(self, name: str, spec: Spec, env: dict[str, int]) -> Array:
        shape = spec.at(env)
        nbytes = int(np.prod(shape)) * np.dtype(spec.dtype).itemsize
        raw = self._buffers[self._layout.leaves[name]][:nbytes]
        return raw.copy().view(spec.dtype).reshape(shape)

    def _store(self, slot: int, array: Array) -> None:
        raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self._buffers[slot][: len(raw)] = raw

    def destroy(self) -> None:
        """The buffers are the session's."""


async def _ready(data: list[bytes]) -> list[bytes]:
    return data
