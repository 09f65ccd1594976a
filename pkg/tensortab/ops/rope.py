"""Rotary position embedding: pairs of elements turned by an angle that grows with the position.

Su et al., arXiv 2104.09864. At position t the pair (a, b) number j becomes
(a · cos(t·f_j) − b · sin(t·f_j), a · sin(t·f_j) + b · cos(t·f_j)), f_j = theta^(−2j / R).

    x         float32 [B, S, H, D]; row s is at position pos + s
    cos, sin  float32 [positions, R/2] of t·f_j, R ≤ D; elements past R are copied
    pos       a live scalar, or an int
    y         float32 [B, S, H, D]

Half-split pairs are (j, j + R/2), as Hugging Face's checkpoints have them; interleaved ones are
(2j, 2j + 1), as Meta's have.

The cosines come as a table and not from the GPU's own functions: WGSL promises sin and cos for
|x| ≤ π only, and a float32 angle of 8192 rad is wrong by 5e-4 before any function sees it. The
host makes the table in float64, once; 8192 positions of a 128-wide head take 4 MiB.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..dim import ceildiv, product
from ..errors import ShapeError, UnsupportedError
from ..kernel import load
from ..op import Array, Dispatch, Limit, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import float32, require_float32
from .update_cache import bind_position, position, position_of

_KERNEL = load("rope")
_LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


def rope_frequencies(
    head_dim: int, theta: float = 10000.0, scaling: Mapping[str, object] | None = None
) -> Array:
    """Inverse frequencies in rad a position, float32 [head_dim / 2]; for partial rotary give R.

    `scaling` is a config.json's rope_scaling: its rope_type (or type) is "linear" (all divided by
    factor), "llama3" (long waves divided by factor, short ones kept, a ramp between) or "default".
    """
    if head_dim < 2 or head_dim % 2:
        raise ShapeError(f"rope_frequencies: head_dim is {head_dim}, expected an even number")
    inverse = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    return float32(_scaled(inverse, scaling or {}))


def _scaled(inverse: Array, scaling: Mapping[str, object]) -> Array:
    guess = "llama3" if "low_freq_factor" in scaling else "linear" if scaling else "default"
    kind = scaling.get("rope_type", scaling.get("type", guess))
    if kind == "default":
        return inverse
    if kind == "linear":
        (factor,) = _numbers(scaling, ("factor",))
        return inverse / factor
    if kind != "llama3":
        raise UnsupportedError(
            f"rope scaling: rope_type is {kind!r}, expected 'default', 'linear' or 'llama3'"
        )
    factor, low, high, original = _numbers(scaling, _LLAMA3)
    turns = original * inverse / (2 * math.pi)  # of a pair within the original context
    kept = np.clip((turns - low) / (high - low), 0, 1)
    result: Array = inverse * (kept + (1 - kept) / factor)
    return result


def _numbers(scaling: Mapping[str, object], names: tuple[str, ...]) -> list[float]:
    found = [scaling.get(n) for n in names]
    for name, number in zip(names, found, strict=True):
        if isinstance(number, bool) or not isinstance(number, int | float) or number <= 0:
            raise UnsupportedError(f"rope scaling: {name} is {number!r}, expected a number above 0")
    return [float(n) for n in found if isinstance(n, int | float)]


def rope_table(inverse: Array, positions: int) -> tuple[Array, Array]:
    """Make float32 [positions, R/2] of cos and sin of position × inverse frequency."""
    angles = np.outer(np.arange(positions, dtype=np.float64), inverse.astype(np.float64))
    return float32(np.cos(angles)), float32(np.sin(angles))


def _shape(
    x: Tensor, cos: Tensor, sin: Tensor, pos: Tensor | int, *, interleaved: bool = False
) -> Spec:
    require_float32("apply_rotary_emb", x=x, cos=cos, sin=sin)
    position("apply_rotary_emb", pos)
    if len(x.shape) != 4:
        raise ShapeError(f"apply_rotary_emb: x is {x.spec}, expected [B, S, H, D]")
    if len(cos.shape) != 2 or cos.shape != sin.shape:
        raise ShapeError(
            f"apply_rotary_emb: cos is {cos.spec}, sin is {sin.spec}, expected [positions, R/2]"
        )
    width, pairs = x.shape[3], cos.shape[1]
    if not isinstance(width, int) or not isinstance(pairs, int) or width % 2 or 2 * pairs > width:
        raise ShapeError(
            f"apply_rotary_emb: cos is {cos.spec}, so R = {2 * pairs}; x is {x.spec},"
            f" expected an even D of at least R"
        )
    return x.spec


def _reference(
    x: Array, cos: Array, sin: Array, pos: Array | int, *, interleaved: bool = False
) -> Array:
    past, pairs = position_of(pos), cos.shape[1]
    turn = (cos.astype(np.float64) + 1j * sin)[past : past + x.shape[1], None]
    y = x.astype(np.float64)
    a, b = (
        (slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2))
        if interleaved
        else (slice(0, pairs), slice(pairs, 2 * pairs))
    )
    turned = (y[..., a] + 1j * y[..., b]) * turn
    y[..., a], y[..., b] = turned.real, turned.imag
    return float32(y)


def _limit(
    x: Tensor, cos: Tensor, sin: Tensor, pos: Tensor | int, *, interleaved: bool = False
) -> Limit:
    end = position("apply_rotary_emb", pos) + x.shape[1]
    return end, cos.shape[0], "pos + S, the positions of cos and sin in use"


def _lower(
    target: Target,
    y: Tensor,
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    pos: Tensor | int,
    *,
    interleaved: bool = False,
) -> list[Dispatch]:
    live, bound = bind_position(pos, x)
    kernel = _KERNEL.specialise(INTERLEAVED=interleaved, LIVE=live)
    grid = fold(target, ceildiv(product(x.shape) // 2, kernel["WIDTH"]))
    sizes = dict(zip("BSHD", x.shape, strict=True)) | {"half": cos.shape[1]}
    return [dispatch(kernel, grid, x=x, cosines=cos, sines=sin, y=y, **sizes, **bound)]


apply_rotary_emb = Op("apply_rotary_emb", _shape, _reference, _lower, limit=_limit)
