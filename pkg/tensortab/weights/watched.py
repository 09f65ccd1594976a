"""A folder whose reading is watched: bytes by file as they come, and patience where they do not.

    folder = watched(open_folder(url), Watch(read=lambda name, done, size: …, failed=ask))

A range that cannot be had (the server is gone, or answers 500) is asked for again after 0.5 and
2 seconds. Then `failed` is awaited with the error: returning tries anew, raising gives up. What was
read before stays read, so a load goes on where it stopped. What is not there (NotFoundError) and
what is not what it should be (FormatError) is raised at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tensortab.errors import NotFoundError, SetupError

from .folder import Folder
from .source import Bytes, Source

T = TypeVar("T")
_PAUSES = (0.5, 2.0)  # seconds


@dataclass(frozen=True)
class Watch:
    """Who is told of a file's name, its bytes read by now and its size; and who is asked."""

    read: Callable[[str, int, int], None]
    failed: Callable[[SetupError], Awaitable[None]] | None = None  # None: nobody has patience


def watched(folder: Folder, watch: Watch) -> Folder:
    """The same folder, watched."""

    async def opener(name: str) -> Source:
        source = await folder.source(name)
        return _Watched(source, name, watch, await source.size())

    return Folder(folder.name, opener)


@dataclass
class _Watched:
    """A file that counts what was read of it."""

    source: Source
    file: str
    watch: Watch
    length: int
    done: int = 0

    def __post_init__(self) -> None:
        self.watch.read(self.file, 0, self.length)

    @property
    def name(self) -> str:
        """As errors call it."""
        return self.source.name

    async def size(self) -> int:
        """Its length in bytes."""
        return self.length

    async def read(self, start: int, end: int) -> Bytes:
        """The bytes from start up to end."""
        return self._count(await self._patiently(lambda: self.source.read(start, end)), end - start)

    async def foreign(self, start: int, end: int) -> Any:
        """The same for a GPU."""
        data = await self._patiently(lambda: self.source.foreign(start, end))
        return self._count(data, end - start)

    def _count(self, data: T, nbytes: int) -> T:
        self.done = min(self.done + nbytes, self.length)  # what is read again counts once
        self.watch.read(self.file, self.done, self.length)
        return data

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        pauses = iter(_PAUSES)
        while True:
            try:
                return await ask()
            except NotFoundError:
                raise
            except SetupError as error:
                if self.watch.failed is None:
                    raise
                if pause := next(pauses, None):
                    await asyncio.sleep(pause)
                else:
                    await self.watch.failed(error)
                    pauses = iter(_PAUSES)
