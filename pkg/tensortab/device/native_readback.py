"""What a submission to wgpu-native brings back: outputs of its replays, and timestamps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import wgpu

from . import TIMED, Buffer, round_up


class Clock:
    """Timestamps at both ends of passes, numbered from 0."""

    def __init__(self, gpu: Any, passes: int) -> None:
        parts = [min(TIMED, passes - first) for first in range(0, passes, TIMED)]
        self._sets = [gpu.create_query_set(type="timestamp", count=2 * n) for n in parts]
        self._parts = parts
        usage = wgpu.BufferUsage.QUERY_RESOLVE | wgpu.BufferUsage.COPY_SRC
        self.nbytes = 16 * passes
        self._stamps = gpu.create_buffer(size=max(self.nbytes, 16), usage=usage)

    def around(self, index: int) -> dict[str, Any]:
        """What begin_compute_pass wants to hear."""
        return {
            "query_set": self._sets[index // TIMED],
            "beginning_of_pass_write_index": index % TIMED * 2,
            "end_of_pass_write_index": index % TIMED * 2 + 1,
        }

    def resolve(self, encoder: Any) -> Buffer:
        """Where the timestamps will lie, two uint64 a pass."""
        for i, (queries, count) in enumerate(zip(self._sets, self._parts, strict=True)):
            encoder.resolve_query_set(queries, 0, 2 * count, self._stamps, 16 * TIMED * i)
        return self._stamps


class Readback:
    """A staging buffer: each source's bytes of all times in a row, padded to 4."""

    def __init__(
        self, gpu: Any, sources: Sequence[tuple[Buffer, int]], times: int, more: int = 0
    ) -> None:
        self._sources = [(b, round_up(n, 4)) for b, n in sources if n]
        self._times = times
        self._more = more  # bytes at the end
        self._size = times * sum(n for _, n in self._sources) + more
        usage = wgpu.BufferUsage.MAP_READ | wgpu.BufferUsage.COPY_DST
        self._staging = gpu.create_buffer(size=max(self._size, 4), usage=usage)

    def copy(self, encoder: Any, time: int) -> None:
        """Encode the copies of one time."""
        to = 0
        for source, size in self._sources:
            encoder.copy_buffer_to_buffer(source, 0, self._staging, to + time * size, size)
            to += self._times * size

    def copy_last(self, encoder: Any, source: Buffer) -> None:
        """Encode the copy of what comes once, at the end."""
        at = self._size - self._more
        encoder.copy_buffer_to_buffer(source, 0, self._staging, at, self._more)

    def read(self) -> bytes:
        """Wait for the GPU, and free the buffer."""
        if not self._size:
            return b""
        self._staging.map_sync("READ")
        data = bytes(self._staging.read_mapped())
        self._staging.destroy()
        return data
