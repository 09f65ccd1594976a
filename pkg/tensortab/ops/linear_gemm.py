"""The `gemm` strategy of linear_q4gsw and linear_q8gsw: many rows, float32, no optional feature."""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import ceildiv, upper
from ..kernel import load
from ..op import Dispatch, Tensor, dispatch, fold
from ..target import Target
from .glu import ACTIVATIONS
from .layout import rows_of
from .linear_operands import bind, sizes_of

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
) -> Dispatch:
    """The product and what comes after it; what is absent is bound to any buffer."""
    bound, m = bind(operands, x), rows_of(x)
    bits, n, k = sizes_of(bound["packed"])
    most = min(-(-max(upper(m), 1) // 16), _GEMM["ROWS"])
    kernel = _GEMM.specialise(
        BITS=bits,
        HIGH_FIRST=high_first,
        HALF=bound["scales"].dtype == "float16",
        GLU=ACTIVATIONS[act] if act else 0,
        N=n,
        K=k,
        GROUP=group,
        ROWS=most,
        **{name.upper(): operands[name] is not None for name in ("bias", "add")},
    )
    grid = fold(target, ceildiv(m, 16 * most) * ceildiv(n, 128))
    return dispatch(kernel, grid, **bound, x=x, y=y, M=m)
