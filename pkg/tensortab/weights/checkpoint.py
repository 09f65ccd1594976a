"""A checkpoint's tensors by name, over one safetensors file or many with an index.

    model.safetensors                everything, or
    model.safetensors.index.json     {"weight_map": {"tensor": "model-00001-of-00002.safetensors"}}

Every shard the index names is opened and its header read and checked (safetensors.py), several at a
time, before any tensor is; each tensor has to be where the index says.

Errors: NotFoundError for a shard, or any weights, that are not there; FormatError for an index of
another form, a shard's name that is no plain file name, and a tensor that is not in its shard.
"""

from __future__ import annotations

import asyncio
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tensortab.errors import FormatError, NotFoundError

from . import safetensors
from .folder import Folder
from .safetensors import Entry, File

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_AT_ONCE = 8  # headers read


@dataclass(frozen=True)
class Checkpoint:
    """Every tensor's file, by the tensor's name."""

    name: str
    files: Mapping[str, File]

    def entry(self, tensor: str) -> Entry:
        """A tensor's dtype, shape and place in its file."""
        if tensor not in self.files:
            raise FormatError(
                f"{self.name}: there is no tensor {tensor!r} among its {len(self.files)}"
            )
        return self.files[tensor].tensors[tensor]

    def __contains__(self, tensor: str) -> bool:
        return tensor in self.files

    async def foreign(self, tensor: str, first: int, rows: int) -> Any:
        """Whole rows of a tensor for the GPU: a memoryview, or in a browser a JS Uint8Array."""
        entry = self.entry(tensor)
        row = (entry.end - entry.start) // entry.shape[0]
        start = entry.start + first * row
        return await self.files[tensor].source.foreign(start, start + rows * row)


def of_file(file: File) -> Checkpoint:
    """The tensors of one file."""
    return Checkpoint(file.source.name, dict.fromkeys(file.tensors, file))


async def open_checkpoint(folder: Folder) -> Checkpoint:
    """Read the headers of a folder's weights."""
    if await folder.has(WHOLE):
        return of_file(await safetensors.open(await folder.source(WHOLE)))
    if not await folder.has(INDEX):
        raise NotFoundError(
            f"{folder.name}: there is neither {WHOLE} nor {INDEX}; weights in other formats"
            " (.bin, .gguf) are not read"
        )
    where = f"{folder.name}: {INDEX}"
    places = _places(where, await folder.json(INDEX))
    files = await _open_shards(folder, where, sorted({*places.values()}))
    for tensor, shard in places.items():
        if tensor not in files[shard].tensors:
            raise FormatError(f"{where}: tensor {tensor!r} is not in {shard}, where it should be")
    return Checkpoint(folder.name, {tensor: files[shard] for tensor, shard in places.items()})


def _places(where: str, index: Mapping[str, Any]) -> dict[str, str]:
    """The index's weight_map, checked."""
    found = index.get("weight_map")
    if not isinstance(found, dict) or not found:
        raise FormatError(
            f"{where}: weight_map is {reprlib.repr(found)}, expected an object of tensors' shards"
        )
    for tensor, shard in found.items():
        # A shard lies beside its index: a path could lead anywhere.
        if (
            not isinstance(shard, str)
            or not shard.endswith(".safetensors")
            or {*"/\\:?#"} & {*shard}
        ):
            raise FormatError(
                f"{where}: the shard of {tensor!r} is {reprlib.repr(shard)}, expected the name of a"
                " .safetensors file beside the index"
            )
    return found


async def _open_shards(folder: Folder, where: str, shards: list[str]) -> dict[str, File]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def opened(shard: str) -> File:
        async with turns:
            try:
                return await safetensors.open(await folder.source(shard))
            except NotFoundError as error:
                raise NotFoundError(
                    f"{where} names {len(shards)} shards, and {shard} is not there: fetch it anew"
                    f" ({error})"
                ) from error

    # All are waited for, so that none still reads once the first error is raised.
    done = await asyncio.gather(*map(opened, shards), return_exceptions=True)
    files = {}
    for shard, file in zip(shards, done, strict=True):
        if isinstance(file, BaseException):
            raise file
        files[shard] = file
    return files
