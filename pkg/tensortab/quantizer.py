"""Quantizing where the weights are: raw rows go to the device, packed codes and scales stay there.

    quantizer = Quantizer(backend)
    job = await quantizer.start(name, form, dtype, (n, k), packed, scales)
    for first, count in job.pieces:
        await job.rows(first, data)      # the bytes of `count` rows, as they lie in the file
    await job.finish()
    quantizer.close()

The rows pass through one staging buffer, so a tensor of any size takes 16 MiB more; the results are
numpy's to the bit (quant/groups.py). `packed` and `scales` are buffers of the backend for what
quant/ calls packed [N, K·bits/8] and scales [K/group, N]; what they held does not matter. dtype is
safetensors' name: F32, F16 or BF16. On the reference device numpy quantizes, when the job finishes.

Errors: UnsupportedError for another dtype or a row beyond the staging buffer, QuantizationError as
quant/groups.py says (from `start` for shapes; for values from `finish`, or from `rows`, which looks
every 64 MiB when it waits for the GPU), ShapeError for bytes that are no whole rows of the weight
and for a job that finishes without all of its rows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from .device import (
    Backend,
    Bound,
    Buffer,
    Bytes,
    Layout,
    Recording,
    Run,
    Write,
    grid_of,
    on_host,
    size_of,
)
from .errors import ShapeError, UnsupportedError
from .graph import Graph
from .kernel import Kernel, load
from .quant.groups import not_finite
from .quant.recipe import Format
from .quant.search import weights

_STAGING = 16 << 20  # bytes
_UNSEEN = 64 << 20  # bytes put on their way before the GPU is waited for
_KERNEL = load("quantize_qgsw")
_DTYPES = {"F32": ("<f4", 32), "F16": ("<f2", 16), "BF16": ("<u2", 8)}  # numpy's; the kernel's
_NONE = 0xFFFFFFFF


class Job(Protocol):
    """One weight under way."""

    @property
    def pieces(self) -> Iterator[tuple[int, int]]:
        """The weight in pieces that fit the staging buffer: first row, number of rows."""

    async def rows(self, first: int, data: Bytes) -> None:
        """Quantize whole rows, given as raw bytes; each row once, in any order."""

    async def finish(self) -> None:
        """Wait for the device; QuantizationError if a weight could not be quantized."""


class Quantizer:
    """Quantizes weights into buffers of one device, one weight at a time."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._shared: tuple[Buffer, ...] = ()  # staging, candidates, status, uniform
        self._table = b""  # what the candidates' buffer holds

    async def start(
        self,
        name: str,
        form: Format,
        dtype: str,
        shape: tuple[int, ...],
        packed: Buffer,
        scales: Buffer,
    ) -> Job:
        """Begin the weight `name` [N, K]; its rows follow."""
        form.packing.check(shape, form.group, form.scales, name)
        if dtype not in _DTYPES:
            raise UnsupportedError(
                f"{name} is {dtype}, expected one of {', '.join(_DTYPES)} to quantize on a device"
            )
        weight = _Weight(name, form, dtype, *shape)
        if weight.row_bytes > _STAGING:
            raise UnsupportedError(
                f"{name}: a row takes {weight.row_bytes} bytes, expected at most {_STAGING}"
                " (the staging buffer)"
            )
        if self._backend.target.kind == "reference":
            return _HostJob(self._backend, weight, packed, scales)
        staging, table, status, uniform = self._buffers(form)
        kernel = _specialised(weight)
        pipelines = await self._backend.compile([kernel])
        size = len(kernel.pack(dict.fromkeys(kernel.fields, 0)))
        step = Bound(f"quantize {name} ({kernel.name})", 0, (0, 1, 2, 3, 4), (0, size), (1, 1, 1))
        buffers = [staging, table, packed, scales, status, uniform]
        layout = Layout(Graph(), {}, {})
        recording = await self._backend.record(buffers, pipelines, [step], layout)
        self._backend.write(status, struct.pack("<4I", _NONE, 0, 0, 0))
        return _DeviceJob(self._backend, weight, kernel, recording, buffers)

    def _buffers(self, form: Format) -> tuple[Buffer, ...]:
        """Those that all jobs use, with the format's candidates."""
        alloc = self._backend.alloc
        if not self._shared:
            self._shared = (
                alloc(_STAGING, label="rows to quantize"),
                alloc(128, label="candidates"),
                alloc(16, label="quantization's status"),
                alloc(4 * len(_KERNEL.fields), uniform=True, label="uniforms"),
            )
        d = form.packing.candidates
        table = struct.pack("<32i", *d, *weights(d))
        if table != self._table:
            self._backend.write(self._shared[1], table)
            self._table = table
        return self._shared

    def close(self) -> None:
        """Free the buffers that the jobs shared."""
        for buffer in self._shared:
            self._backend.free(buffer)
        self._shared, self._table = (), b""


class _Weight:
    """What is to be quantized, and how much of it was given."""

    def __init__(self, name: str, form: Format, dtype: str, n: int, k: int) -> None:
        self.name = name
        self.form = form
        self.dtype = dtype
        self.n = n
        self.k = k
        self.row_bytes = k * np.dtype(_DTYPES[dtype][0]).itemsize
        self._given = 0

    @property
    def pieces(self) -> Iterator[tuple[int, int]]:
        step = _STAGING // self.row_bytes
        return ((first, min(step, self.n - first)) for first in range(0, self.n, step))

    def take(self, first: int, data: Bytes) -> int:
        """Count rows in; how many there are."""
        size = size_of(data)
        count, odd = divmod(size, self.row_bytes)
        if odd or not 0 <= first <= self.n - count or size > _STAGING:
            raise ShapeError(
                f"{self.name}: {size} bytes from row {first} on, expected whole rows of"
                f" {self.row_bytes} bytes (K = {self.k}, {self.dtype}) among N = {self.n},"
                f" {_STAGING} bytes at most"
            )
        self._given += count
        return count

    def check_complete(self) -> None:
        if self._given != self.n:
            raise ShapeError(f"{self.name}: {self._given} rows were given, expected {self.n}")


def _specialised(weight: _Weight) -> Kernel:
    form = weight.form
    return _KERNEL.specialise(
        BITS=form.packing.bits,
        HALF=form.scales == "float16",
        SEARCH=form.search,
        DTYPE=_DTYPES[weight.dtype][1],
    )


class _DeviceJob:
    """On a GPU: a write and a dispatch for each piece."""

    def __init__(
        self,
        backend: Backend,
        weight: _Weight,
        kernel: Kernel,
        recording: Recording,
        buffers: list[Buffer],
    ) -> None:
        self._backend = backend
        self._weight = weight
        self._kernel = kernel
        self._recording = recording
        self._staging, _, self._packed, _, self._status, _ = buffers
        self._uniform = len(buffers) - 1
        self._unseen = 0

    @property
    def pieces(self) -> Iterator[tuple[int, int]]:
        return self._weight.pieces

    async def rows(self, first: int, data: Bytes) -> None:
        weight, form = self._weight, self._weight.form
        if not (count := weight.take(first, data)):
            return
        across = weight.k // form.group
        uniform = self._kernel.pack(
            {
                "first": first * across,
                "count": count * across,
                "across": across,
                "group": form.group,
                "N": weight.n,
                "limit": _bits(form.packing.largest_weight(form.scales)),
            }
        )
        self._backend.write(self._staging, data)
        grid = grid_of(self._backend.target, -(-count * across // self._kernel["WIDTH"]))
        run = Run([Write(self._uniform, 0, uniform)], [(0, grid)], [], 1, {})
        await self._recording.submit(run)
        self._unseen += count * weight.row_bytes
        if self._unseen >= _UNSEEN:
            await self._look()

    async def finish(self) -> None:
        try:
            self._weight.check_complete()
            await self._look()
        finally:
            self._recording.destroy()

    async def _look(self) -> None:
        """Wait for what is under way, and raise what it found."""
        group, largest = struct.unpack("<2I", await self._backend.read(self._status, 8))
        self._unseen = 0
        weight, form = self._weight, self._weight.form
        if group != _NONE:
            at = group * form.group * form.packing.bits // 8
            raw = await self._backend.read(self._packed, 8, at)
            column, found = np.frombuffer(raw, "<u4")[0], np.frombuffer(raw, "<f4")[1]
            row, part = divmod(group, weight.k // form.group)
            raise not_finite(weight.name, row, part * form.group + int(column), found)
        if largest:
            magnitude = float(np.uint32(largest).view(np.float32))
            raise form.packing.too_large(magnitude, form.scales, weight.name)


class _HostJob:
    """On the reference device: numpy, once all rows are there."""

    def __init__(self, backend: Backend, weight: _Weight, packed: Buffer, scales: Buffer) -> None:
        self._backend = backend
        self._weight = weight
        self._packed = packed
        self._scales = scales
        self._rows = np.zeros((weight.n, weight.k), _DTYPES[weight.dtype][0])

    @property
    def pieces(self) -> Iterator[tuple[int, int]]:
        return self._weight.pieces

    async def rows(self, first: int, data: Bytes) -> None:
        count = self._weight.take(first, data)
        part = np.frombuffer(on_host(data), self._rows.dtype)
        self._rows[first : first + count] = part.reshape(count, self._weight.k)

    async def finish(self) -> None:
        self._weight.check_complete()
        weight = self._rows
        if self._weight.dtype == "BF16":
            weight = (weight.astype(np.uint32) << 16).view(np.float32)
        packed, scales = self._weight.form.quantize(weight, self._weight.name)
        self._backend.write(self._packed, packed)
        self._backend.write(self._scales, scales)


def _bits(number: float) -> int:
    return int(np.float32(number).view(np.uint32))
