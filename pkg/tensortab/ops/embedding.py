"""y[…, :] = table[ids[…], :].

ids    int32 […]; an id outside of the table is clamped to it (a kernel cannot raise)
table  float32 [V, D]
y      float32 […, D]

With a table of symmetric groups along D, as quant/ states the layouts (there N is V and K is D),
so that a tied table serves the last linear too:

    embedding_q4gsw  packed uint8 [V, D/2]
    embedding_q8gsw  packed int8 [V, D]
    scales           float32 or float16 [D/group, V]

Tables of other origins differ in two ways, each an option: `scales_by_row` for scales [V, D/group],
and in 4 bits `high_first` for even d in the high nibble. ExecuTorch's et_vk.embedding_q4gsw has
both, or where its table is a linear's weight `scales_by_row` alone. There is no rounding: a scale
of the quantizer times a code is a float32 (quant/groups.py).

A table too large for one binding comes in parts: with `first` it is the rows first … first + V − 1
of the whole, an id of another part gives zeros, and the sum over the parts is y.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..dim import ceildiv, product, upper
from ..errors import ShapeError, UnsupportedError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import float32

_KERNEL = load("embedding")
_PACKED = load("embedding_qgsw")
_DTYPE = {4: "uint8", 8: "int8"}


def _require_ids(op: str, ids: Tensor) -> None:
    if ids.dtype != "int32":
        raise ShapeError(f"{op}: ids is {ids.spec}, expected int32")


def _inside(ids: Array, first: int | None, rows: int, found: Array) -> Array:
    """`found` with zeros for ids of another part."""
    at = ids - (first or 0)
    inside = (at >= 0) & (at < rows) | (first is None)
    return float32(np.where(inside[..., None], found, 0))


def _shape(ids: Tensor, table: Tensor, *, first: int | None = None) -> Spec:
    _require_ids("embedding", ids)
    if len(table.shape) != 2 or table.dtype != "float32":
        raise ShapeError(f"embedding: table is {table.spec}, expected float32[V, D]")
    return Spec((*ids.shape, table.shape[1]))


def _reference(ids: Array, table: Array, *, first: int | None = None) -> Array:
    found = table[np.clip(ids - (first or 0), 0, len(table) - 1)]
    return _inside(ids, first, len(table), found)


def _lower(
    target: Target, y: Tensor, ids: Tensor, table: Tensor, *, first: int | None = None
) -> list[Dispatch]:
    count, (rows, width) = product(ids.shape), table.shape
    kernel = _KERNEL.specialise(PART=first is not None)
    grid = fold(target, ceildiv(count * width, kernel["WIDTH"]))
    operands = {"ids": ids, "table": table, "y": y}
    sizes = {"count": count, "V": rows, "D": width, "first": first or 0}
    return [dispatch(kernel, grid, **operands, **sizes)]


embedding = Op("embedding", _shape, _reference, _lower)


def _packed_shape(
    bits: int,
    ids: Tensor,
    packed: Tensor,
    scales: Tensor,
    *,
    group: int,
    scales_by_row: bool = False,
    high_first: bool = False,
    first: int | None = None,
) -> Spec:
    op = f"embedding_q{bits}gsw"
    _require_ids(op, ids)
    if len(packed.shape) != 2 or packed.dtype != _DTYPE[bits]:
        raise ShapeError(f"{op}: packed is {packed.spec}, expected {_DTYPE[bits]}[V, D·{bits}/8]")
    rows, d = packed.shape[0], upper(packed.shape[1]) * 8 // bits
    if group < 4 or group % 4 or d % group:
        raise ShapeError(
            f"{op}: group is {group}, expected a multiple of 4 and a divisor of D = {d}"
        )
    want = (rows, d // group) if scales_by_row else (d // group, rows)
    if scales.shape != want or scales.dtype not in ("float32", "float16"):
        raise ShapeError(
            f"{op}: scales is {scales.spec}, expected float32[{want[0]}, {want[1]}]"
            f" (D / group = {d} / {group}, V = {rows} rows of packed)"
        )
    if high_first and bits != 4:
        raise UnsupportedError(f"{op}: high_first is about nibbles, expected False")
    return Spec((*ids.shape, d))


def _packed_reference(
    bits: int,
    ids: Array,
    packed: Array,
    scales: Array,
    *,
    group: int,
    scales_by_row: bool = False,
    high_first: bool = False,
    first: int | None = None,
) -> Array:
    row = np.clip(ids - (first or 0), 0, len(packed) - 1)
    codes = packed[row].astype(np.int32)
    if bits == 4:
        shifts = (4, 0) if high_first else (0, 4)
        codes = np.stack([codes >> s & 15 for s in shifts], -1).reshape(*ids.shape, -1) - 8
    each = (scales if scales_by_row else scales.T)[row].astype(np.float32)
    return _inside(ids, first, len(packed), codes * np.repeat(each, group, -1))


def _packed_lower(
    bits: int,
    target: Target,
    y: Tensor,
    ids: Tensor,
    packed: Tensor,
    scales: Tensor,
    *,
    group: int,
    scales_by_row: bool = False,
    high_first: bool = False,
    first: int | None = None,
) -> list[Dispatch]:
    count, rows, d = product(ids.shape), packed.shape[0], y.shape[-1]
    kernel = _PACKED.specialise(
        BITS=bits,
        HALF=scales.dtype == "float16",
        BY_ROW=scales_by_row,
        HIGH_FIRST=high_first,
        PART=first is not None,
    )
    grid = fold(target, ceildiv(count * d // 4, kernel["WIDTH"]))
    operands = {"ids": ids, "packed": packed, "scales": scales, "y": y}
    sizes = {"count": count, "V": rows, "D": d, "group": group, "first": first or 0}
    return [dispatch(kernel, grid, **operands, **sizes)]


def _packed(bits: int) -> Op[...]:
    return Op(
        f"embedding_q{bits}gsw",
        partial(_packed_shape, bits),
        partial(_packed_reference, bits),
        partial(_packed_lower, bits),
    )


embedding_q4gsw = _packed(4)
embedding_q8gsw = _packed(8)
