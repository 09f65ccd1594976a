"""Reads in order, the next ones on their way while what came is worked on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

PIECE = 8 << 20  # bytes that a read should have at most
_AHEAD = 16 << 20  # bytes of reads on their way
_READS = 8  # of them at a time


@dataclass(frozen=True)
class Fetch:
    """A read to come: how many bytes it gives, and what starts it."""

    nbytes: int
    start: Callable[[], Awaitable[Any]]


class Ahead:
    """Gives what each read gives."""

    def __init__(self, reads: Iterable[Fetch]) -> None:
        self._waiting = deque(reads)
        self._reading: deque[tuple[Fetch, asyncio.Future[Any]]] = deque()

    async def next(self) -> Any:
        """What the next read gives."""
        self._start()
        _, reading = self._reading.popleft()
        data = await reading
        self._start()
        return data

    def _start(self) -> None:
        while self._waiting and (not self._reading or self._has_room(self._waiting[0])):
            fetch = self._waiting.popleft()
            self._reading.append((fetch, asyncio.ensure_future(fetch.start())))

    def _has_room(self, fetch: Fetch) -> bool:
        under_way = sum(f.nbytes for f, _ in self._reading)
        return len(self._reading) < _READS and under_way + fetch.nbytes <= _AHEAD

    async def close(self) -> None:
        """Drop what is on its way."""
        left = [reading for _, reading in self._reading]
        for reading in left:
            reading.cancel()
        await asyncio.gather(*left, return_exceptions=True)
