"""A graph's weights from a checkpoint, streamed: range-read, uploaded, quantized there, dropped.

Rows come in pieces of at most 8 MiB, read ahead while the GPU works on those before. Rows of a
quantized weight go to the Quantizer as they lie in the file, 16-bit floats to the Widener, float32
rows straight into their constant: none of them enters Python's heap in a browser. A checkpoint may
also hold a weight quantized already, as `TENSOR.packed` and `TENSOR.scales`; then packed rows go to
the device as they lie, and scales, columns of small matrices, are put together on the host.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..bars import Progress
from ..device import Backend, Pace, on_host
from ..errors import FormatError, UnsupportedError
from ..op import Spec
from ..quantizer import Job, Quantizer
from ..session import Session
from ..store import Held
from ..weights import Checkpoint
from ..weights.ahead import PIECE, Ahead, Fetch
from ..weights.safetensors import Entry
from ..weights.source import forget, release
from ..widener import Widener, widened
from .checkpoint import Weight, Weights
from .packed import STORED

_FLOATS = ("F32", "F16", "BF16", "F64")


@dataclass(frozen=True)
class Part:
    """Whole rows of a stored tensor, and the row of the weight they are from."""

    tensor: str
    first: int
    rows: int
    to: int
    nbytes: int


def check(weights: Weights, checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that lacks a weight, or has one of another shape or an odd dtype."""
    for whole in weights.tensors.values():
        for name, spec in _stored(checkpoint, whole).items():
            if name not in checkpoint:
                raise FormatError(
                    f"{checkpoint.name}: there is no tensor {name!r}, which the model's config asks"
                    " for"
                )
            found = checkpoint.entry(name)
            packed = name != whole.name
            if found.shape != spec.shape or (packed and found.dtype != STORED[spec.dtype]):
                raise FormatError(
                    f"{checkpoint.name}: {name!r} is {found.dtype}{list(found.shape)},"
                    f" expected {spec} (from the model's config)"
                )
            if not packed and found.dtype not in _FLOATS:
                raise UnsupportedError(
                    f"{checkpoint.name}: {name!r} is {found.dtype}{list(found.shape)}, expected one"
                    f" of {', '.join(_FLOATS)} (weights quantized in other formats are not read)"
                )
    for weight in weights.weights.values():
        ready = [f"{p.tensor}.packed" in checkpoint for p in weight.pieces]
        if weight.format.quantized and len({*ready}) > 1:
            raise FormatError(
                f"{checkpoint.name}: of {weight.name} only some are quantized already, expected all"
                " of them or none, since the model joins them"
            )


async def fill(
    backend: Backend,
    session: Session,
    weights: Weights,
    checkpoint: Checkpoint,
    progress: Progress | None = None,
) -> None:
    """Read every weight of a session's graph; the checkpoint has been checked."""
    parts = {name: list(_parts(checkpoint, w)) for name, w in weights.weights.items()}
    every = [part for found in parts.values() for part in found]
    reader = Ahead(
        Fetch(p.nbytes, partial(checkpoint.foreign, p.tensor, p.first, p.rows)) for p in every
    )
    uploads = _Uploads(backend, Quantizer(backend), Widener(backend), Pace(backend))
    total = sum(part.nbytes for part in every)
    left = Counter(part.tensor for part in every)
    tensors, done = len(left), 0
    try:
        for name, weight in weights.weights.items():
            sink = await _sink(uploads, session, checkpoint, weight)
            for part in parts[name]:
                data = await reader.next()
                await sink.take(part, data)
                release(data)
                done += part.nbytes
                left[part.tensor] -= 1
                if progress:
                    progress("tensors", sum(not n for n in left.values()), tensors)
                    progress("weights", done, total)
                await asyncio.sleep(0)  # a page's messages get their turn
            await sink.finish()
    finally:
        uploads.close()
        await reader.close()
        forget()


def _stored(checkpoint: Checkpoint, weight: Weight) -> dict[str, Spec]:
    """The tensors of the file that hold a weight which is a whole tensor, and their specs."""
    if _is_packed(checkpoint, weight):
        return weight.constants
    return {weight.name: Spec(weight.shape)}


def _is_packed(checkpoint: Checkpoint, weight: Weight) -> bool:
    return weight.format.quantized and f"{weight.pieces[0].tensor}.packed" in checkpoint


def _parts(checkpoint: Checkpoint, weight: Weight) -> Iterator[Part]:
    """What there is to read for a weight, in order."""
    to = 0
    packed = _is_packed(checkpoint, weight)
    for piece in weight.pieces:
        name = f"{piece.tensor}.packed" if packed else piece.tensor
        entry = checkpoint.entry(name)
        row = _row_bytes(entry)
        step = max(PIECE // row, 1)
        for at in range(0, piece.rows, step):
            rows = min(step, piece.rows - at)
            yield Part(name, piece.first + at, rows, to + at, rows * row)
        to += piece.rows
    for piece in weight.pieces if packed else ():
        name = f"{piece.tensor}.scales"
        entry = checkpoint.entry(name)
        yield Part(name, 0, entry.shape[0], 0, entry.end - entry.start)


def _row_bytes(entry: Entry) -> int:
    return (entry.end - entry.start) // entry.shape[0]


@dataclass(frozen=True)
class _Uploads:
    """What turns bytes into constants, and keeps too many from being on their way to the GPU."""

    backend: Backend
    quantizer: Quantizer
    widener: Widener
    pace: Pace

    def close(self) -> None:
        """Free the staging buffers."""
        self.quantizer.close()
        self.widener.close()


async def _sink(
    uploads: _Uploads, session: Session, checkpoint: Checkpoint, weight: Weight
) -> _Float | _Packed | _Quantized:
    held = [session.store.held[name] for name in weight.constants]
    if _is_packed(checkpoint, weight):
        packed, scales = held
        return _Packed(uploads, weight, packed, scales, [])
    dtypes = {checkpoint.entry(p.tensor).dtype for p in weight.pieces}
    if not weight.format.quantized:
        return _Float(uploads, checkpoint, weight, held[0])
    # One dtype a job: what the Quantizer does not take, and a mixture, becomes float32 here.
    dtype = dtypes.pop() if len(dtypes) == 1 and dtypes < {"F32", "F16", "BF16"} else "F32"
    n, (k,) = weight.rows, weight.row
    job = await uploads.quantizer.start(
        weight.name, weight.format, dtype, (n, k), held[0].buffer, held[1].buffer
    )
    return _Quantized(job, checkpoint, dtype, held)


@dataclass(frozen=True)
class _Quantized:
    """Float rows on their way to codes and scales."""

    job: Job
    checkpoint: Checkpoint
    dtype: str
    held: list[Held]

    async def take(self, part: Part, data: Any) -> None:
        stored = self.checkpoint.entry(part.tensor).dtype
        await self.job.rows(part.to, data if stored == self.dtype else widened(stored, data))

    async def finish(self) -> None:
        await self.job.finish()
        for held in self.held:
            held.filled = held.spec.nbytes


@dataclass(frozen=True)
class _Float:
    """Float rows on their way to a float32 constant."""

    uploads: _Uploads
    checkpoint: Checkpoint
    weight: Weight
    held: Held

    async def take(self, part: Part, data: Any) -> None:
        dtype = self.checkpoint.entry(part.tensor).dtype
        first = part.to * math.prod(self.weight.row)
        if dtype in ("F16", "BF16"):
            await self.uploads.widener.write(dtype, data, self.held.buffer, first)
        else:
            data = data if dtype == "F32" else widened(dtype, data)
            self.uploads.backend.write(self.held.buffer, data, 4 * first)
        await self.uploads.pace.sent(self.held.buffer, part.nbytes)

    async def finish(self) -> None:
        self.held.filled = self.held.spec.nbytes


@dataclass(frozen=True)
class _Packed:
    """Codes and scales as a checkpoint holds them."""

    uploads: _Uploads
    weight: Weight
    packed: Held
    scales: Held
    columns: list[Any]  # of the scales, one array for each piece of the weight

    async def take(self, part: Part, data: Any) -> None:
        if part.tensor.endswith(".packed"):
            row = self.packed.spec.nbytes // self.weight.rows
            self.uploads.backend.write(self.packed.buffer, data, part.to * row)
        else:
            piece = self.weight.pieces[len(self.columns)]
            table = np.frombuffer(on_host(data), self.scales.spec.dtype).reshape(part.rows, -1)
            self.columns.append(table[:, piece.first : piece.first + piece.rows])
        await self.uploads.pace.sent(self.packed.buffer, part.nbytes)

    async def finish(self) -> None:
        table = np.concatenate(self.columns, axis=1)
        self.uploads.backend.write(self.scales.buffer, table)
        for held in (self.packed, self.scales):
            held.filled = held.spec.nbytes
