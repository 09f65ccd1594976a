"""Sources in a browser: fetch with ranges, files a person picked, Pyodide's file system, bytes.

`foreign` gives JS Uint8Arrays, each with memory of its own, which body.release takes back. What a
URL, a file or the file system holds lies in JS memory, so it reaches the GPU without entering
Python's heap (wasm32: 4 GiB at most); `read` copies the one range into it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any
from weakref import finalize

import js
import pyodide_js
from pyodide.ffi import JsException, JsProxy, to_js

from tensortab.errors import NotFoundError, SetupError, UnsupportedError

from . import body
from .folder import Folder, of_files
from .source import (
    Bytes,
    BytesSource,
    Source,
    check_content_range,
    check_length,
    check_range,
    check_status,
    check_whole,
    is_url,
    unreadable,
)


def open_source(address: Any, name: str = "<bytes>") -> Source:
    """The reader of a path, a URL, bytes or a JS Blob (a File is one); a Source is its own."""
    if isinstance(address, bytes | bytearray | memoryview):
        return HeapSource(memoryview(address).cast("B"), name)
    if isinstance(address, JsProxy):
        return BlobSource(getattr(address, "name", name), address)
    if isinstance(address, str) and is_url(address):
        return FetchSource(address)
    if isinstance(address, str | os.PathLike):
        return PathSource(os.fspath(address))
    source: Source = address
    return source


def open_folder(location: Any) -> Folder:
    """The files of an <input webkitdirectory> (FileList, Array), or a FileSystemDirectoryHandle."""
    if getattr(location, "kind", None) == "directory":
        return _of_handle(location)
    files = list(location) if hasattr(location, "length") else []
    if not files or not all(hasattr(file, "arrayBuffer") for file in files):
        raise UnsupportedError(
            f"a checkpoint's location is {location}, expected a path, a URL, a directory's handle,"
            " or the files of a picked folder"
        )
    paths = {getattr(file, "webkitRelativePath", "") or file.name: file for file in files}
    # Of a folder with a model below it, the files beside the model's config.json.
    found = [path.rpartition("/")[0] for path in paths if path.split("/")[-1] == "config.json"]
    if len(found) > 1:
        raise UnsupportedError(
            f"the picked folder holds {len(found)} checkpoints, expected one: pick one of"
            f" {', '.join(sorted(found)[:5])}"
        )
    top = found[0] if found else next(iter(paths)).rpartition("/")[0]
    inside = {
        path.rpartition("/")[2]: f for path, f in paths.items() if path.rpartition("/")[0] == top
    }
    return of_files(top or "the picked files", inside)


def _of_handle(handle: Any) -> Folder:
    async def opener(name: str) -> Source:
        try:
            file = await (await handle.getFileHandle(name)).getFile()
        except JsException as error:
            kind = NotFoundError if error.name == "NotFoundError" else SetupError
            raise kind(f"{handle.name}/{name}: {error.message}") from error
        return BlobSource(f"{handle.name}/{name}", file)

    return Folder(handle.name or "the picked folder", opener)


@dataclass(frozen=True)
class BlobSource:
    """A JS Blob or File, read by slices, never whole."""

    name: str
    blob: Any

    async def size(self) -> int:
        """Its length in bytes."""
        return int(self.blob.size)

    async def read(self, start: int, end: int) -> Bytes:
        """A copy of the range."""
        data: bytes = (await self.foreign(start, end)).to_bytes()
        return data

    async def foreign(self, start: int, end: int) -> Any:
        """The slice's own memory."""
        check_range(self.name, start, end, await self.size())
        try:
            return await body.read(self.blob.slice(start, end), end - start)
        except JsException as error:  # the file was changed or removed since it was picked
            raise SetupError(f"{self.name}: {error.message}") from error


@dataclass(frozen=True)
class HeapSource(BytesSource):
    """Bytes of Python's heap."""

    async def foreign(self, start: int, end: int) -> Any:
        """A copy in JS memory."""
        return to_js(await self.read(start, end))


@dataclass
class PathSource:
    """A file of Pyodide's file system, whose contents are JS memory; opened once, when first read.

    JupyterLite's file system fetches a whole file whenever it is opened. It also writes JSON anew,
    so that only the opened stream, and not os.stat, knows how long it is.
    """

    name: str
    _stream: Any = field(default=None, repr=False)

    async def size(self) -> int:
        """Its length in bytes."""
        return int(pyodide_js.FS.llseek(self._open(), 0, os.SEEK_END))

    async def read(self, start: int, end: int) -> Bytes:
        """A copy of the range."""
        data: bytes = (await self.foreign(start, end)).to_bytes()
        return data

    async def foreign(self, start: int, end: int) -> Any:
        """A copy of the range in JS memory."""
        check_range(self.name, start, end, await self.size())
        array = js.Uint8Array.new(end - start)
        got = pyodide_js.FS.read(self._open(), array, 0, end - start, start)
        check_length(self.name, got, end - start)
        return array

    def _open(self) -> Any:
        if self._stream is None:
            try:
                os.stat(self.name)  # noqa: PTH116  # says why, where FS.open has but a number
                self._stream = pyodide_js.FS.open(self.name, "r")
            except OSError as error:
                raise unreadable(self.name, error) from error
            finalize(self, pyodide_js.FS.close, self._stream)
        return self._stream


@dataclass
class FetchSource:
    """A URL, read by ranges."""

    name: str
    _size: int | None = None
    _whole: Any = field(default=None, repr=False)  # a Uint8Array, where the server knows no ranges

    async def size(self) -> int:
        """Its length in bytes, from the answer to a range of one byte."""
        if self._size is None:
            await self._fetch(0, 1)
        assert self._size is not None
        return self._size

    async def read(self, start: int, end: int) -> Bytes:
        """A copy of the range."""
        data: bytes = (await self.foreign(start, end)).to_bytes()
        return data

    async def foreign(self, start: int, end: int) -> Any:
        """The response's own memory."""
        check_range(self.name, start, end, await self.size())
        if start == end:
            return js.Uint8Array.new(0)  # which a Range header cannot say
        if self._whole is not None:
            return self._whole.slice(start, end)
        return await self._fetch(start, end)

    async def _fetch(self, start: int, end: int) -> Any:
        response = await self._ask(headers=_object(Range=f"bytes={start}-{end - 1}"))
        if response.status == 200:
            try:
                check_whole(self.name, response.headers.get("Content-Length"))
            except UnsupportedError:
                await response.body.cancel()
                raise
        status = response.status
        expected = end - start if status == 206 else 0
        array = await self._promised(body.read(response, expected))
        if status == 416:  # not even one byte: the file is empty
            status, array = 200, js.Uint8Array.new(0)
        if status == 200:
            check_length(
                self.name, array.length, array.length if self._size is None else self._size
            )
            self._whole, self._size = array, array.length
            return array.slice(start, end)
        check_status(self.name, status)
        # Of another origin's answer a page sees the header only where that server exposes it.
        if given := response.headers.get("Content-Range"):
            self._size = check_content_range(self.name, given, start, end, self._size)
        elif self._size is None:
            self._size = await self._announced()
        check_length(self.name, array.length, min(end, self._size) - start)
        return array

    async def _announced(self) -> int:
        """The size by Content-Length, which every origin's answer shows."""
        length = (await self._ask(method="HEAD")).headers.get("Content-Length") or ""
        if not length.isdecimal():
            raise UnsupportedError(
                f"{self.name}: the server shows neither Content-Range nor Content-Length to this"
                f" page; it has to send Access-Control-Expose-Headers: Content-Range"
            )
        return int(length)

    async def _ask(self, **options: Any) -> Any:
        return await self._promised(js.fetch(self.name, _object(**options)))

    async def _promised(self, promise: Any) -> Any:
        try:
            return await promise
        except JsException as error:
            raise SetupError(f"{self.name}: {error}") from error


def _object(**fields: Any) -> Any:
    return js.Object.fromEntries(to_js(list(fields.items())))
