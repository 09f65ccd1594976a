"""The strategies `tile` and `gemv` of linear_q4gsw and linear_q8gsw: the product alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..dim import Dim, ceildiv, upper
from ..kernel import Kernel, load
from ..op import Dispatch, Tensor, dispatch, fold
from ..target import Target
from .layout import rows_of
from .linear_operands import bind, sizes_of

_TILE = load("linear_qgsw_tile")
_GEMV_SUBGROUPS = load("linear_qgsw_gemv")
# The same file where an invocation is a subgroup: the sum over it is the value.
_GEMV = replace(
    _GEMV_SUBGROUPS,
    source=_GEMV_SUBGROUPS.source.replace(
        "enable subgroups;", "fn subgroupAdd(v: vec4<f32>) -> vec4<f32> { return v; }"
    ),
)


def _launch(strategy: str, m: Dim, n: Dim) -> tuple[Kernel, Dim]:
    """The kernel with its rows, and how many workgroups cover y."""
    rows = max(upper(m), 1)
    if strategy == "tile":
        kernel = _TILE.specialise(ROWS=min(rows, 16))
        tiles = ceildiv(m, kernel["ROWS"]) * ceildiv(n, 4)
        return kernel, ceildiv(tiles, kernel["WIDTH"])
    kernel = _GEMV if strategy == "gemv" else _GEMV_SUBGROUPS
    return kernel.specialise(ROWS=rows), ceildiv(n, 4)


def tiled(
    strategy: str,
    target: Target,
    y: Tensor,
    x: Tensor,
    operands: Mapping[str, Tensor | None],
    group: int,
    *,
    high_first: bool,
) -> Dispatch:
    """Give y = x · dequantize(packed)ᵀ (+ bias)."""
    bound, m = bind(operands, x), rows_of(x)
    n, (bits, _, k) = bound["packed"].shape[0], sizes_of(bound["packed"])
    kernel, workgroups = _launch(strategy, m, n)
    kernel = kernel.specialise(
        BITS=bits,
        HIGH_FIRST=high_first,
        HALF=bound["scales"].dtype == "float16",
        BIAS=operands["bias"] is not None,
    )
    grid = fold(target, workgroups)
    return dispatch(kernel, grid, **bound, x=x, y=y, M=m, N=n, K=k, group=group)
