"""safetensors files: a JSON header of names, dtypes, shapes and byte ranges, then the bytes.

    u64 little-endian n, n bytes of JSON (UTF-8), then the data, little-endian, row-major
    {"name": {"dtype": "F32", "shape": [N, K], "data_offsets": [start, end]}, …,
     "__metadata__": {"format": "pt", …}}

Offsets count from the first byte after the header. A tensor is read by its byte range when it is
asked for, never the file. Source: the format's description in huggingface/safetensors' README.

`layout` is the way back: the header, and so every tensor's place, of a file that is to be written.

Errors, all of them before anything of the size they speak of is allocated: FormatError for a header
over 100 MB, one that is not JSON of this form or names a tensor twice, a truncated file, ranges
that overlap, leave a gap or end elsewhere than the file, and a range that is not shape × dtype
long; UnsupportedError for a dtype numpy has no equal of (bfloat16 is widened to float32).
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tensortab.errors import FormatError, UnsupportedError

from .source import Address, Bytes, Source, open_source

HEADER_LIMIT = 100_000_000  # bytes, the limit of the format's own library
_LARGEST = 2**53  # bytes of a tensor: what a JS number counts exactly
_MAX_RANK = 64  # numpy's

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "u1",
}


@dataclass(frozen=True)
class Entry:
    """A tensor's place; start and end count from the beginning of the file."""

    dtype: str  # safetensors' name: F32, BF16, …
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class File:
    """An opened file; its tensors are read one by one."""

    source: Source
    tensors: Mapping[str, Entry]

    async def read(self, name: str) -> Bytes:
        """A tensor's bytes."""
        entry = self._entry(name)
        return await self.source.read(entry.start, entry.end)

    async def array(self, name: str) -> npt.NDArray[Any]:
        """A tensor as numpy, read-only where that saves a copy; bfloat16 as float32."""
        entry = self._entry(name)
        flat = np.frombuffer(await self.read(name), DTYPES[entry.dtype])
        if entry.dtype == "BF16":
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        if entry.dtype == "BOOL":
            flat = flat != 0
        return flat.reshape(entry.shape)

    async def foreign(self, name: str) -> Any:
        """A tensor's bytes for the GPU: a memoryview, or in a browser a JS Uint8Array."""
        entry = self._entry(name)
        return await self.source.foreign(entry.start, entry.end)

    def _entry(self, name: str) -> Entry:
        if name not in self.tensors:
            raise FormatError(
                f"{self.source.name}: there is no tensor {name!r} among its {len(self.tensors)}"
            )
        return self.tensors[name]


async def open(source: Address | Source) -> File:  # noqa: A001  # safetensors.open reads best
    """Read the header of a path, a URL, bytes or a Source."""
    opened = open_source(source)
    return File(opened, await read_header(opened))


async def read_header(source: Source) -> dict[str, Entry]:
    """Every tensor's place, checked."""
    name, size = source.name, await source.size()
    if size < 8:
        raise FormatError(
            f"{name}: truncated: {size} bytes, expected at least 8, the header's length"
        )
    length = int.from_bytes(await source.read(0, 8), "little")
    if length > HEADER_LIMIT:
        raise FormatError(
            f"{name}: the header is {length} bytes long, expected at most {HEADER_LIMIT}"
        )
    if 8 + length > size:
        raise FormatError(
            f"{name}: truncated: the file has {size} bytes, its header alone ends at {8 + length}"
        )
    header = _parse(name, bytes(await source.read(8, 8 + length)))
    _check_metadata(name, header.pop("__metadata__", {}))
    entries = {
        tensor: _entry(f"{name}: tensor {tensor!r}", value, 8 + length, size)
        for tensor, value in header.items()
    }
    _check_cover(name, entries, 8 + length, size)
    return entries


def layout(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[bytes, dict[str, Entry]]:
    """The first bytes of a file of these dtypes and shapes, and where each tensor lies after them.

    Those of wide elements come first, so that each begins at a multiple of its own.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, (dtype, shape) in sorted(tensors.items(), key=lambda item: -_width(item[1][0])):
        end = place + math.prod(shape) * _width(dtype)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": (place, end)}
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = 8 + len(text)
    entries = {
        name: Entry(dtype, shape, *(data + at for at in header[name]["data_offsets"]))
        for name, (dtype, shape) in tensors.items()
    }
    return len(text).to_bytes(8, "little") + text, entries


def _width(dtype: str) -> int:
    return np.dtype(DTYPES[dtype]).itemsize


def _parse(name: str, raw: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key, value in pairs:
            if key in table:
                raise FormatError(f"{name}: the header names {key!r} twice")
            table[key] = value
        return table

    try:
        header = json.loads(raw.decode(), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, endless digits
        raise FormatError(f"{name}: the header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise FormatError(f"{name}: the header is {_short(header)}, expected a JSON object")
    return header


def _check_metadata(name: str, metadata: Any) -> None:
    if not isinstance(metadata, dict):
        raise FormatError(
            f"{name}: __metadata__ is {_short(metadata)}, expected an object of texts"
        )
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise FormatError(f"{name}: __metadata__[{key!r}] is {_short(value)}, expected a text")


def _entry(where: str, value: Any, data: int, size: int) -> Entry:
    if not isinstance(value, dict) or not {"dtype", "shape", "data_offsets"} <= value.keys():
        raise FormatError(f"{where} is {_short(value)}, expected dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise UnsupportedError(
            f"{where} is of dtype {_short(dtype)}, expected one of {', '.join(DTYPES)}"
        )
    if not _are_sizes(shape) or len(shape) > _MAX_RANK:
        raise FormatError(
            f"{where} has the shape {_short(shape)}, expected at most {_MAX_RANK} integers, none"
            f" negative"
        )
    # Zeros left out: numpy refuses an empty array, too, whose other dimensions are endless.
    if math.prod(n for n in shape if n) * _width(dtype) >= _LARGEST:
        raise FormatError(f"{where} has the shape {shape}, expected less than 2**53 bytes")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise FormatError(f"{where} has data_offsets {_short(offsets)}, expected [start, end]")
    start, end = offsets
    if not start <= end <= size - data:
        raise FormatError(
            f"{where} lies at {start} to {end}, expected a range within the {size - data} bytes"
            f" after the header"
        )
    nbytes = math.prod(shape) * _width(dtype)
    if end - start != nbytes:
        raise FormatError(
            f"{where} has {end - start} bytes at {start} to {end}, expected {nbytes} for"
            f" {dtype}{shape}"
        )
    return Entry(dtype, tuple(shape), data + start, data + end)


def _are_sizes(value: Any) -> bool:
    # bool is an int to isinstance, and true is no size.
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _check_cover(name: str, entries: Mapping[str, Entry], data: int, size: int) -> None:
    """Every byte after the header belongs to exactly one tensor."""
    place, before = data, "the header"
    for tensor, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != place:
            kind = "overlaps" if entry.start < place else "leaves a gap after"
            raise FormatError(
                f"{name}: tensor {tensor!r} {kind} {before}: it starts at {entry.start - data},"
                f" expected {place - data}"
            )
        place, before = entry.end, repr(tensor)
    if place != size:
        raise FormatError(f"{name}: {size - place} bytes after the last tensor belong to none")


def _short(value: Any) -> str:
    return reprlib.repr(value)  # of limited depth and length, whatever the file holds
