"""What a program's leaves begin with, streamed: range-read, converted, uploaded, dropped.

Pieces come by ranges, read ahead while the device takes those before. Bytes that the device has as
the file has them, and float16, which is widened there, never enter Python's heap in a browser;
int64 and float64 are made int32 and float32 on the way, a piece at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..device import Backend, Bytes, Pace, on_host
from ..op import Array
from ..store import Held
from ..weights import Source
from ..weights.ahead import PIECE, Ahead, Fetch
from ..weights.source import forget, release
from ..widener import Widener
from .build import Filling


@dataclass(frozen=True)
class _Piece:
    """Elements of a leaf."""

    held: Held
    filling: Filling
    first: int
    count: int

    def fetch(self, source: Source) -> Fetch:
        width = np.dtype(self.filling.stored).itemsize
        start = self.filling.place.start + width * self.first
        end = start + width * self.count
        return Fetch(end - start, partial(source.foreign, start, end))


async def fill(
    backend: Backend,
    source: Source,
    leaves: Sequence[tuple[Held, Filling]],
    filled: Callable[[int], None] | None = None,
) -> None:
    """Put bytes of the file into buffers of the device; `filled` is told how many by now."""
    pieces = [piece for held, filling in leaves for piece in _pieces(held, filling)]
    reader = Ahead(piece.fetch(source) for piece in pieces)
    widener, pace = Widener(backend), Pace(backend)
    done = 0
    try:
        for piece in pieces:
            data = await reader.next()
            buffer, inside = piece.held.buffer, np.dtype(piece.held.spec.dtype)
            stored = np.dtype(piece.filling.stored)
            if stored == np.float16:
                await widener.write("F16", data, buffer, piece.first)
            else:
                made = data if stored == inside else _converted(data, stored, inside)
                backend.write(buffer, made, inside.itemsize * piece.first)
            release(data)
            await pace.sent(buffer, inside.itemsize * piece.count)
            done += stored.itemsize * piece.count
            if filled:
                filled(done)
            await asyncio.sleep(0)  # a page's messages get their turn
    finally:
        widener.close()
        await reader.close()
        forget()
    for held, _ in leaves:
        held.filled = held.spec.nbytes


def _converted(data: Bytes, stored: np.dtype[Any], inside: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):  # of float64: infinity, as any cast has it
        return np.frombuffer(on_host(data), stored).astype(inside)


def _pieces(held: Held, filling: Filling) -> Iterator[_Piece]:
    """A leaf's elements in order."""
    count = held.spec.nbytes // np.dtype(held.spec.dtype).itemsize
    step = PIECE // np.dtype(filling.stored).itemsize
    for first in range(0, count, step):
        yield _Piece(held, filling, first, min(step, count - first))
