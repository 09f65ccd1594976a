"""The `matrix` strategy of linear_q4gsw: rows become float16, the GPU's matrix units multiply.

Products are of float16, sums float32: against the other strategies y is off by about 3e-4 of its
largest magnitude. Each row of x is scaled by a power of 2 first, so that nothing overflows.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import ceildiv, upper
from ..kernel import load
from ..op import Dispatch, Spec, Tensor, dispatch, fold
from ..target import Target
from .glu import ACTIVATIONS
from .layout import rows_of
from .linear_operands import bind, sizes_of

ROWS = 64  # from here on worth it
_MATRIX = load("linear_qgsw_matrix")
_HALVE = load("halve_rows")
_MANY_WORKGROUPS = 200  # by measurement (one H200): fewer of the large ones leave a GPU half empty


def _tiles(m: int, n: int, k: int) -> tuple[int, int]:
    """Tiles of y a subgroup owns along M and N."""
    large = -(-m // 128) * -(-n // 128) >= _MANY_WORKGROUPS
    return (4, 4) if large or k % 64 else (2, 2)


def halve(
    target: Target,
    halves: Tensor,
    factor: Tensor,
    x: Tensor,
    norm: Tensor | None,
    *,
    eps: float,
    offset: float,
) -> Dispatch:
    """Round rows of x, normed if `norm` is there, to float16."""
    kernel = _HALVE.specialise(NORM=norm is not None)
    operands = {"x": x, "norm": norm or x, "halves": halves, "factor": factor}
    m, k = rows_of(x), x.shape[-1]
    return dispatch(kernel, fold(target, m), **operands, M=m, K=k, eps=eps, offset=offset)


def matrix(
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
    """Rounding; the product and what comes after it. What is absent is bound to any buffer."""
    bound = bind(operands, x)
    m, (_, n, k) = rows_of(x), sizes_of(bound["packed"])
    halves, factor = Tensor(Spec((m, k), "float16")), Tensor(Spec((m,)))
    down, across = _tiles(upper(m), n, k)
    kernel = _MATRIX.specialise(
        HALF=bound["scales"].dtype == "float16",
        GLU=ACTIVATIONS[act] if act else 0,
        **{name.upper(): operands[name] is not None for name in ("bias", "add")},
        N=n,
        K=k,
        GROUP=group,
        DOWN=down,
        ACROSS=across,
        STEP=64 if across == 2 else 32,
    )
    grid = fold(target, ceildiv(m, 32 * down) * ceildiv(n, 32 * across))
    return [
        halve(target, halves, factor, x, norm, eps=eps, offset=offset),
        dispatch(kernel, grid, **bound, x=halves, factor=factor, y=y, M=m),
    ]
