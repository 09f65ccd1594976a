"""The `gemm` strategy of linear_q4gsw and linear_q8gsw: many rows, float32, no optional feature."""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import upper
from ..kernel import load
from ..op import Dispatch, Tensor
from ..target import Target
from .layout import rows_of
from .linear_sliced import sliced

_GEMM = load("linear_qgsw_gemm")


def gemm(
    target: Target,
    y: Tensor,
    x: Tensor,
    operands: Mapping[str, Tensor | None],
    group: int,
    act: str | None,
    *,
    high_first: bool,
) -> list[Dispatch]:
    """The product and what comes after it."""
    most = min(-(-max(upper(rows_of(x)), 1) // 16), _GEMM["ROWS"])
    kernel = _GEMM.specialise(HIGH_FIRST=high_first, ROWS=most)
    return sliced(target, kernel, (16 * most, 128), y, {"x": x}, operands, group, act)
