"""What the rest of the package may ask of a GPU.

A backend is not an array library: it owns buffers, compiles kernels and replays a recorded list
of dispatches. Foreign exceptions are mapped at this boundary: a validation error names the op and
the kernel, a lost device is a `DeviceLostError`.

Buffers are addressed by slot: a plan's numbered buffers, handed to `record` once. A run is then
plain data (what to write, which grids changed, what to read), which in a browser makes it one
call through the FFI whatever the number of dispatches.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol

from ..dim import value
from ..errors import DeviceError
from ..graph import Graph
from ..kernel import Kernel
from ..op import fold
from ..target import Target

Buffer = Any  # opaque outside device/: a GPUBuffer (JS proxy) or a wgpu.GPUBuffer
Pipeline = Any
Bytes = Any  # bytes-like, or in a browser a JS Uint8Array that never enters the Python heap

Workgroups = tuple[int, int, int]
Span = tuple[int, int]  # start and end, ns, by the GPU's clock

TIMED = 2048  # dispatches to a query set: two queries each, and WebGPU allows 4096


@dataclass(frozen=True)
class Bound:
    """A dispatch with numbers for everything: where its bindings and its uniform lie."""

    label: str  # op and kernel
    pipeline: int  # index into the pipelines given to `record`
    slots: tuple[int, ...]
    uniform: tuple[int, int] | None  # byte offset and size in the uniform slot (the last slot)
    grid: Workgroups


@dataclass(frozen=True)
class Write:
    """Bytes for a slot, before the dispatches of a run."""

    slot: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Read:
    """The first `nbytes` of a slot, after the dispatches of a run."""

    slot: int
    nbytes: int


@dataclass(frozen=True)
class Run:
    """One submission: write, set changed grids, run every dispatch `times` times, read."""

    writes: Sequence[Write]
    grids: Sequence[tuple[int, Workgroups]]  # step index, workgroups
    reads: Sequence[Read]  # after each of the times
    times: int
    env: Mapping[str, int]  # the live sizes all this was made for
    timed: bool = False  # note when each of the times began and ended


@dataclass(frozen=True)
class Layout:
    """Where a graph's leaves and outputs lie, for a backend that runs ops rather than kernels."""

    graph: Graph
    leaves: Mapping[str, int]  # name -> slot
    outputs: Mapping[str, int]


class Recording(Protocol):
    """Dispatches ready to be replayed."""

    def submit(self, run: Run) -> Awaitable[list[bytes]]:
        """Put everything on its way, in one submission, before this returns.

        Awaiting the result gives for each read its bytes after each of the times, one after the
        other, and last of all for a timed run the `Span` of each of the times, as uint64 pairs.
        Several submissions may be awaited late.
        """

    def profile(self, run: Run) -> Awaitable[tuple[list[Span], list[bytes]]]:
        """Submit once with a timed pass for every dispatch; its span in ns, and the reads."""

    def destroy(self) -> None:
        """Free what the recording holds (not the buffers)."""


class Backend(Protocol):
    """A GPU."""

    target: Target

    def alloc(self, nbytes: int, *, uniform: bool = False, label: str = "") -> Buffer:
        """A zeroed buffer of `nbytes`, rounded up to 16 (kernels may read whole vec4s)."""

    def write(self, buffer: Buffer, data: Bytes, offset: int = 0) -> None:
        """Queue a write; `offset` is a multiple of 4."""

    async def read(self, buffer: Buffer, nbytes: int, offset: int = 0) -> bytes:
        """The buffer's bytes once everything queued before has run."""

    async def foreign(self, buffer: Buffer, nbytes: int, offset: int = 0) -> Bytes:
        """The same, in a browser as a JS Uint8Array that never enters the Python heap."""

    def copy(self, source: Buffer | None, target: Buffer, nbytes: int) -> None:
        """Queue a copy of `nbytes`, rounded up to 4; of zeros without a source."""

    async def compile(self, kernels: Sequence[Kernel]) -> list[Pipeline]:
        """Pipelines for `kernels`: each made once, in parallel where the platform can."""

    async def record(
        self,
        buffers: Sequence[Buffer],
        pipelines: Sequence[Pipeline],
        steps: Sequence[Bound],
        layout: Layout,
    ) -> Recording:
        """Bind every step's buffers; raises DeviceError naming the step that does not validate."""

    def free(self, buffer: Buffer) -> None:
        """Give a buffer's memory back."""

    def close(self) -> None:
        """Give the device back; every buffer on it is gone."""


class Pace:
    """Waits for the GPU now and then, so that uploads do not pile up in front of it."""

    _UNSEEN = 64 << 20  # bytes uploaded before the GPU is waited for

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._unseen = 0

    async def sent(self, buffer: Buffer, nbytes: int) -> None:
        """Count bytes that were written to a buffer."""
        self._unseen += nbytes
        if self._unseen >= self._UNSEEN:
            self._unseen = 0
            await self._backend.read(buffer, 4)


def round_up(nbytes: int, multiple: int) -> int:
    """The next multiple."""
    return -(-nbytes // multiple) * multiple


def allocated(nbytes: int) -> int:
    """Bytes a buffer of `nbytes` takes: whole vec4s, at least one since WebGPU binds no less."""
    return max(round_up(nbytes, 16), 16)


def size_of(data: Bytes) -> int:
    """How many bytes there are, wherever they lie."""
    return int(data.byteLength) if hasattr(data, "byteLength") else memoryview(data).nbytes


def flat(data: Bytes) -> memoryview:
    """Bytes at hand in a row; memoryview itself casts no shape that has a 0."""
    view = memoryview(data)
    return view.cast("B") if view.nbytes else memoryview(b"")


def on_host(data: Bytes) -> Any:
    """The same bytes where numpy reads them."""
    return data.to_bytes() if hasattr(data, "to_bytes") else data


def grid_of(target: Target, workgroups: int) -> Workgroups:
    """Any number of workgroups as a grid without live sizes, folded as kernels expect it."""
    x, y, z = (value(d, {}) for d in fold(target, workgroups))
    return x, y, z


def split_reads(data: bytes, run: Run) -> list[bytes]:
    """What was read back (each read's of all times in a row, padded to 4), read by read."""
    sizes = [round_up(r.nbytes, 4) for r in run.reads]
    *starts, end = accumulate((run.times * size for size in sizes), initial=0)
    found = [
        b"".join(data[at + i * size : at + i * size + r.nbytes] for i in range(run.times))
        for at, size, r in zip(starts, sizes, run.reads, strict=True)
    ]
    return [*found, data[end:]] if run.timed else found


def check_size(target: Target, nbytes: int, label: str) -> None:
    """Refuse a buffer the adapter cannot bind, before memory is spent."""
    for limit in ("maxStorageBufferBindingSize", "maxBufferSize"):
        if nbytes > (most := target.limits[limit]):
            raise DeviceError(
                f"{label or 'a buffer'} takes {nbytes} bytes,"
                f" this adapter's {limit} is {most} ({target})"
            )
