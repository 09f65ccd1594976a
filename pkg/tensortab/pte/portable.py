"""Operators left outside of delegates, on numpy: the common ones of ExecuTorch's portable kernels.

An operator's arguments are its schema's, then its result once more: `aten::cumsum.out(x, dim,
dtype, out, result)`. What comes out is cast to the result's dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import FormatError, UnsupportedError
from ..op import Array
from .dtypes import cast
from .portable_convolution import bounded, convolution

Function = Callable[..., Any]
# What numpy says to arguments that do not fit.
_WRONG = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)


def _same(x: Array, *_: Any) -> Array:
    return x


def _view(x: Array, shape: Sequence[int], *_: Any) -> Array:
    return x.reshape(tuple(shape))


def _cumsum(x: Array, dim: int, *_: Any) -> Array:
    return np.cumsum(x, dim)


def _scaled(
    function: Callable[[Array, Any], Any],
) -> Function:
    """Give add or sub, whose second operand comes with a factor."""
    return lambda a, b, alpha=1: function(a, b * np.asarray(alpha, np.asarray(b).dtype))


def _slice(x: Array, dim: int, start: int | None, end: int | None, step: int = 1) -> Array:
    at: list[slice] = [slice(None)] * x.ndim
    at[dim] = slice(start, end, step)
    return x[tuple(at)]


def _divide(a: Array, b: Any, mode: str | None = None) -> Any:
    quotient = np.true_divide(a, b)
    if mode == "floor":
        return np.floor_divide(a, b)
    return {None: quotient, "trunc": np.trunc(quotient)}[mode]


def _cat(tensors: Sequence[Array], dim: int = 0) -> Array:
    # PyTorch lets a tensor of shape [0] join anything.
    return np.concatenate([t for t in tensors if t.shape != (0,)] or tensors[:1], dim)


def _expand(x: Array, shape: Sequence[int], *_: Any) -> Array:
    lead = len(shape) - x.ndim
    wanted = [x.shape[i - lead] if n == -1 else n for i, n in enumerate(shape)]
    return np.broadcast_to(x, wanted)


def _softmax(x: Array, dim: int, *_: Any) -> Array:
    e = np.exp(x - x.max(dim, keepdims=True, initial=-np.inf))
    result: Array = e / e.sum(dim, keepdims=True)
    return result


def _reduced(function: Callable[..., Any]) -> Function:
    """A reduction over some dimensions, all of them where there are none."""

    def reduce(
        x: Array, dim: Sequence[int] | int | None = None, keep: bool = False, *_: Any
    ) -> Any:
        axes = None if dim is None or dim == () else dim
        return function(x, axis=axes, keepdims=bool(keep))

    return reduce


def _var(x: Array, dim: Sequence[int] | None, correction: float | None, keep: bool) -> Any:
    axes = tuple(dim) if dim else None
    return np.var(x, axis=axes, ddof=1 if correction is None else correction, keepdims=keep)


def _elu(x: Array, alpha: float, scale: float, input_scale: float) -> Array:
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) * input_scale))


def _index(x: Array, indices: Sequence[Array | None]) -> Array:
    found: Array = x[_at(indices)]
    return found


def _index_put(
    x: Array, indices: Sequence[Array | None], values: Array, accumulate: bool = False
) -> Array:
    y = x.copy()
    if accumulate:
        np.add.at(y, _at(indices), values)
    else:
        y[_at(indices)] = values
    return y


def _at(indices: Sequence[Array | None]) -> Any:
    return tuple(slice(None) if i is None else i for i in indices)


def _gather(x: Array, dim: int, index: Array, *_: Any) -> Array:
    rest = [slice(n) for n in index.shape]  # of x, where the index has less of it
    rest[dim] = slice(None)
    return np.take_along_axis(x[tuple(rest)], index, dim)


def _arange(start: float, end: float, step: float = 1) -> Array:
    bounded((math.ceil((end - start) / step),))
    return np.arange(start, end, step)


def _repeat(x: Array, times: Sequence[int]) -> Array:
    bounded((*times, *x.shape))
    return np.tile(x, tuple(times))


def _full(shape: Sequence[int], value: float, *_: Any) -> Array:
    return np.broadcast_to(np.asarray(value), tuple(shape))


FUNCTIONS: Mapping[str, Function] = {
    "aten::copy_": lambda target, source, *_: np.broadcast_to(source, target.shape),
    **dict.fromkeys(
        (
            "aten::clone.out",
            "aten::alias_copy.out",
            "aten::detach_copy.out",
            "aten::_to_copy.out",
            "dim_order_ops::_to_dim_order_copy.out",
            "dim_order_ops::_clone_dim_order.out",
        ),
        _same,
    ),
    "aten::view_copy.out": _view,
    "aten::permute_copy.out": np.transpose,
    "aten::transpose_copy.int_out": np.swapaxes,
    "aten::t_copy.out": np.transpose,
    "aten::unsqueeze_copy.out": np.expand_dims,
    "aten::squeeze_copy.dims_out": lambda x, dims: x.squeeze(
        tuple(d for d in dims if x.shape[d] == 1)
    ),
    "aten::expand_copy.out": _expand,
    "aten::slice_copy.Tensor_out": _slice,
    "aten::select_copy.int_out": lambda x, dim, index: x.take(index, dim),
    "aten::cat.out": _cat,
    "aten::cumsum.out": _cumsum,
    "aten::convolution.out": convolution,
    **dict.fromkeys(("aten::add.out", "aten::add.Scalar_out"), _scaled(np.add)),
    **dict.fromkeys(("aten::sub.out", "aten::sub.Scalar_out"), _scaled(np.subtract)),
    **dict.fromkeys(("aten::mul.out", "aten::mul.Scalar_out"), np.multiply),
    **dict.fromkeys(
        (
            "aten::div.out",
            "aten::div.Scalar_out",
            "aten::div.out_mode",
            "aten::div.Scalar_mode_out",
        ),
        _divide,
    ),
    "aten::maximum.out": np.maximum,
    "aten::minimum.out": np.minimum,
    "aten::neg.out": np.negative,
    "aten::abs.out": np.abs,
    "aten::exp.out": np.exp,
    "aten::log.out": np.log,
    "aten::sqrt.out": np.sqrt,
    "aten::rsqrt.out": lambda x: 1 / np.sqrt(x),
    "aten::sin.out": np.sin,
    "aten::cos.out": np.cos,
    "aten::tanh.out": np.tanh,
    "aten::floor.out": np.floor,
    "aten::ceil.out": np.ceil,
    "aten::round.out": np.round,
    "aten::trunc.out": np.trunc,
    "aten::sign.out": np.sign,
    "aten::reciprocal.out": lambda x: 1 / x,
    "aten::elu.out": _elu,
    "aten::leaky_relu.out": lambda x, slope: np.where(x > 0, x, x * slope),
    "aten::clamp.out": np.clip,
    "aten::hardtanh.out": np.clip,
    "aten::log1p.out": np.log1p,
    "aten::expm1.out": np.expm1,
    **dict.fromkeys(("aten::remainder.Tensor_out", "aten::remainder.Scalar_out"), np.remainder),
    "aten::floor_divide.out": np.floor_divide,
    "aten::gather.out": _gather,
    "aten::flip.out": np.flip,
    "aten::repeat.out": _repeat,
    "aten::scalar_tensor.out": lambda value, *_: np.asarray(value),
    "aten::relu.out": lambda x: np.maximum(x, 0),
    "aten::sigmoid.out": lambda x: 1 / (1 + np.exp(-x)),
    "aten::logical_not.out": np.logical_not,
    "aten::logical_and.out": np.logical_and,
    "aten::logical_or.out": np.logical_or,
    "aten::bitwise_not.out": np.invert,
    "aten::bitwise_and.Tensor_out": np.bitwise_and,
    "aten::bitwise_or.Tensor_out": np.bitwise_or,
    **{
        f"aten::{name}.{kind}_out": function
        for name, function in {
            "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
            "gt": np.greater, "ge": np.greater_equal,
        }.items()
        for kind in ("Tensor", "Scalar")
    },
    **dict.fromkeys(
        ("aten::pow.Tensor_Tensor_out", "aten::pow.Tensor_Scalar_out", "aten::pow.Scalar_out"),
        np.power,
    ),
    "aten::where.self_out": np.where,
    "aten::mm.out": np.matmul,
    "aten::bmm.out": np.matmul,
    "aten::_softmax.out": _softmax,
    "aten::sum.IntList_out": _reduced(np.sum),
    "aten::mean.out": _reduced(np.mean),
    "aten::amax.out": _reduced(np.max),
    "aten::amin.out": _reduced(np.min),
    "aten::prod.int_out": _reduced(np.prod),
    "aten::prod.out": lambda x, *_: np.prod(x),
    "aten::any.out": _reduced(np.any),
    "aten::any.all_out": np.any,
    "aten::any.dims_out": _reduced(np.any),
    "aten::all.out": _reduced(np.all),
    "aten::var.correction_out": _var,
    "aten::argmax.out": _reduced(np.argmax),
    "aten::argmin.out": _reduced(np.argmin),
    "aten::full.out": _full,
    "aten::full_like.out": lambda x, value, *_: _full(x.shape, value),
    "aten::index.Tensor_out": _index,
    "aten::index_put.out": _index_put,
    "aten::arange.start_out": _arange,
    "aten::embedding.out": lambda table, ids, *_: table[ids],
    "aten::index_select.out": lambda x, dim, index: x.take(index, dim),
}  # fmt: skip


def run(where: str, name: str, args: Sequence[Any], dtype: str, most: float = math.inf) -> Array:
    """An operator's result, of at most so many elements; `args` are decoded, without the output."""
    if name not in FUNCTIONS:
        raise UnsupportedError(f"{where}: {name} is outside of a delegate and not implemented")
    try:
        with np.errstate(all="ignore"):
            found = np.asarray(FUNCTIONS[name](*args))
            if found.size > most:
                raise ValueError(f"{found.shape}, more than the {most} elements of the result")
            return cast(found, dtype)
    except _WRONG as error:
        shapes = [f"{a.dtype}{list(a.shape)}" if isinstance(a, np.ndarray) else a for a in args]
        raise FormatError(f"{where}: {name} of {shapes}: {error}") from error
