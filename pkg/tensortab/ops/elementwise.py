"""Ops that compute each element of y from one element of each operand. float32.

gelu  y = x · Φ(x) with Φ the normal distribution function (erf), or its tanh approximation
      0.5 · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³)));  Hendrycks & Gimpel, arXiv 1606.08415
silu  y = x / (1 + exp(−x)), which is x · σ(x)
add   y = a + b, sub  y = a − b, mul  y = a · b, div  y = a / b, with numpy's broadcasting;
      b may be a Python number
swiglu  y = silu(gate) · up, geglu  y = gelu(gate) · up with the tanh approximation, with
        broadcasting;  Shazeer, arXiv 2002.05202
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..dim import ceildiv, product
from ..errors import UnsupportedError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .layout import broadcast, float32, fold4, require_float32, strides_in

_UNARY = load("unary")
_BINARY = load("binary")
_GELU = {"none": 0, "tanh": 1}
_SILU = 2


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
    kernel = _UNARY.specialise(OP=_GELU[approximate])
    n = product(x.shape)
    return [dispatch(kernel, fold(target, ceildiv(n, kernel["WIDTH"])), x=x, y=y, n=n)]


gelu = Op("gelu", _gelu_shape, _gelu_reference, _gelu_lower)


def _silu_shape(x: Tensor) -> Spec:
    require_float32("silu", x=x)
    return x.spec


def _silu_reference(x: Array) -> Array:
    v = x.astype(np.float64)
    return float32(v / (1 + np.exp(np.minimum(-v, 700))))


def _silu_lower(target: Target, y: Tensor, x: Tensor) -> list[Dispatch]:
    kernel = _UNARY.specialise(OP=_SILU)
    n = product(x.shape)
    return [dispatch(kernel, fold(target, ceildiv(n, kernel["WIDTH"])), x=x, y=y, n=n)]


silu = Op("silu", _silu_shape, _silu_reference, _silu_lower)


def _binary_shape(name: str, a: Tensor, b: Tensor | float) -> Spec:
    if not isinstance(b, Tensor):
        require_float32(name, a=a)
        return a.spec
    require_float32(name, a=a, b=b)
    return Spec(broadcast(name, a, b))


def _binary_lower(
    name: str, code: int, target: Target, y: Tensor, a: Tensor, b: Tensor | float
) -> list[Dispatch]:
    other, scalar = (b, 0.0) if isinstance(b, Tensor) else (a, b)
    kernel = _BINARY.specialise(OP=code, SCALAR=other is not b)
    grid = fold(target, ceildiv(product(y.shape), kernel["WIDTH"]))
    folded = fold4(name, y.shape, strides_in(a, y.shape), strides_in(other, y.shape))
    fields = {f"{k}{i}": v for k, vs in zip("dab", folded, strict=True) for i, v in enumerate(vs)}
    return [dispatch(kernel, grid, a=a, b=other, y=y, scalar=scalar, **fields)]


def _binary(name: str, code: int, reference: Callable[..., Array]) -> Op[[Tensor, Tensor | float]]:
    return Op(name, partial(_binary_shape, name), reference, partial(_binary_lower, name, code))


add = _binary("add", 0, np.add)
mul = _binary("mul", 1, np.multiply)
sub = _binary("sub", 2, np.subtract)
div = _binary("div", 3, np.divide)


def _gated_shape(name: str, gate: Tensor, up: Tensor) -> Spec:
    require_float32(name, gate=gate, up=up)
    return Spec(broadcast(name, gate, up))


def _gated_reference(activation: Callable[[Array], Array], gate: Array, up: Array) -> Array:
    return float32(activation(gate).astype(np.float64) * up)


def _gated_lower(
    name: str, code: int, target: Target, y: Tensor, gate: Tensor, up: Tensor
) -> list[Dispatch]:
    return _binary_lower(name, code, target, y, gate, up)


def _gated(name: str, code: int, activation: Callable[[Array], Array]) -> Op[[Tensor, Tensor]]:
    reference = partial(_gated_reference, activation)
    return Op(name, partial(_gated_shape, name), reference, partial(_gated_lower, name, code))


swiglu = _gated("swiglu", 4, _silu_reference)
geglu = _gated("geglu", 5, partial(_gelu_reference, approximate="tanh"))
