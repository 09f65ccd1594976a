"""One number of many: sum, mean, amax, amin and prod over some dimensions.

x     float32, or but for mean int32
axes  the dimensions, all where there are none
keep  leaves them there, as 1

amax, amin and mean want at least one element. Where there is NaN, NaN comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..dim import Dim, ceildiv, lower, product, upper
from ..errors import ShapeError, UnsupportedError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .as_strided import axis_of
from .layout import contiguous, fold4

_KERNEL = load("reduce")
_TYPES = {"float32": "f32", "int32": "i32"}
_ALONE = 16384  # llvmpipe ends an invocation after 65,535 turns of its loops
_WIDE = 256  # elements from which a workgroup shares them


def _axes(name: str, x: Tensor, axes: tuple[int, ...]) -> set[int]:
    return {axis_of(name, x, a) for a in axes or range(len(x.shape))}


def _shape(name: str, x: Tensor, axes: tuple[int, ...] = (), *, keep: bool = False) -> Spec:
    if x.dtype not in _TYPES or (name == "mean" and x.dtype != "float32"):
        raise ShapeError(f"{name}: x is {x.spec}, expected float32 or but for mean int32")
    reduced = _axes(name, x, axes)
    if name not in ("sum", "prod") and lower(product(x.shape[a] for a in reduced)) < 1:
        raise ShapeError(f"{name}: x is {x.spec}, expected elements along {sorted(reduced)}")
    sizes = ((1 if a in reduced else n, a) for a, n in enumerate(x.shape))
    return Spec(tuple(n for n, a in sizes if keep or a not in reduced), x.dtype)


def _reference(
    function: Callable[..., Array], x: Array, axes: tuple[int, ...] = (), *, keep: bool = False
) -> Array:
    wide = x.astype(np.float64) if x.dtype.kind == "f" else x
    return function(wide, axis=tuple(axes) or None, keepdims=keep)


def _lower(
    name: str,
    code: int,
    target: Target,
    y: Tensor,
    x: Tensor,
    axes: tuple[int, ...] = (),
    *,
    keep: bool = False,
) -> list[Dispatch]:
    reduced = _axes(name, x, axes)
    strides = contiguous(x.shape)
    kept = [a for a in range(len(x.shape)) if a not in reduced]
    d, s = fold4(name, tuple(x.shape[a] for a in kept), tuple(strides[a] for a in kept))
    inner = sorted(reduced)
    r, t = fold4(name, tuple(x.shape[a] for a in inner), tuple(strides[a] for a in inner))
    if r[:2] != (1, 1):
        raise UnsupportedError(f"{name}: axes {axes} of {x.spec} are in more than two places")
    n, count = product(r), product(d)
    kernel = _KERNEL.specialise(
        T=_TYPES[x.dtype], FLOAT=x.dtype == "float32", OP=code, **_shared(target, n)
    )
    grid = fold(target, ceildiv(count, kernel["ROWS"]))
    sizes: dict[str, Dim] = {"count": count, "n": n, "r1": r[3], "t0": t[2], "t1": t[3]}
    sizes |= {f"d{i}": d[i] for i in (1, 2, 3)} | {f"s{i}": v for i, v in enumerate(s)}
    return [dispatch(kernel, grid, x=x, y=y, **sizes)]


def _shared(target: Target, n: Dim) -> dict[str, int]:
    """How many invocations share an element of y: one, where barriers cost or there is little."""
    if upper(n) <= (_ALONE if target.software else _WIDE):
        return {"LANES": 1, "ROWS": 64}
    return {"LANES": 64, "ROWS": 1}


def _reduction(name: str, code: int, function: Callable[..., Array]) -> Op[...]:
    return Op(
        name, partial(_shape, name), partial(_reference, function), partial(_lower, name, code)
    )


sum = _reduction("sum", 0, np.sum)  # noqa: A001  # PyTorch's name
mean = _reduction("mean", 1, np.mean)
amax = _reduction("amax", 2, np.max)
amin = _reduction("amin", 3, np.min)
prod = _reduction("prod", 4, np.prod)
