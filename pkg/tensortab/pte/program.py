"""ExecuTorch programs: what a .pte file says, as data. Nothing here runs anything.

    u32 root offset, "ET12", and from byte 8 an extended header: "eh00", u32 its length (24, or 32),
    u64 program_size, u64 segment_base_offset, u64 segment_data_size (from length 32 on); then the
    FlatBuffer `Program` goes on to program_size, and the segments follow, each at
    segment_base_offset + its own offset.

Files without the extended header are a FlatBuffer alone, with the data inside. Only the program
itself is read into memory; data of segments is a `Place` in the file. Source: ExecuTorch 1.5,
schema/program.fbs and the documentation of its file format.

Errors: FormatError with the byte's place for whatever does not fit; UnsupportedError for what is
sound but not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import FormatError, UnsupportedError
from ..weights import Source
from .flat import Buffer, Table, load
from .schema import (
    Delegate,
    DelegateCall,
    Instruction,
    KernelCall,
    ListValue,
    Method,
    MoveCall,
    Place,
    Program,
    TensorValue,
    Value,
)

DTYPES = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    11: "bool",
    15: "bfloat16",
}
_MAX_RANK = 16


async def read(source: Source) -> Program:
    """Read and check a program; the data of its segments stays where it is."""
    size = await source.size()
    head = bytes(await source.read(0, min(size, 40)))
    if len(head) < 8 or head[4:8] != b"ET12":
        raise FormatError(
            f"{source.name}: at byte 4: {head[4:8]!r}, expected b'ET12' of an ExecuTorch program"
        )
    end, base = size, size
    if head[8:12] == b"eh00":
        end, base = _extended(source.name, head, size)
    return _Reader(source, await load(source, 0, end), base, size).program()


def _extended(name: str, head: bytes, size: int) -> tuple[int, int]:
    """The program's end and the segments' beginning."""
    length = int.from_bytes(head[12:16], "little")
    if length < 24 or len(head) < 32:
        raise FormatError(
            f"{name}: at byte 12: an extended header of {length} bytes in a file of {size},"
            " expected at least 24"
        )
    end, base = (int.from_bytes(head[i : i + 8], "little") for i in (16, 24))
    for at, what, value in ((16, "program_size", end), (24, "segment_base_offset", base)):
        if value > size:
            raise FormatError(
                f"{name}: at byte {at}: {what} is {value}, the file has {size} bytes (truncated?)"
            )
    return end, base


class _Reader:
    """Turns the FlatBuffer's tables into data."""

    def __init__(self, source: Source, buffer: Buffer, base: int, size: int) -> None:
        self.source = source
        self.buffer = buffer
        self.base = base
        self.size = size
        self.segments: tuple[Place, ...] = ()
        self.constants: Sequence[Place | None] = ()
        self.inline: tuple[Place, ...] = ()
        self.initial: Sequence[Place] = ()

    def program(self) -> Program:
        root = self.buffer.root("ET12")
        self.segments = root.tables(4, self._segment)
        self.constants = self._constants(root)
        self.inline = root.tables(3, self._bytes)
        self.initial = next(iter(root.tables(6, self._subsegments)), ())
        methods = {m.name: m for m in root.tables(1, self._method)}
        named = dict(root.tables(7, self._named))
        return Program(self.source, self.size, methods, named)

    def _segment(self, t: Table) -> Place:
        offset, size = (t.number(slot, "Q") for slot in (0, 1))
        return self._within(t, self.base + offset, size)

    def _within(self, t: Table, start: int, size: int) -> Place:
        if start + size > self.size:
            raise t.fail(
                0, f"data at {start} to {start + size}, in a file of {self.size} bytes (truncated?)"
            )
        return Place(start, start + size)

    def _bytes(self, t: Table) -> Place:
        return Place(*t.raw(0))

    def _constants(self, root: Table) -> Sequence[Place | None]:
        """The data of constant tensors; entry 0 stands for none."""
        found = root.table(5)
        offsets = found.numbers(1, "<u8") if found else ()
        if not found or not len(offsets):
            return root.tables(2, self._bytes)
        return self._subsegments(found)

    def _subsegments(self, t: Table) -> list[Place]:
        """Parts of a segment; where they end only those know who read them."""
        offsets = t.numbers(1, "<u8")
        segment = self._segment_at(t, t.number(0, "I"))
        starts = [segment.start + int(o) for o in offsets]
        if starts and max(starts) > segment.end:
            raise t.fail(1, f"a constant at {max(starts)}, beyond its segment's {segment.end}")
        return [Place(s, segment.end) for s in starts]

    def _segment_at(self, t: Table, index: int) -> Place:
        if index >= len(self.segments):
            raise t.fail(1, f"segment {index}, of {len(self.segments)}")
        return self.segments[index]

    def _named(self, t: Table) -> tuple[str, Place]:
        return t.text(0), self._segment_at(t, t.number(1, "I"))

    def _method(self, t: Table) -> Method:
        values = t.tables(2, self._value)
        operators = t.tables(6, lambda o: _operator(o.text(0), o.text(1)))
        delegates = t.tables(7, self._delegate)
        chains = t.tables(5, lambda c: c.tables(2, lambda i: _instruction(i, operators)))
        calls = tuple(i for chain in chains for i in chain)
        inputs, outputs = (tuple(t.numbers(slot, "<i4").tolist()) for slot in (3, 4))
        self._check(t, values, inputs, outputs, calls, len(delegates))
        return Method(t.text(0), values, inputs, outputs, calls, delegates)

    def _check(
        self,
        t: Table,
        values: Sequence[Value],
        inputs: Sequence[int],
        outputs: Sequence[int],
        calls: Sequence[Instruction],
        delegates: int,
    ) -> None:
        """Every index leads to something."""
        used = [*inputs, *outputs]
        for call in calls:
            used += (call.source, call.target) if isinstance(call, MoveCall) else call.args
            if isinstance(call, DelegateCall) and not 0 <= call.delegate < delegates:
                raise t.fail(5, f"a call of delegate {call.delegate}, of {delegates}")
        lists = (v for v in values if isinstance(v, ListValue) and v.kind in ("int", "tensor"))
        indices = [i for v in lists for i in v.items]
        if bad := [i for i in used if not 0 <= i < len(values)]:
            raise t.fail(2, f"value {bad[0]} is used, there are {len(values)}")
        if bad := [i for i in indices if not -1 <= i < len(values)]:
            raise t.fail(2, f"a list holds value {bad[0]}, there are {len(values)}")

    def _delegate(self, t: Table) -> Delegate:
        data = t.required(1, "data of a delegate")
        index = data.number(1, "I")
        if data.number(0, "B") == 1:
            return Delegate(t.text(0), self._segment_at(data, index))
        if index >= len(self.inline):
            raise data.fail(1, f"delegate data {index}, of {len(self.inline)}")
        return Delegate(t.text(0), self.inline[index])

    def _value(self, t: Table) -> Value:
        kind = t.number(0, "B")
        if kind in (0, 1):
            return None
        v = t.required(1, f"value of type {kind}")
        read: dict[int, Callable[[], Value]] = {
            2: lambda: int(v.number(0, "q")),
            3: lambda: bool(v.number(0, "B")),
            4: lambda: float(v.number(0, "d", 0.0)),
            5: lambda: self._tensor(v),
            6: lambda: v.text(0),
            7: lambda: ListValue("int", tuple(v.numbers(0, "<i8").tolist())),
            8: lambda: ListValue("float", tuple(v.numbers(0, "<f8").tolist())),
            9: lambda: ListValue("bool", tuple(map(bool, v.numbers(0, "u1").tolist()))),
            10: lambda: ListValue("tensor", tuple(v.numbers(0, "<i4").tolist())),
            11: lambda: ListValue("tensor", tuple(v.numbers(0, "<i4").tolist())),
        }
        if kind not in read:
            raise UnsupportedError(
                f"{self.source.name}: a value of type {kind}, expected 1 to 11 (ExecuTorch 1.5)"
            )
        return read[kind]()

    def _tensor(self, t: Table) -> TensorValue:
        dtype = t.choice(0, DTYPES, "scalar type")
        shape = tuple(t.numbers(2, "<i4").tolist())
        if len(shape) > _MAX_RANK or any(n < 0 for n in shape):
            raise t.fail(2, f"the shape {shape}, expected at most {_MAX_RANK} sizes from 0")
        order = t.numbers(3, "u1").tolist()
        if order and order != [*range(len(shape))]:
            raise UnsupportedError(
                f"{self.source.name}: a tensor with the dim order {order}, expected contiguous"
            )
        index = t.number(5, "I")
        constant = None
        if index:  # a tensor in planned memory is a buffer that begins with something
            known = self.initial if t.has(6) else self.constants
            if index >= len(known):
                raise t.fail(5, f"constant {index}, of {len(known)}")
            constant = known[index]
        return TensorValue(dtype, shape, t.number(8, "b") == 1, constant)


def _operator(name: str, overload: str) -> str:
    return f"{name}.{overload}" if overload else name


def _instruction(t: Table, operators: Sequence[str]) -> Instruction:
    kind = t.number(0, "B")
    call = t.required(1, "instruction")
    if kind == 1:
        index = call.number(0, "i")
        if not 0 <= index < len(operators):
            raise call.fail(0, f"operator {index}, of {len(operators)}")
        return KernelCall(operators[index], tuple(call.numbers(1, "<i4").tolist()))
    if kind == 2:
        return DelegateCall(call.number(0, "i"), tuple(call.numbers(1, "<i4").tolist()))
    if kind == 3:
        return MoveCall(call.number(0, "i"), call.number(1, "i"))
    name = {4: "JumpFalseCall", 5: "FreeCall"}.get(kind, f"of type {kind}")
    raise UnsupportedError(
        f"{t.buffer.name}: an instruction {name}, expected KernelCall, DelegateCall or MoveCall"
    )
