"""What quantizing did to a weight: bits, and the error as numbers and as a histogram.

    error[n, k] = dequantized[n, k] − weight[n, k]

Displayed in a notebook it is a picture. Its range follows from the weight and the code's width
alone, ±2.5 · rms(weight) / top, so that pictures of one weight in other groups compare; what lies
beyond counts for the bins at the ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import QuantizationError
from ..pictured import html
from . import q4gsw, q8gsw
from .groups import Array, GroupFormat

BINS = 61
_REACH = 2.5  # the largest error of normal weights, in rms(weight) / top, is 2.4


@dataclass(frozen=True)
class Comparison:
    """A quantized weight beside the float one; errors are in the weight's own unit."""

    format: str
    shape: tuple[int, int]
    group: int
    bits: float  # a weight, scales included
    max_error: float
    mean_error: float  # of magnitudes
    rms_error: float
    relative_error: float  # rms_error / rms(weight)
    reach: float  # the histogram is from −reach to reach
    counts: tuple[int, ...]

    def __str__(self) -> str:
        n, k = self.shape
        return (
            f"{self.format} [{n}, {k}], group {self.group}: {self.bits:.3g} bits a weight, error at"
            f" most {self.max_error:.3g}, rms {self.rms_error:.3g} ({self.relative_error:.2%} of"
            " the weight's)"
        )

    _repr_html_ = html


def compare(weight: Array, packed: Array, scales: Array) -> Comparison:
    """Compare a weight [N, K] with what q4gsw (uint8) or q8gsw (int8) made of it."""
    form = _format(packed)
    found = form.dequantize(packed, scales)
    if weight.shape != found.shape:
        raise QuantizationError(
            f"compare: weight is {list(weight.shape)}, and packed holds {list(found.shape)}"
        )
    error = found - weight.astype(np.float32)
    rms, of_weight = _rms(error), _rms(weight)
    reach = _REACH * of_weight / form.top or 1.0
    counts, _ = np.histogram(np.clip(error, -reach, reach), BINS, (-reach, reach))
    n, k = found.shape
    return Comparison(
        form.name,
        (n, k),
        k // len(scales),
        form.bits_per_weight(packed, scales),
        float(np.abs(error).max()),
        float(np.abs(error).mean(dtype=np.float64)),
        rms,
        rms / of_weight if of_weight else 0.0,
        reach,
        tuple(counts.tolist()),
    )


def _format(packed: Array) -> GroupFormat:
    for form in (q4gsw.FORMAT, q8gsw.FORMAT):
        if packed.dtype == form.stored:
            return form
    raise QuantizationError(
        f"compare: packed is {packed.dtype}, expected uint8 (q4gsw) or int8 (q8gsw)"
    )


def _rms(array: Array) -> float:
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
