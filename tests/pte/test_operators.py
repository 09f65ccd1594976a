"""Operators, and forms of them, that the catalogue has no case of: calls of a blob made by hand."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

import harness
from calls import LAYOUT, Evaluated, agree, normal, tensor
from close import assert_close
from tensortab.dim import value
from tensortab.errors import FormatError, UnsupportedError
from tensortab.pte.blob import Blob, Call, SymInt, ValueList
from tensortab.pte.build import build
from tensortab.quant import q4gsw


@pytest.mark.parametrize("in_place", [True, False])
def test_adamw_step(both: Evaluated, in_place: bool) -> None:
    """Its outputs are the arguments it writes, or values of their own."""
    p, m, v, grad = normal(5), normal(5), np.abs(normal(5)), normal(5)
    numbers = [0.1, 0.9, 0.99, 1e-8, 0.3, 0.2, 0.05]
    outputs = [0, 1, 2] if in_place else [p, m, v]
    got = both("et_vk.adamw_step.default", [p, m, v, grad, *numbers], outputs)
    lr, beta1, beta2, eps, decay, correction1, correction2 = numbers
    tp, tm, tv, tg = (torch.from_numpy(a.copy()) for a in (p, m, v, grad))
    tm.mul_(beta1).add_(tg, alpha=1 - beta1)
    tv.mul_(beta2).addcmul_(tg, tg, value=1 - beta2)
    tp.mul_(1 - lr * decay)
    tp.addcdiv_(tm / correction1, (tv / correction2).sqrt() + eps, value=-lr)
    agree(got, tp, tm, tv)


def test_fused_ce(both: Evaluated) -> None:
    logits, labels = normal(4, 9), np.array([3, -1, 0, 8], np.int32)
    args = [logits, labels, 3.0]
    got = both("et_vk.fused_ce.default", args, [np.float32(0)[...], logits])
    given = torch.from_numpy(logits).requires_grad_()
    long = torch.from_numpy(labels).long()
    loss = F.cross_entropy(given, long, ignore_index=-1, reduction="sum") / 3
    loss.backward()
    assert given.grad is not None
    agree(got, loss, given.grad)


def test_gradients_of_a_linear(both: Evaluated) -> None:
    packed, scales = q4gsw.quantize(normal(6, 64), 32)
    g, x = normal(2, 3, 6), normal(2, 3, 64)
    (by_x,) = both("et_vk.linear_q4gsw_backward.default", [g, packed, scales, 32], [x])
    (by_w,) = both("et_vk.linear_dW.default", [g, x], [normal(6, 64)])
    tx = torch.from_numpy(x).requires_grad_()
    weight = torch.from_numpy(q4gsw.dequantize(packed, scales)).requires_grad_()
    F.linear(tx, weight).backward(torch.from_numpy(g))
    assert tx.grad is not None
    assert weight.grad is not None
    agree([by_x, by_w], tx.grad, weight.grad)


def test_q4gsw_requant(both: Evaluated) -> None:
    """What was quantized and dequantized gets its codes again."""
    packed, scales = q4gsw.quantize(normal(4, 64), 32)
    latent = q4gsw.dequantize(packed, scales)
    (got,) = both("et_vk.q4gsw_requant.default", [latent, scales, 32], [packed])
    np.testing.assert_array_equal(got, packed)


def test_convolution_without_bounds(both: Evaluated) -> None:
    x, w = normal(1, 3, 6, 6), normal(4, 3, 3, 3)
    args = [x, w, None, (2,), (1,), (1,), False, (0,), 1, None, None]
    want = F.conv2d(torch.from_numpy(x), torch.from_numpy(w), stride=2, padding=1)
    agree(both("et_vk.conv_with_clamp.default", args, [want.numpy()]), want)


@pytest.mark.parametrize("activation", ["none", "relu"])
def test_q8ta_activations(both: Evaluated, activation: str) -> None:
    r = np.random.default_rng(0)
    x = r.integers(-128, 128, (3, 8)).astype(np.int8)
    w = r.integers(-127, 128, (5, 8)).astype(np.int8)
    scales = r.random(8).astype(np.float32)  # filled up to a multiple of 4
    sums = w.sum(1, dtype=np.int32)
    args = [x, 0.1, 3, w, sums, scales, 5.0, -7, None, activation]
    (got,) = both("et_vk.q8ta_linear.default", args, [np.zeros((3, 5), np.int8)])
    weight = torch.from_numpy(w).double() * torch.from_numpy(scales[:5, None])
    y = F.linear((torch.from_numpy(x).double() - 3) * 0.1, weight)
    y = torch.relu(y) if activation == "relu" else y
    want = torch.clamp(torch.round(y / 5.0) - 7, -128, 127)
    np.testing.assert_array_equal(got, want.numpy())


def test_sizes_and_modes(both: Evaluated) -> None:
    x, grid = normal(1, 2, 4, 4), normal(1, 3, 3, 2) * 2
    t = torch.from_numpy(x)
    want = F.interpolate(t, size=(3, 6))
    args: list[Any] = [x, (3, 6), None]
    agree(both("aten.upsample_nearest2d.vec", args, [want.numpy()]), want)
    want = F.grid_sample(t, torch.from_numpy(grid), mode="nearest", align_corners=False)
    args = [x, grid, 1, 0, False]
    agree(both("aten.grid_sampler_2d.default", args, [want.numpy()]), want)
    with pytest.raises(UnsupportedError, match=r"grid_sampler_2d: mode is 'bicubic', expected one"):
        both("aten.grid_sampler_2d.default", [x, grid, 2, 0, False], [want.numpy()])


def test_arguments_that_do_not_fit(both: Evaluated) -> None:
    x = normal(1, 4, 2, 2)
    with pytest.raises(FormatError, match=r"mode 0, padding 7, expected 0 to 2 each"):
        both("aten.grid_sampler_2d.default", [x, normal(1, 2, 2, 2), 0, 7, True], [x])
    with pytest.raises(FormatError, match=r"output_size \(1, 2, 3\), scale_factors None, expected"):
        both("aten.upsample_nearest2d.vec", [x, (1, 2, 3), None], [x])
    codes = x.astype(np.int8)
    shuffle = "et_vk.q8ta_pixel_shuffle.default"
    with pytest.raises(FormatError, match=r"inverse of the output's scale is 0.0, expected above"):
        both(shuffle, [codes, 0.1, 0, 0.0, 0, 2], [codes])
    rows = normal(2, 8)
    settings = ["SYMMETRIC", (1, 8), None, -128, 127, None, None, None, False]
    with pytest.raises(UnsupportedError, match=r"mapping SYMMETRIC, block \[1, 8\], keepdim False"):
        both(
            "torchao.choose_qparams_affine.default",
            [rows, *settings],
            [rows[:, 0], rows[:, 0].astype(np.int8)],
        )
    settings[:2] = ["ASYMMETRIC", (1, 4)]
    with pytest.raises(
        UnsupportedError, match=r"blocks of \[1, 4\] in float32\[2, 8\], expected wh"
    ):
        both(
            "torchao.choose_qparams_affine.default",
            [rows, *settings],
            [rows[:, 0], rows[:, 0].astype(np.int8)],
        )


def test_a_value_is_computed_once(both: Evaluated) -> None:
    x = normal(3)
    with pytest.raises(FormatError, match="value 0 is computed twice"):
        both("aten.relu.default", [x], [0])


X = normal(2, 3, 4)
WHOLE = np.arange(-6, 6, dtype=np.int32).reshape(3, 4)
A, B, SQUARE = normal(3, 5), normal(5, 4), normal(2, 4, 4)
PLAIN: list[tuple[str, list[Any], torch.Tensor]] = [
    ("aten._to_copy.default", [X, *LAYOUT, False, None], torch.from_numpy(X).int()),
    ("aten.alias_copy.default", [X], torch.from_numpy(X)),
    ("dim_order_ops._clone_dim_order.default", [X, False, None], torch.from_numpy(X)),
    ("aten.permute.default", [X, (2, 0, -2)], torch.from_numpy(X).permute(2, 0, 1)),
    ("aten.mean.dim", [X, (0, -1), True, None], torch.from_numpy(X).mean((0, 2), True)),
    ("aten.mm.default", [A, B], torch.from_numpy(A) @ torch.from_numpy(B)),
    ("aten.bmm.default", [X, SQUARE], torch.from_numpy(X) @ torch.from_numpy(SQUARE)),
    ("aten.logical_not.default", [X > 0], torch.from_numpy(X <= 0)),
    ("aten.ne.Tensor", [WHOLE, WHOLE[:1]], torch.from_numpy(WHOLE[:1] != WHOLE)),
    ("aten.ne.Scalar", [WHOLE, 3], torch.from_numpy(WHOLE != 3)),
    ("aten.ge.Scalar", [WHOLE, -1.5], torch.from_numpy(WHOLE >= -1.5)),
    ("aten.le.Scalar", [X, 0.25], torch.from_numpy(X <= 0.25)),
    ("aten.zeros_like.default", [X, *LAYOUT, None], torch.zeros(2, 3, 4)),
    ("aten.ones_like.default", [WHOLE, *LAYOUT, None], torch.ones(3, 4, dtype=torch.int32)),
]


@pytest.mark.parametrize(("name", "args", "want"), PLAIN, ids=[c[0] for c in PLAIN])
def test_plain(both: Evaluated, name: str, args: list[Any], want: torch.Tensor) -> None:
    agree(both(name, args, [want.numpy()]), want)


@pytest.mark.parametrize(
    ("name", "args", "want"),
    [
        ("aten.zeros.default", [(2, 3), *LAYOUT], np.zeros((2, 3), np.float32)),
        ("aten.ones.default", [(5,), *LAYOUT], np.ones(5, bool)),
        ("aten.full.default", [(3,), -2, *LAYOUT], np.full(3, -2, np.int8)),
        ("aten.scalar_tensor.default", [2.5, *LAYOUT], np.array(2.5, np.float32)),
        ("aten.arange.start_step", [1, 8, 3, *LAYOUT], np.array([1, 4, 7], np.int32)),
    ],
)
def test_made_of_numbers(both: Evaluated, name: str, args: list[Any], want: np.ndarray) -> None:
    agree(both(name, args, [want]), torch.from_numpy(want))


@pytest.mark.parametrize(("name", "want"), [("add", 11), ("sub", 5), ("mul", 24), ("floordiv", 2)])
def test_live_integers(native: harness.Native, name: str, want: int) -> None:
    """Two rows of a table, from where 8 and 3 come to; 8 is read from a tensor."""
    table, first = normal(32, 4), np.array([8], np.int32)
    rows = tensor(table[:2])
    values = [tensor(first), 0, 0, SymInt(0), 3, SymInt(0), 2, SymInt(0), tensor(table), 1, rows,
              SymInt(0)]  # fmt: skip
    calls = (
        Call("et_vk.select_as_symint.default", (0, 1, 2, 3)),
        Call(name, (3, 4, 5)),
        Call("add", (5, 6, 7)),
        Call("aten.slice_copy.Tensor", (8, 1, 5, 7, 9, 10)),
        Call("sym_size.int", (10, 1, 11)),
    )
    made = build("test.pte", "", Blob(calls, tuple(values), (0, 8), (10, 5, 11)), ((1,), (32, 4)))
    arrays = {"in0": first, "in1": table}
    env = made.graph.bind(arrays)[1]
    assert [value(dim, env) for dim in made.outputs[1:]] == [want, 2]
    got = native.run(made.graph, **arrays)["out0"]
    assert_close(got, table[want : want + 2], atol=0, rtol=0)


def test_a_size_that_only_the_file_bounds() -> None:
    number, one, rows = (np.zeros(s, np.int32) for s in ((1,), (1, 2), (11, 2)))
    values = (
        tensor(number),
        0,
        0,
        SymInt(0),
        2,
        ValueList((3, 4)),
        tensor(one),
        False,
        tensor(rows),
    )
    calls = (
        Call("et_vk.select_as_symint.default", (0, 1, 2, 3)),
        Call("aten.expand_copy.default", (6, 5, 7, 8)),
    )
    with pytest.raises(UnsupportedError, match=r"gives int32\[in0\[0\], 2\], of a live size that"):
        build("test.pte", "", Blob(calls, values, (0, 6), (8,)), ((1,), (1, 2)))
