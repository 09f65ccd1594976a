"""Ops that compute each element of y from one element of each operand.

gelu  y = x · Φ(x) with Φ the normal distribution function (erf), or its tanh approximation
      0.5 · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³)));  Hendrycks & Gimpel, arXiv 1606.08415
silu  y = x / (1 + exp(−x)), which is x · σ(x); below −80 what it is there, all but 0
add   y = a + b, sub  y = a − b, mul  y = a · b, div  y = a / b, with numpy's broadcasting;
      b may be a Python number. float32, and but for div int32
swiglu  y = silu(gate) · up, geglu  y = gelu(gate) · up with the tanh approximation, with
        broadcasting;  Shazeer, arXiv 2002.05202

More of them are in unary.py and binary.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..dim import ceildiv, product
from ..errors import ShapeError, UnsupportedError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import broadcast, float32, fold4, require_float32, strides_in

_UNARY = load("unary")
_BINARY = load("binary")
_GELU = {"none": 0, "tanh": 1}
_SILU = 2
_CODES = {"float32": 0, "int32": 1, "uint8": 2, "int8": 3, "bool": 4}  # as the kernels have them
DTYPES = tuple(_CODES)


def _whole(number: float) -> int:
    """A number for an i32 field: the nearest that int32 holds, of NaN 0."""
    return 0 if np.isnan(number) else int(min(max(number, -(1 << 31)), (1 << 31) - 1))


def unary_lower(
    code: int, target: Target, y: Tensor, x: Tensor, s: float = 0, t: float = 0
) -> list[Dispatch]:
    """The dispatch of a case of unary.wgsl; computed in f32 if either dtype is float32."""
    per = 1 if np.dtype(y.dtype).itemsize == 4 else 4
    kernel = _UNARY.specialise(
        OP=code,
        FLOAT="float32" in (x.dtype, y.dtype),
        X=_CODES[x.dtype],
        Y=_CODES[y.dtype],
        PER=per,
    )
    n = product(x.shape)
    fields = {"n": n, "s": s, "t": t, "i": _whole(s), "j": _whole(t)}
    grid = fold(target, ceildiv(n, kernel["WIDTH"] * per))
    return [dispatch(kernel, grid, x=x, y=y, **fields)]


def binary_lower(
    name: str, code: int, target: Target, y: Tensor, a: Tensor, b: Tensor | float
) -> list[Dispatch]:
    """The dispatch of a case of binary.wgsl; computed in f32 if a is float32."""
    other, number = (b, 0.0) if isinstance(b, Tensor) else (a, b)
    per = 1 if np.dtype(y.dtype).itemsize == 4 else 4
    kernel = _BINARY.specialise(
        OP=code,
        FLOAT=a.dtype == "float32",
        SCALAR=other is not b,
        A=_CODES[a.dtype],
        B=_CODES[other.dtype],
        Y=_CODES[y.dtype],
        PER=per,
    )
    grid = fold(target, ceildiv(product(y.shape), kernel["WIDTH"] * per))
    folded = fold4(name, y.shape, strides_in(a, y.shape), strides_in(other, y.shape))
    fields = {f"{k}{i}": v for k, vs in zip("dab", folded, strict=True) for i, v in enumerate(vs)}
    numbers = {"scalar": number, "whole": _whole(number)}
    return [dispatch(kernel, grid, a=a, b=other, y=y, **numbers, **fields)]


def _gelu_shape(x: Tensor, *, approximate: str = "none") -> Spec:
    require_float32("gelu", x=x)
    if approximate not in _GELU:
        raise UnsupportedError(f"gelu: approximate is {approximate!r}, expected one of {[*_GELU]}")
    return x.spec


def _erf(x: Array) -> Array:
    # Abramowitz & Stegun 7.1.26 in float64: 1.5e-7, and the kernel's own formula.
    t = 1 / (1 + 0.3275911 * np.abs(x))
    powers = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
    poly = sum(c * t ** (i + 1) for i, c in enumerate(powers))
    result: Array = np.sign(x) * (1 - poly * np.exp(-x * x))
    return result


def _gelu_reference(x: Array, *, approximate: str = "none") -> Array:
    v = x.astype(np.float64)
    if approximate == "tanh":
        phi = 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3)))
    else:
        phi = 0.5 * (1 + _erf(v / np.sqrt(2)))
    return float32(v * phi)


def _gelu_lower(
    target: Target, y: Tensor, x: Tensor, *, approximate: str = "none"
) -> list[Dispatch]:
    return unary_lower(_GELU[approximate], target, y, x)


gelu = Op("gelu", _gelu_shape, _gelu_reference, _gelu_lower)


def _silu_shape(x: Tensor) -> Spec:
    require_float32("silu", x=x)
    return x.spec


def _silu_reference(x: Array) -> Array:
    v = np.maximum(x.astype(np.float64), -80)
    return float32(v / (1 + np.exp(-v)))


silu = Op("silu", _silu_shape, _silu_reference, partial(unary_lower, _SILU))


def binary_shape(
    name: str, dtypes: tuple[str, ...], out: str | None, a: Tensor, b: Tensor | float
) -> Spec:
    """Check two operands of one dtype, one of `dtypes`; `out` is y's, or None for the same."""
    operands = {"a": a, "b": b} if isinstance(b, Tensor) else {"a": a}
    for which, t in operands.items():
        if t.dtype not in dtypes or t.dtype != a.dtype:
            known = dtypes if t.dtype not in dtypes else (a.dtype,)
            raise ShapeError(f"{name}: {which} is {t.spec}, expected {' or '.join(known)}")
    return Spec(broadcast(name, *operands.values()), out or a.dtype)


def binary(
    name: str,
    code: int,
    reference: Callable[..., Array],
    dtypes: tuple[str, ...] = ("float32", "int32"),
    out: str | None = None,
) -> Op[[Tensor, Tensor | float]]:
    """An op of two operands: a line for a case of binary.wgsl."""
    shape = partial(binary_shape, name, dtypes, out)
    return Op(name, shape, reference, partial(binary_lower, name, code))


add = binary("add", 0, np.add)
mul = binary("mul", 1, np.multiply)
sub = binary("sub", 2, np.subtract)
div = binary("div", 3, np.divide, ("float32",))


def _gated_shape(name: str, gate: Tensor, up: Tensor) -> Spec:
    require_float32(name, gate=gate, up=up)
    return Spec(broadcast(name, gate, up))


def _gated_reference(activation: Callable[[Array], Array], gate: Array, up: Array) -> Array:
    return float32(activation(gate).astype(np.float64) * up)


def _gated_lower(
    name: str, code: int, target: Target, y: Tensor, gate: Tensor, up: Tensor
) -> list[Dispatch]:
    return binary_lower(name, code, target, y, gate, up)


def _gated(name: str, code: int, activation: Callable[[Array], Array]) -> Op[[Tensor, Tensor]]:
    reference = partial(_gated_reference, activation)
    return Op(name, partial(_gated_shape, name), reference, partial(_gated_lower, name, code))


swiglu = _gated("swiglu", 4, _silu_reference)
geglu = _gated("geglu", 5, partial(_gelu_reference, approximate="tanh"))
