"""Symmetric integer weights in groups along K, each with one scale: what q4gsw and q8gsw share.

    weight   float32 [N, K]
    codes    integers of `bits` bits, -top-1 … top with top = 2**(bits-1) - 1; how they are packed
             into bytes is the format's own business (q4gsw.py, q8gsw.py)
    scales   float32 or float16 [K/group, N];  weight[n, k] ≈ code[n, k] · scales[k/group, n]

Plain rounding takes scale = max|group| / top and rounds half to even, so no element moves by more
than scale/2. The scale is rounded to its stored form first, and a step up where rounding it down
would break that bound (among denormals). A group of zeros has scale 0 and codes 0.

The search looks for the scale and codes of the least squared error in each group. It lets the
largest element have the code d, for several d of either sign (a negative scale gives it -top-1,
which has no positive twin), scores the codes that follow from each d by the error left under the
best scale for those codes, Σw² - (Σw·code)² / Σcode², and takes the winner's best scale. Where that
is no better than plain rounding, plain rounding stays.

What is exact. A stored scale has at most 15 significant bits (float16: 11; of a float32 the low 9
bits are zero), so every code · scale and every midpoint (code + ½) · scale is a float32 without
rounding. Hence dequantizing gives the same bits in any order and with any fusing, and a code is the
exact round-half-even of weight / scale: a float32 quotient lands on a half only if the true one
does, and an implementation with a poorer division settles the code by comparing the weight with the
midpoints. The plain scale is max|group| times the float32 constant 1/top, one correctly rounded
product. All of this can be repeated to the bit in WGSL. The search's scores are float32 sums, whose
order and fusing WGSL leaves open: another implementation may settle on another scale there, of
practically the same error; its codes for that scale are exact again.

Errors: QuantizationError for NaN and infinity (with the first index), a K that is no whole number
of groups, a group length other than 32, 64 or 128, and scales beyond 65504 (float16) or 2**120.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tensortab.errors import QuantizationError

Array: TypeAlias = npt.NDArray[Any]
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
    candidates: tuple[float, ...]
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
        self._check(weight, group, scales, name)
        n, k = weight.shape
        packed = np.empty((n, k * self.bits // 8), self.stored)
        per_group = np.empty((k // group, n), scales)
        for rows in _row_chunks(n, k):
            # Groups side by side, [group, groups]: each scale then meets its whole column.
            with np.errstate(over="ignore"):  # of float64; the next line speaks of it
                w = np.ascontiguousarray(weight[rows].reshape(-1, group).T, np.float32)
            extreme = _extreme(w)
            if not np.isfinite(extreme).all():
                raise _not_finite(weight, rows, name)
            s = self._plain_scale(extreme, scales, name)
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

    def _codes(self, w: Array, scale: Array) -> Array:
        codes = w / np.where(scale == 0, np.float32(1), scale)
        return self._rounded(codes)

    def _rounded(self, codes: Array) -> Array:
        """In place: round half to even, clip to the code's range."""
        np.rint(codes, out=codes)
        np.clip(codes, -self.top - 1, self.top, out=codes)
        return codes

    def _plain_scale(self, extreme: Array, kind: ScaleType, name: str) -> Array:
        largest = np.abs(extreme)
        ideal = largest * np.float32(1 / self.top)
        if ideal.max() > _LARGEST_SCALE[kind]:
            raise QuantizationError(
                f"{self.name}: {name} needs a scale of {ideal.max():.6g} (its largest element is"
                f" {largest.max():.6g}, over {self.top}), and {kind} scales end at"
                f" {_LARGEST_SCALE[kind]:g}"
            )
        s = _storable(ideal, kind)
        short = s * np.float32(self.top + 0.5) < largest
        return np.where(short, _step_up(s, kind), s)

    def _searched_scale(self, w: Array, extreme: Array, plain: Array, kind: ScaleType) -> Array:
        u = w / np.where(extreme == 0, np.float32(1), extreme)  # the largest element is 1
        best = np.zeros_like(extreme)
        ratio = np.zeros_like(extreme)  # scale / extreme
        codes, product = np.empty_like(u), np.empty_like(u)
        for d in self.candidates:
            self._rounded(np.multiply(u, np.float32(d), out=codes))
            dot = np.multiply(u, codes, out=product).sum(axis=0)
            norm = np.maximum(np.multiply(codes, codes, out=product).sum(axis=0), 1)
            better = dot * dot > best * norm
            best = np.where(better, dot * dot / norm, best)
            ratio = np.where(better, dot / norm, ratio)
        found = _storable(extreme * ratio, kind)
        kept = self._error(w, found, product) < self._error(w, plain, product)
        return np.where(kept, found, plain)

    def _error(self, w: Array, scale: Array, out: Array) -> Array:
        """The root of each column's summed squared error, worked out in `out`."""
        np.multiply(self._codes(w, scale), scale, out=out)
        np.subtract(out, w, out=out)
        # Of the largest difference, so that no square leaves float32's range.
        unit = np.maximum(np.abs(out).max(axis=0), np.finfo(np.float32).tiny)
        np.square(np.divide(out, unit, out=out), out=out)
        error: Array = unit * np.sqrt(out.sum(axis=0))
        return error

    def _check(self, weight: Array, group: int, scales: str, name: str) -> None:
        if group not in GROUPS:
            raise QuantizationError(
                f"{self.name}: {name}: group is {group}, expected one of 32, 64, 128"
            )
        if scales not in ("float32", "float16"):
            raise QuantizationError(
                f"{self.name}: {name}: scales is {scales!r}, expected 'float32' or 'float16'"
            )
        if weight.ndim != 2 or 0 in weight.shape:
            raise QuantizationError(
                f"{self.name}: {name} has the shape {list(weight.shape)}, expected [N, K] and not"
                f" empty"
            )
        if weight.shape[1] % group:
            raise QuantizationError(
                f"{self.name}: {name} has K = {weight.shape[1]}, which is no whole number of groups"
                f" of {group} ({weight.shape[1] % group} left over)"
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
        limit = np.float32(
            _LARGEST_SCALE[kind]
        )  # of the search's scales, which go beyond plain ones
        return np.clip(scale, -limit, limit).astype(np.float16).astype(np.float32)
    bits = scale.view(np.uint32)
    return ((bits + np.uint32(_DROPPED // 2)) & np.uint32(2**32 - _DROPPED)).view(np.float32)


def _step_up(scale: Array, kind: ScaleType) -> Array:
    """The next larger scale that can be stored (of scales that are not negative)."""
    if kind == "float16":
        return (
            (scale.astype(np.float16).view(np.uint16) + np.uint16(1))
            .view(np.float16)
            .astype(np.float32)
        )
    return (scale.view(np.uint32) + np.uint32(_DROPPED)).view(np.float32)


def _not_finite(weight: Array, rows: slice, name: str) -> QuantizationError:
    with np.errstate(over="ignore"):
        row, column = np.argwhere(~np.isfinite(weight[rows].astype(np.float32)))[0]
    n = rows.start + int(row)
    return QuantizationError(
        f"{name}[{n}, {column}] is {weight[n, column]}: only weights that are finite in float32"
        f" can be quantized"
    )
