"""FlatBuffers, read with every offset checked.

A table is a position and a vtable: `vtable = position − i32 at position`; the vtable holds u16
sizes of itself and of the table, then a u16 offset for each field, 0 where the field is absent.
Vectors, strings and tables are reached by a u32 offset from the field's own place. Source: the
format's own description, flatbuffers.dev/internals.

Whatever the bytes say, reading ends soon and in FormatError with the byte's place: offsets must
stay within the buffer, a vector must fit in what is left of it, and all tables and items read must
not be more than the buffer has bytes, so that parts which refer to each other over and over cannot
hold a reader up.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import FormatError, UnsupportedError
from ..weights import Source

T = TypeVar("T")
MOST = 64 << 20  # bytes of a FlatBuffer, which is read whole
_SCALARS = {c: struct.Struct(f"<{c}") for c in "bBhHiIqQd?"}


class Buffer:
    """A FlatBuffer's bytes, and how much may still be read."""

    def __init__(self, data: bytes | memoryview, name: str, start: int = 0) -> None:
        self.data = memoryview(data)
        self.name = name
        self.start = start  # of these bytes in the file, for errors
        self.left = len(self.data)

    def fail(self, at: int, what: str) -> FormatError:
        """An error that names the byte of the file."""
        return FormatError(f"{self.name}: at byte {self.start + at}: {what}")

    def spend(self, at: int, items: int) -> None:
        """Count what is read."""
        self.left -= items
        if self.left < 0:
            raise self.fail(
                at, f"more is referred to than the {len(self.data)} bytes here can hold"
            )

    def number(self, at: int, form: str) -> Any:
        """The scalar of a struct format at a place."""
        scalar = _SCALARS[form]
        if not 0 <= at <= len(self.data) - scalar.size:
            raise self.fail(
                at, f"{scalar.size} bytes are wanted, of a part of {len(self.data)} bytes"
            )
        return scalar.unpack_from(self.data, at)[0]

    def follow(self, at: int) -> int:
        """Where the u32 offset at a place leads."""
        offset: int = self.number(at, "I")
        if offset < 4 or at + offset > len(self.data) - 4:
            raise self.fail(
                at, f"an offset of {offset} leads out of a part of {len(self.data)} bytes"
            )
        return at + offset

    def root(self, identifier: str) -> Table:
        """The root table; the identifier has to lie after the first offset."""
        if len(self.data) < 8 or bytes(self.data[4:8]) != identifier.encode():
            raise self.fail(4, f"{bytes(self.data[4:8])!r}, expected {identifier.encode()!r}")
        return Table.at(self, self.follow(0))


async def load(source: Source, start: int, end: int) -> Buffer:
    """The FlatBuffer at a place in a file."""
    if end - start > MOST:
        raise UnsupportedError(
            f"{source.name}: at byte {start}: a FlatBuffer of {end - start} bytes, expected at most"
            f" {MOST}, since it is held in memory; export the program with its data in segments,"
            " which is ExecuTorch's default (extract_delegate_segments=True)"
        )
    return Buffer(bytes(await source.read(start, end)), source.name, start)


@dataclass(frozen=True)
class Table:
    """A table of a FlatBuffer."""

    buffer: Buffer
    position: int
    vtable: int
    size: int  # of the vtable, in bytes

    @classmethod
    def at(cls, buffer: Buffer, position: int) -> Table:
        buffer.spend(position, 1)
        vtable = position - buffer.number(position, "i")
        size = buffer.number(vtable, "H")
        if size < 4 or size % 2 or vtable + size > len(buffer.data):
            raise buffer.fail(vtable, f"a vtable of {size} bytes, expected an even number from 4")
        return cls(buffer, position, vtable, size)

    def place(self, slot: int) -> int:
        """Where a field lies; 0 if it is absent."""
        entry = 4 + 2 * slot
        if entry >= self.size:
            return 0
        offset: int = self.buffer.number(self.vtable + entry, "H")
        return self.position + offset if offset else 0

    def number(self, slot: int, form: str, default: Any = 0) -> Any:
        """A scalar field."""
        at = self.place(slot)
        return self.buffer.number(at, form) if at else default

    def choice(self, slot: int, names: dict[int, T], what: str, default: int = 0) -> T:
        """A scalar field that stands for something."""
        code = self.number(slot, "B", default)
        if code not in names:
            raise self.fail(slot, f"{what} {code}, expected one of {[*names]}")
        return names[code]

    def table(self, slot: int) -> Table | None:
        """A field that is a table."""
        at = self.place(slot)
        return Table.at(self.buffer, self.buffer.follow(at)) if at else None

    def required(self, slot: int, what: str) -> Table:
        """A field that has to be there and is a table."""
        found = self.table(slot)
        if found is None:
            raise self.fail(slot, f"there is no {what}")
        return found

    def text(self, slot: int) -> str:
        """A string field; empty if absent."""
        at, count = self._vector(slot, 1)
        self.buffer.spend(at, count // 8)  # a text may stand for several, but not for many
        try:
            return bytes(self.buffer.data[at : at + count]).decode()
        except UnicodeDecodeError as error:
            raise self.buffer.fail(at, f"a text that is not UTF-8 ({error.reason})") from error

    def raw(self, slot: int) -> tuple[int, int]:
        """A field of bytes: where they begin and end."""
        at, count = self._vector(slot, 1)
        return at, at + count

    def numbers(self, slot: int, dtype: str) -> npt.NDArray[Any]:
        """A vector of scalars."""
        kind = np.dtype(dtype)
        at, count = self._vector(slot, kind.itemsize)
        self.buffer.spend(at, count)
        return np.frombuffer(self.buffer.data, kind, count, at) if count else np.zeros(0, kind)

    def tables(self, slot: int, read: Callable[[Table], T]) -> tuple[T, ...]:
        """A vector of tables, each read by a function."""
        at, count = self._vector(slot, 4)
        buffer = self.buffer
        return tuple(read(Table.at(buffer, buffer.follow(at + 4 * i))) for i in range(count))

    def has(self, slot: int) -> bool:
        return self.place(slot) != 0

    def fail(self, slot: int, what: str) -> FormatError:
        """An error at a field, or at the table where the field is absent."""
        return self.buffer.fail(self.place(slot) or self.position, what)

    def _vector(self, slot: int, width: int) -> tuple[int, int]:
        field = self.place(slot)
        if not field:
            return 0, 0
        at = self.buffer.follow(field)
        count: int = self.buffer.number(at, "I")
        if count * width > len(self.buffer.data) - at - 4:
            raise self.buffer.fail(
                at,
                f"a vector of {count} × {width} bytes, with {len(self.buffer.data) - at - 4} left",
            )
        return at + 4, count
