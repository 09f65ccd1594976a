"""16-bit floats made float32 where the weights are: bytes of a file in, a constant's elements out.

    widener = Widener(backend)
    await widener.write("BF16", data, buffer, 0)     # elements 0 … of a float32 buffer
    widener.close()

The bytes pass through one staging buffer of 16 MiB, and through no Python array but on the
reference device. The result is exact, NaNs included. Nothing waits for the GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .device import Backend, Bound, Buffer, Bytes, Layout, Run, Write, grid_of, on_host, size_of
from .errors import ShapeError
from .graph import Graph
from .kernel import load
from .weights.safetensors import DTYPES

STAGING = 16 << 20  # bytes
_KERNEL = load("widen")


class Widener:
    """Writes F16 and BF16 elements into float32 buffers of one device."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._shared: tuple[Buffer, ...] = ()  # staging, uniform

    async def write(self, dtype: str, data: Bytes, target: Buffer, first: int) -> None:
        """Elements `first` … of `target`; `data` is at most 16 MiB of them as F16 or BF16."""
        size = size_of(data)
        if size > STAGING or size % 2:
            raise ShapeError(f"{size} bytes of {dtype}, expected whole elements in {STAGING} bytes")
        if self._backend.target.kind == "reference":
            self._backend.write(target, widened(dtype, data), 4 * first)
            return
        staging, uniform = self._buffers()
        kernel = _KERNEL.specialise(BRAIN=dtype == "BF16")
        pipelines = await self._backend.compile([kernel])
        params = kernel.pack({"count": size // 2, "first": first})
        step = Bound(f"widen ({kernel.name})", 0, (0, 1), (0, len(params)), (1, 1, 1))
        buffers = [staging, target, uniform]
        recording = await self._backend.record(buffers, pipelines, [step], Layout(Graph(), {}, {}))
        self._backend.write(staging, data)
        grid = grid_of(self._backend.target, -(-size // (4 * kernel["WIDTH"])))
        await recording.submit(Run([Write(2, 0, params)], [(0, grid)], [], 1, {}))
        recording.destroy()

    def _buffers(self) -> tuple[Buffer, ...]:
        if not self._shared:
            self._shared = (
                self._backend.alloc(STAGING, label="elements to widen"),
                self._backend.alloc(16, uniform=True, label="uniforms"),
            )
        return self._shared

    def close(self) -> None:
        """Free the staging buffer."""
        for buffer in self._shared:
            self._backend.free(buffer)
        self._shared = ()


def widened(dtype: str, data: Bytes) -> Any:
    """Elements of a safetensors float dtype as numpy's float32."""
    raw = on_host(data)
    if dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # of float64: infinity, as any cast has it
        return np.frombuffer(raw, DTYPES[dtype]).astype(np.float32)
