"""A checkpoint's folder: files by name, wherever they lie.

    open_folder("models/llama")                  # a folder of this machine
    open_folder("https://example.org/llama/")    # any static server
    open_folder("owner/name")                    # a repository of the hub, if no such folder
    open_folder(files)                           # of <input webkitdirectory>, or a directory handle
    open_folder({"config.json": b"{}"})          # bytes or Sources by name

A file is opened once, whoever asks for it again. `HF_ENDPOINT` names another hub.
Errors: SetupError for a folder that is not there; NotFoundError for a file that is not in it,
FormatError for one that should hold a JSON object and does not.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from tensortab.errors import FormatError, NotFoundError, SetupError, UnsupportedError

from .source import IN_BROWSER, Source, is_url, open_source

Opener = Callable[[str], Awaitable[Source]]

HUB = "https://huggingface.co"
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@dataclass(frozen=True)
class Folder:
    """Files by name; `opener` gives a file's Source or raises NotFoundError."""

    name: str
    opener: Opener = field(repr=False)
    _opened: dict[str, Source] = field(default_factory=dict, repr=False)

    async def source(self, name: str) -> Source:
        """The file of that name, which is there; NotFoundError if it is not."""
        if name not in self._opened:
            source = await self.opener(name)
            await source.size()  # paths and URLs are only now looked for
            self._opened[name] = source
        return self._opened[name]

    async def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        try:
            await self.source(name)
        except NotFoundError:
            return False
        return True

    async def read(self, name: str) -> bytes:
        """A small file's bytes."""
        source = await self.source(name)
        return bytes(await source.read(0, await source.size()))

    async def json(self, name: str) -> dict[str, Any]:
        """A file that holds one JSON object."""
        where = (await self.source(name)).name
        try:
            parsed = json.loads(await self.read(name))
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{where} is not JSON: {error}") from error
        if not isinstance(parsed, dict):
            raise FormatError(f"{where} holds a {type(parsed).__name__}, expected an object")
        return parsed


def open_folder(location: Any) -> Folder:
    """The folder at a location, see above; a Folder is its own."""
    match location:
        case Folder():
            return location
        case str() if is_url(location):
            return _of_url(location, location)
        case str() | os.PathLike():
            return _of_path(location)
        case Mapping():
            return of_files("the given files", location)
    if IN_BROWSER:
        from . import browser  # noqa: PLC0415  # its imports exist only in a browser

        return browser.open_folder(location)
    raise UnsupportedError(
        f"a checkpoint's location is a {type(location).__name__}, expected a path, a URL, a mapping"
        " of names to bytes or Sources, or in a page the files or the handle of a folder"
    )


def hub_address() -> str:
    """Where hub ids are looked for, without a slash at its end."""
    return os.environ.get("HF_ENDPOINT", HUB).rstrip("/")


def of_files(name: str, files: Mapping[str, Any]) -> Folder:
    """A folder of files at hand: bytes, Sources, or in a page JS Files."""

    async def opener(file: str) -> Source:
        if file not in files:
            raise NotFoundError(f"{name}: there is no {file} among {_few(sorted(files))}")
        return open_source(files[file], file)

    return Folder(name, opener)


def _of_path(location: str | os.PathLike[str]) -> Folder:
    text = os.fspath(location)
    path = Path(location)
    if not path.is_dir():
        if path.exists():
            raise SetupError(f"{text}: this is a file, expected the folder of a checkpoint")
        if isinstance(location, str) and _HUB_ID.fullmatch(location):
            hub = hub_address()
            return _of_url(
                f"{location} (no folder here, so {hub})", f"{hub}/{location}/resolve/main"
            )
        raise SetupError(f"{text}: there is no such folder")

    async def opener(file: str) -> Source:
        return open_source(path / file)

    return Folder(text, opener)


def _of_url(name: str, base: str) -> Folder:
    parts = urlsplit(base)

    async def opener(file: str) -> Source:
        path = f"{parts.path.rstrip('/')}/{quote(file)}"
        return open_source(parts._replace(path=path, fragment="").geturl())

    return Folder(name, opener)


def _few(names: list[str]) -> str:
    return ", ".join([*names[:5], *(["…"] if len(names) > 5 else [])]) or "no files at all"
