"""Operators on numpy against the operators of the same name in PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch

from close import assert_close
from tensortab.errors import FormatError, UnsupportedError
from tensortab.pte import portable

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((3, 1)).astype(np.float32)
POSITIVE = np.abs(X) + 0.1
FLAG = X > 0
IDS = np.array([2, 0, 1], np.int64)
IMAGE = np.random.default_rng(2).standard_normal((2, 4, 7, 6)).astype(np.float32)
FILTER = np.random.default_rng(3).standard_normal((6, 2, 3, 2)).astype(np.float32)
TURNED = np.random.default_rng(4).standard_normal((4, 3, 3, 2)).astype(np.float32)
BIAS = np.arange(6, dtype=np.float32)
STEPS = [(2, 1), (1, 0), (1, 2)]  # stride, padding, dilation

COMPARED = ("eq", "ne", "lt", "le", "gt", "ge")
UNARY = (
    "abs", "neg", "exp", "sin", "cos", "tanh", "floor", "ceil", "round", "trunc", "sign",
    "reciprocal", "relu", "sigmoid", "log1p", "expm1",
)  # fmt: skip
# The operator's name in a file, the overload that returns its result, and arguments.
CASES: list[tuple[str, str, list[Any]]] = [
    *((f"aten::{n}.out", n, [X]) for n in UNARY),
    *((f"aten::{n}.out", n, [POSITIVE]) for n in ("log", "sqrt", "rsqrt")),
    *((f"aten::{n}.out", f"{n}.Tensor", [X, Y]) for n in ("mul", "div", "add")),
    ("aten::add.out", "add.Tensor", [X, Y, 2]),
    ("aten::sub.out", "sub.Tensor", [X, Y, 1]),
    ("aten::mul.Scalar_out", "mul.Scalar", [X, 3]),
    ("aten::div.out_mode", "div.Tensor_mode", [X, Y, "floor"]),
    ("aten::div.out_mode", "div.Tensor_mode", [X, Y, "trunc"]),
    ("aten::remainder.Scalar_out", "remainder.Scalar", [X, 0.7]),
    ("aten::maximum.out", "maximum", [X, Y]),
    ("aten::minimum.out", "minimum", [X, Y]),
    ("aten::pow.Tensor_Scalar_out", "pow.Tensor_Scalar", [X, 3]),
    ("aten::add.Scalar_out", "add.Scalar", [X, 3]),
    ("aten::sub.Scalar_out", "sub.Scalar", [X, 3]),
    ("aten::div.Scalar_out", "div.Scalar", [X, 3]),
    ("aten::div.Scalar_mode_out", "div.Scalar_mode", [X, 0.3, "floor"]),
    ("aten::floor_divide.out", "floor_divide", [X, Y]),
    ("aten::remainder.Tensor_out", "remainder.Tensor", [X, Y]),
    ("aten::pow.Tensor_Tensor_out", "pow.Tensor_Tensor", [POSITIVE, Y]),
    ("aten::pow.Scalar_out", "pow.Scalar", [2, X]),
    *((f"aten::{n}.Scalar_out", f"{n}.Scalar", [X, 0.1]) for n in COMPARED),
    *((f"aten::{n}.Tensor_out", f"{n}.Tensor", [X, Y]) for n in COMPARED),
    ("aten::logical_not.out", "logical_not", [FLAG]),
    ("aten::logical_and.out", "logical_and", [FLAG, FLAG[::-1].copy()]),
    ("aten::logical_or.out", "logical_or", [FLAG, FLAG[::-1].copy()]),
    ("aten::bitwise_and.Tensor_out", "bitwise_and.Tensor", [IDS, IDS + 1]),
    ("aten::bitwise_not.out", "bitwise_not", [IDS]),
    ("aten::bitwise_or.Tensor_out", "bitwise_or.Tensor", [FLAG, FLAG[::-1].copy()]),
    ("aten::where.self_out", "where.self", [FLAG, X, Y]),
    ("aten::clamp.out", "clamp", [X, -0.5, None]),
    ("aten::hardtanh.out", "hardtanh", [X, -0.5, 0.7]),
    ("aten::elu.out", "elu", [X, 1.5, 1.2, 0.8]),
    ("aten::leaky_relu.out", "leaky_relu", [X, 0.1]),
    ("aten::clone.out", "clone", [X]),
    *((f"aten::{n}.out", n, [X]) for n in ("alias_copy", "detach_copy", "_to_copy")),
    ("dim_order_ops::_clone_dim_order.out", "clone", [X]),
    ("dim_order_ops::_to_dim_order_copy.out", "clone", [X]),
    ("aten::t_copy.out", "t_copy", [X[0]]),
    ("aten::view_copy.out", "view_copy", [X, (4, -1)]),
    ("aten::permute_copy.out", "permute_copy", [X, (2, 0, 1)]),
    ("aten::transpose_copy.int_out", "transpose_copy.int", [X, 0, -1]),
    ("aten::unsqueeze_copy.out", "unsqueeze_copy", [X, -1]),
    ("aten::squeeze_copy.dims_out", "squeeze_copy.dims", [Y, (0, 1)]),
    ("aten::expand_copy.out", "expand_copy", [Y, (2, -1, 4)]),
    ("aten::slice_copy.Tensor_out", "slice_copy.Tensor", [X, 2, 1, 4, 2]),
    ("aten::select_copy.int_out", "select_copy.int", [X, 1, -1]),
    ("aten::cat.out", "cat", [(X, X[:, :1]), 1]),
    ("aten::cat.out", "cat", [(IDS[:0], X), 1]),
    ("aten::cat.out", "cat", [(X[:0], X[:0]), 0]),
    ("aten::flip.out", "flip", [X, (0, 2)]),
    ("aten::repeat.out", "repeat", [Y, (2, 1, 3)]),
    ("aten::gather.out", "gather", [X, 1, np.zeros((2, 1, 4), np.int64)]),
    ("aten::gather.out", "gather", [X, 1, np.ones((1, 5, 2), np.int64)]),
    ("aten::index_select.out", "index_select", [X, 1, IDS]),
    ("aten::embedding.out", "embedding", [X[0], IDS]),
    ("aten::cumsum.out", "cumsum", [X, 1]),
    ("aten::sum.IntList_out", "sum.dim_IntList", [X, (0, -1), True]),
    ("aten::mean.out", "mean.dim", [X, (1,), False]),
    ("aten::amax.out", "amax", [X, (2,), False]),
    ("aten::amin.out", "amin", [X, (), False]),
    ("aten::prod.int_out", "prod.dim_int", [X, 1, False]),
    ("aten::var.correction_out", "var.correction", [X, (1,), 1, True]),
    ("aten::any.out", "any.dim", [FLAG, 1, False]),
    ("aten::any.all_out", "any", [FLAG]),
    ("aten::any.dims_out", "any.dims", [FLAG, (0, 1), True]),
    ("aten::all.out", "all.dim", [FLAG, 1, False]),
    ("aten::prod.out", "prod", [X]),
    ("aten::argmax.out", "argmax", [X, 1, False]),
    ("aten::argmin.out", "argmin", [X, None, False]),
    ("aten::_softmax.out", "_softmax", [X, 1, False]),
    ("aten::_softmax.out", "_softmax", [X[:, :0], 1, False]),
    ("aten::mm.out", "mm", [X[0], X[1].T.copy()]),
    ("aten::bmm.out", "bmm", [X, X.swapaxes(1, 2).copy()]),
    ("aten::full.out", "full", [(2, 3), 1.5]),
    ("aten::full_like.out", "full_like", [X, 1.5]),
    ("aten::scalar_tensor.out", "scalar_tensor", [2.5]),
    ("aten::arange.start_out", "arange.start_step", [1, 8, 3]),
    ("aten::convolution.out", "convolution", [IMAGE, FILTER, BIAS, *STEPS, False, (0, 0), 2]),
    ("aten::convolution.out", "convolution", [
        IMAGE[..., 0], FILTER[..., 0], None, (1,), (1,), (1,), False, (0,), 2,
    ]),
    ("aten::convolution.out", "convolution", [IMAGE, TURNED, BIAS, *STEPS, True, (1, 1), 2]),
    ("aten::convolution.out", "convolution", [
        IMAGE[..., 0], TURNED[..., 0], None, (3,), (1,), (2,), True, (2,), 1,
    ]),
    ("aten::convolution.out", "convolution", [
        IMAGE[:, None], FILTER[:, :1, None], None, (1,), (0,), (1,), False, (0,), 1,
    ]),
    ("aten::index.Tensor_out", "index.Tensor", [X, (None, IDS, IDS)]),
    ("aten::index.Tensor_out", "index.Tensor", [X, (IDS[:2] - 1, None, IDS[:1])]),
    ("aten::index_put.out", "index_put", [X, (None, IDS), X[:, ::-1].copy(), False]),
    ("aten::index_put.out", "index_put", [X, (IDS[:2] - 1, IDS[[1, 1]]), Y[:1], True]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "overload", "args"), CASES, ids=[c[0] for c in CASES])
def test_numpy_is_torch(name: str, overload: str, args: list[Any]) -> None:
    packet, _, kind = overload.partition(".")
    function = getattr(getattr(torch.ops.aten, packet), kind or "default")
    options = {}
    if packet in ("add", "sub") and len(args) > 2:
        options["alpha"] = args[2]
    elif packet == "div" and len(args) > 2:
        options["rounding_mode"] = args[2]
    elif packet == "var":
        options = {"correction": args[2], "keepdim": args[3]}
    given = args[:2] if options else args
    want = function(*map(tensors, given), **options).numpy()
    got = portable.run("f.pte: forward", name, args, want.dtype.name)
    assert got.dtype == want.dtype
    assert_close(got, want, atol=1e-5, rtol=1e-5)


def tensors(value: Any) -> Any:
    if isinstance(value, tuple):
        return [tensors(v) for v in value]
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def test_copy_takes_the_targets_shape() -> None:
    got = portable.run("f.pte: forward", "aten::copy_", [np.zeros((2, 3)), IDS, False], "int64")
    assert got.tolist() == [[2, 0, 1], [2, 0, 1]]


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(UnsupportedError, match=r"f.pte: forward: aten::svd.out is outside of a"):
        portable.run("f.pte: forward", "aten::svd.out", [X], "float32")
    with pytest.raises(FormatError, match=r"aten::view_copy.out of \['float32\[2, 3, 4\]', \(5,"):
        portable.run("f.pte: forward", "aten::view_copy.out", [X, (5, 5)], "float32")
    for name, args, match in (
        ("aten::arange.start_out", [0, 1e12, 1], r"an array of \[1000000000000\], expected at"),
        ("aten::arange.start_out", [0, 1, 0], r"arange.start_out of \[0, 1, 0\]: division by"),
        ("aten::repeat.out", [X, (1 << 40,)], r"an array of \[1099511627776, 2, 3, 4\], expected"),
        ("aten::full.out", [(1 << 40,), 1], r"\(1099511627776,\), more than the 24 elements of"),
        ("aten::index.Tensor_out", [X, (IDS + 9,)], r"index 11 is out of bounds for axis 0 with"),
        ("aten::convolution.out", [IMAGE, FILTER, None, (1,), (1 << 40,), (1,), False, (0,), 2],
         r"an array of \[2, 2, 2199023255559, 2199023255558\], expected"),
    ):  # fmt: skip
        with pytest.raises(FormatError, match=match):
            portable.run("f.pte: forward", name, args, "float32", X.size)
