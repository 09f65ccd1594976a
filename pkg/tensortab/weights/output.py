"""Where a folder of files is written: it is there whole, or not at all.

    async with open_output("models/llama-q4") as output:
        await output.create("config.json", 2)
        await output.write("config.json", 0, b"{}")

Files are written by ranges, in any order, so that what is large passes through in pieces. Leaving
the block commits; an error in it, a cancellation too, discards what was written. A path is filled
in a hidden folder beside it that is renamed at the end. In a page `location` may be a JS object of
the same four functions, which return promises, for storage of the page's own.

Errors: SetupError for a folder that is there already and is not empty, and for what the disk or the
browser refuses (no room, no permission).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tensortab.errors import SetupError, UnsupportedError

from .source import IN_BROWSER

_READABLE = 0o755  # as mkdir makes folders; a temporary one is its owner's alone


class Output(Protocol):
    """A folder being written."""

    async def create(self, name: str, nbytes: int) -> None:
        """Begin a file of that many bytes."""

    async def write(self, name: str, at: int, data: Any) -> None:
        """Bytes of a file from `at` on: bytes-like, or in a browser a JS Uint8Array."""

    async def commit(self) -> None:
        """All is written: the folder is there from here on."""

    async def discard(self) -> None:
        """Leave nothing of it."""


@asynccontextmanager
async def open_output(location: Any) -> AsyncIterator[Output]:
    """The folder at `location` while it is written, see above."""
    output = _of(location)
    try:
        yield output
        await output.commit()
    except BaseException:
        await output.discard()
        raise


def check_free(path: Path) -> None:
    """Refuse to write a folder where something is."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SetupError(f"{path}: this is there already, expected a folder yet to be written")


def _of(location: Any) -> Output:
    if isinstance(location, str | os.PathLike):
        return PathOutput.begin(Path(location))
    if IN_BROWSER and hasattr(location, "commit"):
        from . import browser  # noqa: PLC0415  # its imports exist only in a browser

        return browser.JsOutput(location)
    raise UnsupportedError(
        f"a folder to write is a {type(location).__name__}, expected a path, or in a page an object"
        " with create, write, commit and discard"
    )


@dataclass(frozen=True)
class PathOutput:
    """A folder of this machine."""

    path: Path
    hidden: Path
    files: dict[str, int] = field(default_factory=dict)  # descriptors

    @classmethod
    def begin(cls, path: Path) -> PathOutput:
        """Refuse a folder that holds something; make the hidden one."""
        check_free(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            hidden = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        except OSError as error:
            raise SetupError(f"{path}: {error.strerror}") from error
        return cls(path, hidden)

    async def create(self, name: str, nbytes: int) -> None:
        """Begin a file of zeros."""
        self.files[name] = os.open(self.hidden / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        os.truncate(self.files[name], nbytes)

    async def write(self, name: str, at: int, data: Any) -> None:
        """Bytes of a file."""
        rest = memoryview(data).cast("B")
        try:
            while rest:
                done = os.pwrite(self.files[name], rest, at)
                rest, at = rest[done:], at + done
        except OSError as error:
            raise SetupError(f"{self.path / name}: {error.strerror}") from error

    async def commit(self) -> None:
        """Close the files and have the folder take its name."""
        self._close()
        self.hidden.chmod(_READABLE)
        try:
            self.hidden.rename(self.path)
        except OSError as error:  # somebody else has written it meanwhile
            raise SetupError(f"{self.path}: {error.strerror}") from error

    async def discard(self) -> None:
        """Remove the hidden folder."""
        self._close()
        shutil.rmtree(self.hidden, ignore_errors=True)

    def _close(self) -> None:
        while self.files:
            os.close(self.files.popitem()[1])
