"""8-bit weights: symmetric groups along K, a weight a byte.

The layout, stated once:

    weight  float32 [N, K]
    packed  int8 [N, K]        the codes, -128 … 127, in two's complement
    scales  float32 or float16 [K/group, N], group 32, 64 or 128
    weight[n, k] ≈ code[n, k] · scales[k / group, n]

Little-endian, a u32 word holds four weights, k ascending from the lowest byte: WGSL's unpack4xI8
gives them in order. What is exact, the search and the errors: groups.py.
"""

from __future__ import annotations

import numpy as np

from .groups import Array, GroupFormat


def _as_is(codes: Array) -> Array:
    return codes


# Eighths; steps of 1.75. They take a fifth off the squared error of normal weights in groups of 32;
# two hundred, twice as wide, take a quarter.
_CANDIDATES = (*range(-1064, -952, 14), *range(960, 1072, 14))

FORMAT = GroupFormat("q8gsw", 8, _CANDIDATES, np.int8, _as_is, _as_is)
quantize = FORMAT.quantize
dequantize = FORMAT.dequantize
bits_per_weight = FORMAT.bits_per_weight
