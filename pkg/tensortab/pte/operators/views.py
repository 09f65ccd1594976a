"""Operators that move elements or rename dimensions, and those that read where an index says.

Kernels move words; tensors of bytes become words on the way, and bytes again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import ops
from ...dim import Dim, product, upper
from ...op import Tensor
from ...ops.as_strided import axis_of
from ..registry import Call, Number, operator
from .elementwise import as_dtype

Dims = tuple[Dim, ...]


def in_words(move: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Move tensors of any dtype with an op that takes words."""
    dtype = tensors[0].dtype
    if np.dtype(dtype).itemsize == 4:
        return move(*tensors)
    return ops.convert(move(*(as_dtype(t, "int32") for t in tensors)), dtype)


def _resized(x: Tensor, sizes: Dims) -> Dims:
    """Sizes with −1 for what is left."""
    if -1 not in sizes:
        return sizes
    at = sizes.index(-1)
    rest = (*sizes[:at], *sizes[at + 1 :])
    return (*sizes[:at], product(x.shape) // product(rest), *sizes[at + 1 :])


@operator("aten.view_copy.default")
def _view(call: Call, x: Tensor, sizes: Dims) -> Tensor:
    if 0 in sizes and -1 in sizes:
        raise call.malformed(f"sizes {sizes}: what is left of nothing")
    return ops.reshape(x, _resized(x, sizes))


@operator("aten.squeeze_copy.dims")
def _squeeze(call: Call, x: Tensor, dims: tuple[int, ...]) -> Tensor:
    gone = {a for d in dims if x.shape[a := axis_of("squeeze", x, d)] == 1}
    return ops.reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in gone))


@operator("aten.unsqueeze_copy.default")
def _unsqueeze(call: Call, x: Tensor, dim: int) -> Tensor:
    rank = len(x.shape) + 1
    if not -rank <= dim < rank:
        raise call.malformed(f"dim is {dim}, expected {-rank} to {rank - 1}")
    at = dim % rank
    return ops.reshape(x, (*x.shape[:at], 1, *x.shape[at:]))


@operator("aten.expand_copy.default")
def _expand(call: Call, x: Tensor, sizes: Dims, _implicit: bool) -> Tensor:
    lead = len(sizes) - len(x.shape)
    kept = zip(sizes[lead:], x.shape, strict=lead >= 0)
    shape = (*sizes[:lead], *(n if n != -1 else own for n, own in kept))
    return in_words(lambda t: ops.expand(t, shape), x)


@operator("aten.permute.default", "aten.permute_copy.default")
def _permute(call: Call, x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return _permuted(x, tuple(axis_of("permute", x, d) for d in dims))


def _permuted(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    same = axes == (*range(len(x.shape)),)
    return x if same else in_words(lambda t: ops.permute(t, axes), x)


def swapped(x: Tensor, a: int, b: int) -> Tensor:
    """Two dimensions in each other's place."""
    axes = [*range(len(x.shape))]
    i, j = axis_of("transpose", x, a), axis_of("transpose", x, b)
    axes[i], axes[j] = j, i
    return _permuted(x, tuple(axes))


@operator("aten.select_copy.int")
def _select(call: Call, x: Tensor, dim: int, index: Dim) -> Tensor:
    at = axis_of("select", x, dim)
    n = x.shape[at]
    if isinstance(index, int) and isinstance(n, int):
        if not -n <= index < n:
            raise call.malformed(f"index is {index}, expected {-n} to {n - 1}")
        index %= n
    part = in_words(lambda t: ops.slice(t, at, index, index + 1), x)
    return ops.reshape(part, (*x.shape[:at], *x.shape[at + 1 :]))


@operator("aten.slice_copy.Tensor")
def _slice(
    call: Call, x: Tensor, dim: int, start: Dim | None, end: Dim | None, step: int
) -> Tensor:
    return in_words(lambda t: ops.slice(t, dim, start or 0, end, step), x)


@operator("aten.split_with_sizes_copy.default")
def _split(call: Call, x: Tensor, sizes: Dims, dim: int) -> tuple[Tensor, ...]:
    parts = []
    start: Dim = 0
    for n in sizes:
        parts.append(_part(x, dim, start, start + n))
        start = start + n
    return tuple(parts)


def _part(x: Tensor, dim: int, start: Dim, end: Dim) -> Tensor:
    return in_words(lambda t: ops.slice(t, dim, start, end), x)


@operator("aten.flip.default")
def _flip(call: Call, x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return in_words(lambda t: ops.flip(t, dims), x)


@operator("aten.repeat.default")
def _repeat(call: Call, x: Tensor, times: tuple[int, ...]) -> Tensor:
    return in_words(lambda t: ops.repeat(t, times), x)


@operator("aten.cat.default")
def _cat(call: Call, tensors: tuple[Tensor, ...], dim: int) -> Tensor:
    # PyTorch lets a tensor of shape [0] join anything.
    joined = [t for t in tensors if t.shape != (0,)] or [*tensors[:1]]
    if not joined:
        raise call.malformed("there are no tensors to join")
    typed = (as_dtype(t, call.out.dtype) for t in joined)
    return in_words(lambda *ts: ops.concat(*ts, axis=dim), *typed)


@operator("aten.constant_pad_nd.default")
def _pad(call: Call, x: Tensor, pads: tuple[int, ...], value: Number) -> Tensor:
    rank = len(x.shape)
    if len(pads) % 2 or len(pads) > 2 * rank:
        raise call.malformed(f"{len(pads)} widths for {x.spec}, expected an even number, two each")
    # From the last dimension back, as (before, after).
    pairs = [*zip(pads[::2], pads[1::2], strict=True)][::-1]
    widths = ((0, 0),) * (rank - len(pairs)) + tuple(pairs)

    def move(t: Tensor) -> Tensor:
        for axis, (before, after) in enumerate(widths):
            if before < 0 or after < 0:
                t = ops.slice(t, axis, max(-before, 0), t.shape[axis] + min(after, 0))
        return ops.pad(t, tuple((max(a, 0), max(b, 0)) for a, b in widths), value)

    return in_words(move, x)


@operator("aten.index_select.default")
def _index_select(call: Call, x: Tensor, dim: int, index: Tensor) -> Tensor:
    return in_words(lambda t: ops.index_select(t, index, dim), x)


@operator("aten.gather.default")
def _gather(call: Call, x: Tensor, dim: int, index: Tensor, *_: Any) -> Tensor:
    return in_words(lambda t: ops.gather(t, index, dim), x)


@operator("aten.index.Tensor")
def _index(call: Call, x: Tensor, indices: tuple[Tensor | None, ...]) -> Tensor:
    axes = [a for a, t in enumerate(indices) if t is not None]
    given = [t for t in indices if t is not None]
    if len(indices) > len(x.shape) or not given:
        raise call.malformed(f"{len(given)} index tensors for {x.spec}, expected one or more")
    if any(t.dtype != "int32" for t in given):
        raise call.unsupported(
            "a mask as index, expected integers: how much comes out depends on it"
        )
    first, last = axes[0], axes[-1] + 1
    if len(axes) == 1:
        return in_words(lambda t: ops.index_select(t, given[0], first), x)
    rest = [a for a in range(len(x.shape)) if a not in axes]
    # Where the indexed dimensions are not neighbours, what they become comes first.
    first = first if last - first == len(axes) else 0
    turned = _permuted(x, (*rest[:first], *axes, *rest[first:]))
    sizes = turned.shape[first : first + len(axes)]
    shape = (*turned.shape[:first], product(sizes), *turned.shape[first + len(axes) :])
    if not all(isinstance(n, int) for n in sizes):
        raise call.unsupported(f"several index tensors for {x.spec}, of live sizes")
    place = _places(given[0], sizes[0])
    for index, n in zip(given[1:], sizes[1:], strict=True):
        place = ops.add(ops.mul(place, upper(n)), _places(index, n))
    return in_words(lambda t: ops.index_select(t, place, first), ops.reshape(turned, shape))


def _places(index: Tensor, n: Dim) -> Tensor:
    """Indices counted from the front; those out of range are clamped."""
    least = upper(n)
    return ops.clamp(ops.where(ops.lt(index, 0), ops.add(index, least), index), 0, least - 1)


@operator("aten.embedding.default")
def _embedding(call: Call, table: Tensor, ids: Tensor, *_: Any) -> Tensor:
    return ops.embedding(ids, table)
