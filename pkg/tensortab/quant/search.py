"""The search for a group's scale: of the least squared error, and the same bits on every device.

Sixteen times the group's largest element is given a code d, of either sign (a negative scale gives
it -top-1, which has no positive twin). The d whose codes leave the least error wins, its codes are
kept, and the scale becomes the best one for them, Σw·code / Σcode². Where that is no better than
plain rounding, plain rounding stays.

Every number on the way is an integer, or an integer times a power of two that float32 holds without
rounding; so sums have no order, fusing changes nothing, and what WGSL leaves open (the rounding of
a product, the quality of a quotient, flushed denormals) is not met. With w the group's weights over
2**e, so that 1 ≤ max|w| < 2, `bits` the format's, and rounding half to even where none is named:

    x      = round(2**11 · w)                       |x| ≤ 2**12; of the largest element: ±a
    g[d]   = ⌊⌊2**26 / a⌋ · d · 2**(bits - 26) + ½⌋        d in eighths; d / a in units of 2**-k
    y      = ±x · g · 2**-k,  k = 23 - bits         a product of 24 bits
    code   = y, rounded and clipped
    r      = round(2**f · (y - code)),  f = 8 - bits/4     Σr² < 2**24 in 128 weights
    E[d]   = ⌊Σr² · W[d] / 2**12⌋,  W = ⌊2**19 · (min|d| / d)² + ½⌋    the least, first one wins
    scale  = ±⌊2**s · |Σx·code| / Σcode²⌋ · 2**(e - 11 - s),  s = bits + 8

rounded to what can be stored. The largest code d stays so close to the format's end that Σr² keeps
to its 24 bits. Found and plain are then compared with the codes that quantizing gives under them,

    Σ clip(round(2**q · w) - round(2**q · code · scale / 2**e), ±4095)²,  q = 11 + bits/2

and the found scale is kept where its sum is smaller. Each difference is off by one unit at most, so
the root of the true error exceeds plain rounding's by no more than 2 · √group · 2**(e - q).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

_MOST = 4095  # units of a difference: its square is a float32


def weights(candidates: Sequence[int]) -> list[int]:
    """W[d]: what makes errors counted in units of extreme/d comparable."""
    least = min(map(abs, candidates))
    return [int(2**19 * Fraction(least, d) ** 2 + Fraction(1, 2)) for d in candidates]


def normalised(w: Array, extreme: Array) -> tuple[Array, Array]:
    """`w` [group, groups] over 2**e, and e: 1 ≤ |extreme| / 2**e < 2."""
    e = np.frexp(extreme)[1] - 1
    # In two factors, since 2**149 is no float32. What a denormal loses is far below x's unit.
    first = -e // 2
    one = np.float32(1)
    return w * np.ldexp(one, first) * np.ldexp(one, -e - first), e


def found_scale(w: Array, e: Array, extreme: Array, bits: int, candidates: Sequence[int]) -> Array:
    """The best scale of the best codes, float64, exact; from normalised `w`."""
    x = np.rint(w * np.float32(2**11))
    a = np.abs(x).max(axis=0).astype(np.int64)
    gain = 2**26 // np.maximum(a, 1)
    sign = np.where(extreme < 0, -1, 1)
    unit = np.float32(2.0 ** (bits - 23))
    fine = np.float32(2 ** (8 - bits // 4))
    y, codes = np.empty_like(x), np.empty_like(x)
    least = np.full(a.shape, 2**40)
    best = np.zeros(a.shape, np.float32)
    for d, weight in zip(candidates, weights(candidates), strict=True):
        shift = 29 - (23 - bits)
        g = (sign * ((gain * d + (1 << shift >> 1)) >> shift)).astype(np.float32) * unit
        np.multiply(x, g, out=y)
        _round(y, bits, out=codes)
        np.subtract(y, codes, out=y)
        np.rint(np.multiply(y, fine, out=y), out=y)
        error = np.einsum("ij,ij->j", y, y).astype(np.int64) * weight >> 12
        best = np.where(error < least, g, best)
        least = np.minimum(error, least)
    _round(np.multiply(x, best, out=y), bits, out=codes)
    dot = np.multiply(x, codes, out=y).sum(axis=0, dtype=np.float64).astype(np.int64)
    norm = np.einsum("ij,ij->j", codes, codes).astype(np.int64)
    s = bits + 8
    ratio = np.sign(dot) * ((np.abs(dot) << s) // np.maximum(norm, 1))
    scale: Array = np.ldexp(ratio.astype(np.float64), e - 11 - s)
    return scale


def error(w: Array, e: Array, codes: Array, scale: Array, bits: int) -> Array:
    """Each group's squared error in whole units, from normalised `w`; `codes` is overwritten."""
    q = 11 + bits // 2
    # A scale that far above its group leaves no code but 0, and float32 ends at 2**128.
    unit = np.clip(np.ldexp(scale.astype(np.float64), q - e), -(2.0**100), 2.0**100)
    np.rint(np.multiply(codes, unit.astype(np.float32), out=codes), out=codes)
    difference = np.rint(w * np.float32(2**q))
    np.subtract(difference, codes, out=difference)
    np.clip(difference, -_MOST, _MOST, out=difference)
    total: Array = np.square(difference, out=difference).sum(axis=0, dtype=np.float64)
    return total


def _round(y: Array, bits: int, out: Array) -> None:
    np.rint(y, out=out)
    np.clip(out, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, out=out)
