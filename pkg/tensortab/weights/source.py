"""Where bytes come from: a file, a URL with HTTP ranges, or bytes at hand.

`open_source` picks the reader: in a browser those of browser.py, natively a memory map and aiohttp.
Ranges are half open, in bytes. A server that ignores ranges (plain development servers do) answers
200 with everything: the body is then kept, and later ranges come out of it, since dropping it would
fetch the same file anew for every tensor. That is done up to 256 MiB, which is what loading a model
may take beside the GPU; a larger file's server has to know ranges.

Errors: NotFoundError for a file that is not there, SetupError for one that cannot be had (no
server, another status), UnsupportedError for a large file without ranges, FormatError for an answer
that is not the range asked for, or a range beyond the end of the file.
"""

from __future__ import annotations

import mmap
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from tensortab.errors import FormatError, NotFoundError, SetupError, UnsupportedError

Bytes: TypeAlias = bytes | bytearray | memoryview
Address: TypeAlias = str | os.PathLike[str] | Bytes

IN_BROWSER = sys.platform == "emscripten"
WHOLE = 256 << 20  # bytes of a file kept where a server knows no ranges
_ABSENT = (403, 404, 410)  # 403: stores that do not list their keys say it of absent ones
_SIGN_IN = (
    " (it wants a sign-in, and this package has none: on a hub the model is gated or private, or"
    " there is none of that name)"
)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Source(Protocol):
    """Random access to the bytes of one file."""

    @property
    def name(self) -> str:
        """How errors call it."""

    async def size(self) -> int:
        """Its length in bytes."""

    async def read(self, start: int, end: int) -> Bytes:
        """The bytes from start up to end."""

    async def foreign(self, start: int, end: int) -> Any:
        """The same for a GPU: a memoryview, or in a browser a JS Uint8Array with its own memory."""


def open_source(address: Address | Source, name: str = "<bytes>") -> Source:
    """The reader of a path, a URL or bytes, which errors call `name`; a Source is its own."""
    if IN_BROWSER:
        from . import browser  # noqa: PLC0415  # its imports exist only in a browser

        return browser.open_source(address, name)
    if isinstance(address, bytes | bytearray | memoryview):
        return BytesSource(memoryview(address).cast("B"), name)
    if isinstance(address, str) and is_url(address):
        return HttpSource(address)
    if isinstance(address, str | os.PathLike):
        return FileSource(Path(address))
    return address


def release(data: Any) -> None:
    """Have the memory of what `foreign` gave used again; nobody may look at it from here on."""
    if IN_BROWSER:
        from . import body  # noqa: PLC0415  # its imports exist only in a browser

        body.release(data)


def forget() -> None:
    """Keep no released memory: reading is over for now."""
    if IN_BROWSER:
        from . import body  # noqa: PLC0415  # its imports exist only in a browser

        body.forget()


def is_url(address: str) -> bool:
    """Whether a text is a URL rather than a path."""
    return "://" in address or address.startswith("blob:")


def check_range(name: str, start: int, end: int, size: int) -> None:
    """Refuse a range that is not within the file."""
    if not 0 <= start <= end <= size:
        raise FormatError(
            f"{name}: bytes {start} to {end} were asked for, of a file of {size} bytes"
        )


def check_content_range(name: str, header: str, start: int, end: int, size: int | None) -> int:
    """The file's whole size, from the Content-Range of an answer to bytes start to end."""
    found = _CONTENT_RANGE.fullmatch(header)
    first, last, total = map(int, found.groups()) if found else (-1, -1, -1)
    # The first question is asked before the size is known, so its answer may be cut short.
    if (first, last + 1) != (start, min(end, total)) or size not in (None, total):
        wanted = f"bytes {start}-{end - 1}/{'…' if size is None else size}"
        raise FormatError(f"{name}: the server answered {header!r} where {wanted!r} was asked for")
    return total


def check_status(name: str, status: int) -> None:
    """Refuse an answer that is no part of the file."""
    if status != 206:
        kind = NotFoundError if status in _ABSENT else SetupError
        hint = _SIGN_IN if status == 401 else ""
        raise kind(f"{name}: the server answered {status}, expected 206 or 200{hint}")


def check_whole(name: str, length: str | None) -> None:
    """Refuse to keep a large file; `length` is its Content-Length, where it is known."""
    if length and length.isdecimal() and int(length) > WHOLE:
        raise UnsupportedError(
            f"{name}: the server sends all {length} bytes where a range was asked for, expected at"
            f" most {WHOLE} of one without ranges; serve it with HTTP ranges (nginx and most file"
            " hosts do), or open the folder itself"
        )


def unreadable(name: str, error: OSError) -> SetupError:
    """What a file that cannot be read is told as."""
    kind = NotFoundError if isinstance(error, FileNotFoundError) else SetupError
    return kind(f"{name}: {error.strerror}")


def check_length(name: str, got: int, expected: int) -> None:
    """Refuse a body of another length than announced."""
    if got != expected:
        raise FormatError(f"{name}: the server sent {got} bytes, expected {expected}")


@dataclass(frozen=True)
class BytesSource:
    """Bytes at hand."""

    data: memoryview
    name: str = "<bytes>"

    async def size(self) -> int:
        """Its length in bytes."""
        return len(self.data)

    async def read(self, start: int, end: int) -> Bytes:
        """A view, not a copy."""
        check_range(self.name, start, end, len(self.data))
        return self.data[start:end]

    async def foreign(self, start: int, end: int) -> Any:
        """The same view."""
        return await self.read(start, end)


@dataclass
class FileSource:
    """A file of this machine, mapped into memory when it is first read."""

    path: Path
    _mapped: BytesSource | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    async def size(self) -> int:
        """Its length in bytes."""
        return await self._map().size()

    async def read(self, start: int, end: int) -> Bytes:
        """A view of the mapped file."""
        return await self._map().read(start, end)

    async def foreign(self, start: int, end: int) -> Any:
        """The same view."""
        return await self.read(start, end)

    def _map(self) -> BytesSource:
        if self._mapped is None:
            try:
                with self.path.open("rb") as file:
                    empty = os.fstat(file.fileno()).st_size == 0  # which cannot be mapped
                    data = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except OSError as error:
                raise unreadable(self.name, error) from error
            self._mapped = BytesSource(memoryview(data), self.name)
        return self._mapped


@dataclass
class HttpSource:
    """A URL, read by ranges."""

    url: str
    _size: int | None = None
    _whole: BytesSource | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The URL."""
        return self.url

    async def size(self) -> int:
        """Its length in bytes, from the answer to a range of one byte."""
        if self._size is None:
            await self._fetch(0, 1)
        assert self._size is not None
        return self._size

    async def read(self, start: int, end: int) -> Bytes:
        """The bytes from start up to end."""
        check_range(self.name, start, end, await self.size())
        if start == end:
            return b""  # which a Range header cannot say
        if self._whole is not None:
            return await self._whole.read(start, end)
        return await self._fetch(start, end)

    async def foreign(self, start: int, end: int) -> Any:
        """The same bytes."""
        return await self.read(start, end)

    async def _fetch(self, start: int, end: int) -> bytes:
        import aiohttp  # noqa: PLC0415  # a third of a second that local files need not wait for

        # A range counts in bytes as they are sent, so nothing may compress them.
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        patience = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
        try:
            async with aiohttp.request(
                "GET", self.url, headers=headers, timeout=patience
            ) as response:
                status, head = response.status, response.headers
                if status == 200:
                    check_whole(self.url, head.get("Content-Length"))
                body = await response.read()
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise SetupError(f"{self.url}: {error}") from error
        if status == 416:  # not even one byte: the file is empty
            status, body = 200, b""
        if status == 200:
            check_length(self.url, len(body), len(body) if self._size is None else self._size)
            self._whole, self._size = BytesSource(memoryview(body), self.url), len(body)
            return body[start:end]
        check_status(self.url, status)
        given = head.get("Content-Range", "")
        self._size = check_content_range(self.url, given, start, end, self._size)
        check_length(self.url, len(body), min(end, self._size) - start)
        return body
