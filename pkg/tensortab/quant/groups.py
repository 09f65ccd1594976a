"""Symmetric integer weights in groups along K, each with one scale: what q4gsw and q8gsw share.

    weight   float32 [N, K]
    codes    integers of `bits` bits, -top-1 … top with top = 2**(bits-1) - 1; how they are packed
             into bytes is the format's own business (q4gsw.py, q8gsw.py)
    scales   float32 or float16 [K/group, N];  weight[n, k] ≈ code[n, k] · scales[k/group, n]

Plain rounding takes scale = max|group| / top and rounds half to even, so no element moves by more
than scale/2. The scale is rounded to its stored form first, and a step up where rounding it down
would break that bound (among denormals). A group of zeros has scale 0 and codes 0.

The search (search.py) looks for the scale and codes of the least squared error in each group; the
scale may be negative, and plain rounding stays where it is as good.

What is exact: everything. A stored scale has at most 15 significant bits (float16: 11; of a float32
the low 9 bits are zero), so every code · scale and every midpoint (code + ½) · scale is a float32
without rounding. Hence dequantizing gives the same bits in any order and with any fusing, and a
code is the exact round-half-even of weight / scale: a float32 quotient lands on a half only if the
true one does, and an implementation with a poorer division settles the code by comparing the weight
with the midpoints. The plain scale is max|group| times the float32 constant 1/top, one product
rounded half to even. The search computes in integers. Denormals, of weights and of scales, count as
what they are. wgsl/quantize_qgsw.wgsl repeats all of it to the bit; quantizer.py runs it.

Errors: QuantizationError for NaN and infinity (with the first index), and if there are none for
scales beyond 65504 (float16) or 2**120 (with the largest of the whole weight); for a K that is no
whole number of groups and a group length other than 32, 64 or 128.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from tensortab.errors import QuantizationError

from . import search as searching
from .search import Array as Array  # noqa: PLC0414  # for those that import this module

ScaleType: TypeAlias = Literal["float32", "float16"]

GROUPS = (32, 64, 128)
_CHUNK = 1 << 16  # weights worked on at a time: the few arrays of them stay in a CPU's cache
_DROPPED = 512  # one past the low 9 of a float32's 24 significant bits
# float16's own end, and for float32 one that leaves room for code · scale (a code is under 2**7).
_LARGEST_SCALE = {"float16": 65504.0, "float32": 2.0**120}


@dataclass(frozen=True)
class GroupFormat:
    """One member of the family: its code width, the search's d, and how codes become bytes."""

    name: str
    bits: int
    candidates: tuple[int, ...]  # d in eighths, sixteen of them
    stored: type[np.uint8 | np.int8]  # the dtype of packed
    pack: Callable[[Array], Array]  # int8 codes [n, K] → stored [n, K · bits/8]
    unpack: Callable[[Array], Array]

    def quantize(
        self,
        weight: Array,
        group: int = 32,
        *,
        search: bool = False,
        scales: ScaleType = "float32",
        name: str = "weight",
    ) -> tuple[Array, Array]:
        """`weight` [N, K] as (packed [N, K · bits/8], scales [K/group, N])."""
        self.check(weight.shape, group, scales, name)
        n, k = weight.shape
        packed = np.empty((n, k * self.bits // 8), self.stored)
        per_group = np.empty((k // group, n), scales)
        for rows in _row_chunks(n, k):
            # Groups side by side, [group, groups]: each scale then meets its whole column.
            with np.errstate(over="ignore"):  # of float64; the next line speaks of it
                w = np.ascontiguousarray(weight[rows].reshape(-1, group).T, np.float32)
            extreme = _extreme(w)
            # NaN compares false.
            if not (np.abs(extreme).max() <= self.largest_weight(scales)):
                raise self._refusal(weight, scales, name)
            s = self._plain_scale(extreme, scales)
            if search:
                s = self._searched_scale(w, extreme, s, scales)
            codes = self._codes(w, s).astype(np.int8)
            packed[rows] = self.pack(codes.T.reshape(-1, k))
            per_group[:, rows] = s.reshape(-1, k // group).T
        return packed, per_group

    def dequantize(self, packed: Array, scales: Array) -> Array:
        """The float32 weight [N, K]; the group's length follows from the shapes."""
        self._check_packed(packed, scales)
        n, k = len(packed), packed.shape[1] * 8 // self.bits
        weight = np.empty((n, k), np.float32)
        for rows in _row_chunks(n, k):
            codes = self.unpack(packed[rows]).reshape(-1, len(scales), k // len(scales))
            s = scales[:, rows].astype(np.float32).T[:, :, None]
            np.multiply(codes, s, out=weight[rows].reshape(codes.shape), dtype=np.float32)
        return weight

    def bits_per_weight(self, packed: Array, scales: Array) -> float:
        """Bits stored for each weight, scales included."""
        self._check_packed(packed, scales)
        return float(self.bits + 8 * scales.nbytes / (packed.size * 8 // self.bits))

    @property
    def top(self) -> int:
        """The largest code; the smallest is -top - 1."""
        return int(2 ** (self.bits - 1) - 1)

    def largest_weight(self, kind: ScaleType) -> float:
        """The largest magnitude whose plain scale can be stored."""
        about = np.float32(_LARGEST_SCALE[kind] * self.top).view(np.uint32)
        near = np.arange(about - 4, about + 5, dtype=np.uint32).view(np.float32)
        return float(near[near * np.float32(1 / self.top) <= _LARGEST_SCALE[kind]].max())

    def too_large(self, largest: float, kind: ScaleType, name: str) -> QuantizationError:
        """What a weight is refused with whose `largest` magnitude is beyond `largest_weight`."""
        ideal = np.float32(largest) * np.float32(1 / self.top)
        return QuantizationError(
            f"{self.name}: {name} needs a scale of {ideal:.6g} (its largest element is"
            f" {largest:.6g}, over {self.top}), and {kind} scales end at"
            f" {_LARGEST_SCALE[kind]:g}"
        )

    def _refusal(self, weight: Array, kind: ScaleType, name: str) -> QuantizationError:
        largest = 0.0
        for rows in _row_chunks(*weight.shape):
            with np.errstate(over="ignore"):
                w = np.abs(weight[rows].astype(np.float32))
            for row, column in np.argwhere(~np.isfinite(w))[:1]:
                n = rows.start + int(row)
                return not_finite(name, n, int(column), weight[n, column])
            largest = max(largest, float(w.max()))
        return self.too_large(largest, kind, name)

    def _codes(self, w: Array, scale: Array) -> Array:
        """Round half to even, clip to the code's range."""
        codes = w / np.where(scale == 0, np.float32(1), scale)
        np.rint(codes, out=codes)
        np.clip(codes, -self.top - 1, self.top, out=codes)
        return codes

    def _plain_scale(self, extreme: Array, kind: ScaleType) -> Array:
        largest = np.abs(extreme)
        s = _storable(largest * np.float32(1 / self.top), kind)
        short = s * np.float32(self.top + 0.5) < largest
        return np.where(short, _step_up(s, kind), s)

    def _searched_scale(self, w: Array, extreme: Array, plain: Array, kind: ScaleType) -> Array:
        small, e = searching.normalised(w, extreme)
        ideal = searching.found_scale(small, e, extreme, self.bits, self.candidates)
        found = _nearest(ideal, kind)
        errors = [
            searching.error(small, e, self._codes(w, s), s, self.bits) for s in (found, plain)
        ]
        kept: Array = np.where(errors[0] < errors[1], found, plain)
        return kept

    def check(self, shape: Sequence[int], group: int, scales: str, name: str) -> None:
        """Refuse a weight of that shape, or options, that cannot be had."""
        if group not in GROUPS:
            raise QuantizationError(
                f"{self.name}: {name}: group is {group}, expected one of 32, 64, 128"
            )
        if scales not in ("float32", "float16"):
            raise QuantizationError(
                f"{self.name}: {name}: scales is {scales!r}, expected 'float32' or 'float16'"
            )
        if len(shape) != 2 or 0 in shape:
            raise QuantizationError(
                f"{self.name}: {name} has the shape {list(shape)}, expected [N, K] and not empty"
            )
        if shape[1] % group:
            raise QuantizationError(
                f"{self.name}: {name} has K = {shape[1]}, which is no whole number of groups"
                f" of {group} ({shape[1] % group} left over)"
            )

    def _check_packed(self, packed: Array, scales: Array) -> None:
        sound = packed.ndim == scales.ndim == 2 and packed.dtype == self.stored and len(scales) > 0
        k = packed.shape[1] * 8 // self.bits if sound else 0
        if not sound or scales.shape not in [(k // g, len(packed)) for g in GROUPS if not k % g]:
            raise QuantizationError(
                f"{self.name}: packed {packed.dtype}{list(packed.shape)} and scales"
                f" {scales.dtype}{list(scales.shape)} do not fit: expected"
                f" {np.dtype(self.stored)}[N, K·{self.bits}/8] and [K/group, N] with group 32, 64"
                f" or 128"
            )


def _row_chunks(n: int, k: int) -> Iterator[slice]:
    step = max(1, _CHUNK // k)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _extreme(w: Array) -> Array:
    """Each column's element of largest magnitude, with its sign; NaN if there is one."""
    high, low = w.max(axis=0), w.min(axis=0)
    extreme: Array = np.where(high >= -low, high, low)
    return extreme


def _storable(scale: Array, kind: ScaleType) -> Array:
    """The nearest scale that can be stored: as float16, or as a float32 of 15 significant bits."""
    if kind == "float16":
        return scale.astype(np.float16).astype(np.float32)
    bits = scale.view(np.uint32)
    return ((bits + np.uint32(_DROPPED // 2)) & np.uint32(2**32 - _DROPPED)).view(np.float32)


def _nearest(scale: Array, kind: ScaleType) -> Array:
    """The same for float64: half to even as float16, half up in magnitude as float32."""
    if kind == "float16":
        limit = _LARGEST_SCALE[kind]  # which the search's scales may go beyond
        return np.clip(scale, -limit, limit).astype(np.float16).astype(np.float32)
    unit = np.maximum(np.frexp(scale)[1] - 15, -140)  # the exponent of the last bit that is kept
    whole = np.floor(np.ldexp(np.abs(scale), -unit) + 0.5)
    nearest: Array = np.copysign(np.ldexp(whole, unit), scale).astype(np.float32)
    return nearest


def _step_up(scale: Array, kind: ScaleType) -> Array:
    """The next larger scale that can be stored (of scales that are not negative)."""
    if kind == "float16":
        return (
            (scale.astype(np.float16).view(np.uint16) + np.uint16(1))
            .view(np.float16)
            .astype(np.float32)
        )
    return (scale.view(np.uint32) + np.uint32(_DROPPED)).view(np.float32)


def not_finite(name: str, row: int, column: int, value: float) -> QuantizationError:
    """What a weight is refused with that has NaN or infinity; the first index."""
    return QuantizationError(
        f"{name}[{row}, {column}] is {value}: only weights that are finite in float32"
        f" can be quantized"
    )
