"""The delegate's blob: the graph that ExecuTorch's VulkanPartitioner cut out, as data.

    4 zero bytes, "VH00", u16 30, u32 flatbuffer_offset, u32 flatbuffer_size, u32 bytes_offset,
    u64 bytes_size; then a FlatBuffer "VK00" (VkGraph), and the bytes of inline constants.

A value is None, an int, a float, a bool, a text, a list of such, a `TensorValue`, a `SymInt` or a
`ValueList` of indices. Storage types and memory layouts are hints for another API; every payload is
a plain row-major tensor. int64 is int32 inside, float64 is float32. Source: ExecuTorch 1.5,
backends/vulkan/serialization/schema.fbs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..errors import FormatError, UnsupportedError
from ..weights import Source
from .flat import Buffer, Table, load
from .schema import Place, Program

BACKEND = "VulkanBackend"  # the id of delegates that have such a blob
_HEADER = 30
_NAMED = 2**64 - 1  # the offset of a constant that has a key
_MAX_RANK = 16
_MOST_NUMBERS = 1024
DTYPES = {
    0: "bool",
    1: "uint8",
    2: "int8",
    3: "int32",
    4: "float16",
    5: "float32",
    6: "float64",
    7: "int64",
}


@dataclass(frozen=True)
class TensorValue:
    """A tensor of the delegate's graph."""

    dtype: str
    shape: tuple[int, ...]
    constant: Place | None
    memory: int  # tensors with the same number from 0 on share memory


@dataclass(frozen=True)
class SymInt:
    """A live integer, by its first value."""

    value: int


@dataclass(frozen=True)
class ValueList:
    """Indices of values."""

    items: tuple[int, ...]


Value: TypeAlias = (
    int | float | bool | str | tuple[Any, ...] | TensorValue | SymInt | ValueList | None
)


@dataclass(frozen=True)
class Call:
    """An operator: the indices of its arguments in the schema's order, the output's last."""

    name: str
    args: tuple[int, ...]
    at: int = 0  # the byte of the file where it stands, for errors


@dataclass(frozen=True)
class Blob:
    """A delegate's graph."""

    calls: tuple[Call, ...]
    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


async def read(program: Program, place: Place) -> Blob:
    """Read and check a delegate's blob; the data of its constants stays in the file."""
    source, name = program.source, program.source.name
    size = place.end - place.start
    head = bytes(await source.read(place.start, min(place.end, place.start + _HEADER)))
    if len(head) < _HEADER or head[4:8] != b"VH00":
        raise FormatError(
            f"{name}: at byte {place.start}: {head[4:8]!r}, expected b'VH00' of a Vulkan delegate"
        )
    start, length, data = (int.from_bytes(head[i : i + 4], "little") for i in (10, 14, 18))
    if start + length > size or data > size:
        raise FormatError(
            f"{name}: at byte {place.start + 10}: a graph at {start} to {start + length} and data"
            f" at {data}, in a blob of {size} bytes"
        )
    first = place.start + start
    buffer = await load(source, first, first + length)
    return _Reader(program, buffer, Place(place.start + data, place.end), source).blob()


class _Reader:
    """Turns the FlatBuffer's tables into data."""

    def __init__(self, program: Program, buffer: Buffer, data: Place, source: Source) -> None:
        self.program = program
        self.buffer = buffer
        self.data = data
        self.source = source
        self.constants: tuple[Place, ...] = ()

    def blob(self) -> Blob:
        root = self.buffer.root("VK00")
        self.constants = root.tables(5, self._constant)
        values = root.tables(2, self._value)
        calls = root.tables(1, self._call)
        inputs, outputs = (tuple(root.numbers(slot, "<u4").tolist()) for slot in (3, 4))
        lists = (v.items for v in values if isinstance(v, ValueList))
        used = [
            *inputs,
            *outputs,
            *(i for c in calls for i in c.args),
            *(i for v in lists for i in v),
        ]
        if bad := [i for i in used if not 0 <= i < len(values)]:
            raise root.fail(2, f"value {bad[0]} is used, there are {len(values)}")
        return Blob(calls, values, inputs, outputs)

    def _call(self, t: Table) -> Call:
        at = self.buffer.start + t.position
        return Call(t.text(1), tuple(t.numbers(2, "<i4").tolist()), at)

    def _constant(self, t: Table) -> Place:
        offset, length = t.number(0, "Q"), t.number(1, "Q")
        if offset == _NAMED:
            key = t.text(2)
            if key not in self.program.named:
                raise t.fail(2, f"a constant with the key {key[:80]!r}, which the program lacks")
            place = self.program.named[key]
            start = place.start
        else:
            place, start = self.data, self.data.start + offset
        if start + length > place.end:
            raise t.fail(
                1, f"a constant of {length} bytes at {start}, beyond its part's end {place.end}"
            )
        return Place(start, start + length)

    def _value(self, t: Table) -> Value:
        kind = t.number(0, "B")
        if kind in (0, 1):
            return None
        v = t.required(1, f"value of type {kind}")
        read: dict[int, Callable[[], Value]] = {
            2: lambda: int(v.number(0, "q")),
            3: lambda: float(v.number(0, "d", 0.0)),
            4: lambda: bool(v.number(0, "B")),
            5: lambda: self._tensor(v),
            6: lambda: self._numbers(v, "<i8"),
            7: lambda: self._numbers(v, "<f8"),
            8: lambda: tuple(map(bool, self._numbers(v, "u1"))),
            9: lambda: ValueList(tuple(v.numbers(0, "<i4").tolist())),
            10: lambda: v.text(0),
            11: lambda: SymInt(int(v.number(0, "i"))),
        }
        if kind not in read:
            raise UnsupportedError(
                f"{self.source.name}: a delegate's value of type {kind}, expected 1 to 11"
                " (ExecuTorch 1.5)"
            )
        return read[kind]()

    def _numbers(self, t: Table, dtype: str) -> tuple[Any, ...]:
        found = t.numbers(0, dtype)
        if len(found) > _MOST_NUMBERS:
            raise UnsupportedError(
                f"{self.source.name}: a list of {len(found)} numbers, expected at most"
                f" {_MOST_NUMBERS}: sizes, strides and the like"
            )
        return tuple(found.tolist())

    def _tensor(self, t: Table) -> TensorValue:
        dtype = t.choice(0, DTYPES, "datatype")  # absent: 0, bool
        shape = tuple(t.numbers(1, "<u4").tolist())
        if len(shape) > _MAX_RANK:
            raise t.fail(1, f"a tensor of {len(shape)} dimensions, expected at most {_MAX_RANK}")
        index = t.number(2, "i")  # absent: 0; −1 says that it is no constant
        if index >= len(self.constants):
            raise t.fail(2, f"constant {index}, of {len(self.constants)}")
        constant = self.constants[index] if index >= 0 else None
        return TensorValue(dtype, shape, constant, t.number(3, "i"))


def sizes(values: Sequence[Value]) -> int:
    """Bytes of all constants, those of several values once."""
    places = {v.constant for v in values if isinstance(v, TensorValue) and v.constant}
    return sum(p.end - p.start for p in places)
