"""The `dots` strategy of linear_q4gsw and linear_q8gsw: many rows, as integers of 16 bits.

Four weights are multiplied with four bytes in one instruction, WGSL's dot4I8Packed, which most GPUs
have. Each block of 32 elements of x has a scale: an element is off by 1 / 65000 of its block's
largest magnitude, so y by about 3e-5 of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import upper
from ..kernel import load
from ..op import Dispatch, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import rows_of
from .linear_operands import sizes_of
from .linear_sliced import sliced

_DOTS = load("linear_qgsw_dots")
_ROWS = load("integer_rows")


def dots(
    target: Target,
    y: Tensor,
    x: Tensor,
    operands: Mapping[str, Tensor | None],
    group: int,
    act: str | None,
    norm: Tensor | None,
    *,
    eps: float,
    offset: float,
) -> list[Dispatch]:
    """Rounding, of normed rows if `norm` is there; the product and what comes after it."""
    packed = operands["packed"]
    assert packed
    m, (bits, _, k) = rows_of(x), sizes_of(packed)
    words, factors = Tensor(Spec((m, k // 2), "int32")), Tensor(Spec((k // 32, m)))
    rows = _ROWS.specialise(BITS=bits, NORM=norm is not None, LANES=128 if k < 2048 else 256)
    made = {"x": x, "norm": norm or x, "words": words, "factors": factors}
    down = _DOTS["DOWN"]
    kernel = _DOTS.specialise(ROWS=min(-(-max(upper(m), 1) // down), _DOTS["ROWS"]))
    tile = down * kernel["ROWS"], 16 * kernel["COLUMNS"]
    integers = {"x": words, "factors": factors}
    return [
        dispatch(rows, fold(target, m), **made, M=m, K=k, eps=eps, offset=offset),
        *sliced(target, kernel, tile, y, integers, operands, group, act),
    ]
