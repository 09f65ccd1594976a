"""Rotary position embedding: pairs of elements turned by an angle that grows with the position.

Su et al., arXiv 2104.09864. At position t the pair (a, b) number j becomes
(a · cos(t·f_j) − b · sin(t·f_j), a · sin(t·f_j) + b · cos(t·f_j)), f_j = theta^(−2j / R); what
else the frequencies may be: rope_scaling.py.

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

import numpy as np

from ..dim import ceildiv, product
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Limit, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import float32, require_float32
from .update_cache import bind_position, position, position_of

_KERNEL = load("rope")


def rope_table(inverse: Array, positions: int, factor: float = 1.0) -> tuple[Array, Array]:
    """Make float32 [positions, R/2] of cos and sin of position × inverse frequency, × factor."""
    angles = np.outer(np.arange(positions, dtype=np.float64), inverse.astype(np.float64))
    return float32(factor * np.cos(angles)), float32(factor * np.sin(angles))


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
