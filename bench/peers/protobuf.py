"""Protocol buffers' wire format, as much of it as writing takes.

A message is its fields one after another; a field's number and the Python type of its value say
how it is written: int as a varint, float as 32 bits, str and bytes (messages, too) with a length.
Source: protobuf.dev/programming-guides/encoding.
"""

import struct

Value = int | float | str | bytes


def message(*fields: tuple[int, Value]) -> bytes:
    return b"".join(_field(number, value) for number, value in fields)


def _field(number: int, value: Value) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value & (1 << 64) - 1)
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
