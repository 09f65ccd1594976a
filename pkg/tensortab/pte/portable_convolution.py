"""aten::convolution on numpy, of any rank, forwards and transposed.

    y[n, o, i…] = Σ_c,k x[n, c, i·stride + k·dilation − padding] · w[o, c, k…] (+ bias[o])

x is [N, C, …], w [O, C/groups, …] or transposed [C, O/groups, …]. Transposed, every x[n, c, i]
times w goes to y[n, o, i·stride + k·dilation − padding]; y is `output_padding` longer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ..op import Array

Ints = Sequence[int]
_MOST = 1 << 30


def convolution(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
) -> Array:
    """The operator, its settings one number or one for each dimension."""
    rank = x.ndim - 2
    stride, padding, dilation, more = (
        tuple(v) * (rank if len(v) == 1 else 1) for v in (stride, padding, dilation, output_padding)
    )
    of = np.split(x, groups, axis=1), np.split(weight, groups)
    if transposed:
        made = [_scatter(a, w, stride, padding, dilation, more) for a, w in zip(*of, strict=True)]
    else:
        made = [_gather(a, w, stride, padding, dilation) for a, w in zip(*of, strict=True)]
    y = np.concatenate(made, 1)
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def bounded(shape: Iterable[int]) -> None:
    """Refuse an array that no program means."""
    if math.prod(sizes := [*shape]) > _MOST:
        raise ValueError(f"an array of {sizes}, expected at most {_MOST} elements")


def _gather(x: Array, w: Array, stride: Ints, padding: Ints, dilation: Ints) -> Array:
    """Every window of x with w."""
    bounded(n + 2 * p for n, p in zip(x.shape, (0, 0, *padding), strict=True))
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    spans = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    axes = tuple(range(2, x.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axes)
    steps = tuple(slice(None, None, s) for s in (*stride, *dilation))
    taps = [1, *range(x.ndim, windows.ndim)]
    found = np.tensordot(windows[(slice(None), slice(None), *steps)], w, (taps, [1, *axes]))
    return np.moveaxis(found, -1, 1)


def _scatter(x: Array, w: Array, stride: Ints, padding: Ints, dilation: Ints, more: Ints) -> Array:
    """Every element of x times w, added where it belongs."""
    settings = [*zip(x.shape[2:], w.shape[2:], stride, padding, dilation, more, strict=True)]
    whole = [(n - 1) * s + (k - 1) * d + 1 + m for n, k, s, _, d, m in settings]
    bounded((len(x), w.shape[1], *whole))
    y = np.zeros((len(x), w.shape[1], *whole), np.result_type(x, w))
    for tap in np.ndindex(w.shape[2:]):
        part = np.moveaxis(np.tensordot(x, w[(slice(None), slice(None), *tap)], (1, 0)), -1, 1)
        places = zip(tap, x.shape[2:], stride, dilation, strict=True)
        at = (slice(k * d, k * d + (n - 1) * s + 1, s) for k, n, s, d in places)
        y[(slice(None), slice(None), *at)] += part
    ends = (slice(p, (n - 1) * s + (k - 1) * d + 1 + m - p) for n, k, s, p, d, m in settings)
    return y[(slice(None), slice(None), *ends)]
