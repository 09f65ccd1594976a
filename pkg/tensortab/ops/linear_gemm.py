"""The `gemm` strategy of linear_q4gsw and linear_q8gsw: many rows, float32, no optional feature."""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import ceildiv, upper
from ..kernel import load
from ..op import Dispatch, Tensor, dispatch, fold
from ..target import Target
from .glu import ACTIVATIONS
from .layout import rows_of

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
    bound = {name: t or x for name, t in operands.items()}
    packed, scales = bound["packed"], bound["scales"]
    m, n = rows_of(x), upper(packed.shape[0])
    most = min(-(-max(upper(m), 1) // 16), _GEMM["ROWS"])
    kernel = _GEMM.specialise(
        BITS=8 if packed.dtype == "int8" else 4,
        HIGH_FIRST=high_first,
        HALF=scales.dtype == "float16",
        GLU=ACTIVATIONS[act] if act else 0,
        N=n,
        K=upper(x.shape[-1]),
        GROUP=group,
        ROWS=most,
        **{name.upper(): operands[name] is not None for name in ("bias", "add")},
    )
    grid = fold(target, ceildiv(m, 16 * most) * ceildiv(n, 128))
    return dispatch(kernel, grid, **bound, x=x, y=y, M=m)
