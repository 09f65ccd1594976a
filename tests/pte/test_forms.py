"""What an exported program may ask of an operator: dtypes, dimensions and numbers at the edges."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

from calls import LAYOUT, Evaluated, agree, normal
from tensortab.errors import FormatError, UnsupportedError

X = normal(3, 4, 5)
WHOLE = np.array([[3, -7, 2**24, 2**24 + 1], [2**24 + 1, 2**24, -(2**31), 0]], np.int32)
BYTES, CODES = np.array([200, 3, 255], np.uint8), np.array([-56, 3, -1], np.int8)
FLAGS = np.array([[True, False], [True, True]])
ROW, COLUMN = np.array([2, -1, 0]), np.array([[1], [-3]])


def of(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array))


@pytest.mark.parametrize(
    ("name", "args", "want"),
    [
        ("aten.argmax.default", [WHOLE, 1, False], of(WHOLE).argmax(1)),
        ("aten.argmin.default", [WHOLE, -1, True], of(WHOLE).argmin(1, True)),
        ("aten.argmax.default", [WHOLE, None, False], of(WHOLE).argmax()),
        ("aten.argmin.default", [X[0, 0, 0][...], 0, False], of(X[0, 0, 0]).argmin(0)),
        ("aten.amax.default", [CODES, (0,), True], of(CODES).amax(0, True)),
        ("aten.amin.default", [BYTES, (), False], of(BYTES).amin()),
        ("aten.amax.default", [FLAGS, (1,), False], of(FLAGS).amax(1)),
        ("aten.sum.dim_IntList", [X, (), True, None], of(X).sum((), True)),
        ("aten.sum.dim_IntList", [FLAGS, (-1,), False, None], of(FLAGS).sum(-1)),
        ("aten.mean.dim", [X, None, False, None], of(X).mean()),
        ("aten._softmax.default", [X[0, 0, 0][...], -1, False], of(X[0, 0, 0]).softmax(-1)),
        ("aten._softmax.default", [X, -3, False], of(X).softmax(0)),
        ("aten._log_softmax.default", [X, 1, False], of(X).log_softmax(1)),
        ("aten.add.Tensor", [BYTES, BYTES, 2], of(BYTES) + 2 * of(BYTES)),
        ("aten.mul.Tensor", [CODES, CODES], of(CODES) * of(CODES)),
        ("aten.minimum.default", [BYTES, BYTES[::-1].copy()], of(BYTES).minimum(of(BYTES).flip(0))),
        ("aten.bitwise_not.default", [BYTES], of(BYTES).bitwise_not()),
        ("aten.bitwise_or.Tensor", [CODES, CODES[:1]], of(CODES) | of(CODES[:1])),
        ("aten.lt.Tensor", [BYTES, CODES], of(BYTES) < of(CODES)),
        ("aten.eq.Tensor", [BYTES, CODES], of(BYTES) == of(CODES)),
        ("aten.eq.Scalar", [FLAGS, True], of(FLAGS) == True),  # noqa: E712 (a tensor's)
        ("aten.gt.Scalar", [CODES, -1], of(CODES) > -1),
        ("aten.le.Scalar", [WHOLE, 2**24], of(WHOLE) <= 2**24),
        ("aten.eq.Scalar", [WHOLE, -(2**31)], of(WHOLE) == -(2**31)),
        ("aten.exp.default", [CODES], of(CODES).exp()),
        ("aten.neg.default", [CODES], of(CODES).neg()),
        ("aten.clamp.default", [CODES, -3, None], of(CODES).clamp(-3)),
        ("aten.div.Tensor_mode", [CODES, CODES[1:2], "floor"],
         torch.div(of(CODES), of(CODES[1:2]), rounding_mode="floor")),
        ("aten.full.default", [(2, 2), True, *LAYOUT], torch.full((2, 2), True)),
        ("aten.full_like.default", [FLAGS, True, *LAYOUT, None], of(FLAGS) | True),
        ("aten.arange.start_step", [0, 0.7, 0.1, *LAYOUT], torch.arange(0, 0.7, 0.1)),
        ("aten.arange.start_step", [1, 1.3, 0.1, *LAYOUT], torch.arange(1, 1.3, 0.1)),
        ("aten.arange.start_step", [5, -5, -3, *LAYOUT], torch.arange(5, -5, -3)),
        ("aten.slice_copy.Tensor", [X, -1, -4, 2**63 - 1, 2], of(X)[..., -4::2]),
        ("aten.select_copy.int", [X, -2, -1], of(X)[:, -1]),
        ("aten.cat.default", [[WHOLE, X[0, :1, :4]], 0], torch.cat([of(WHOLE), of(X[0, :1, :4])])),
    ],
)  # fmt: skip
def test_forms(both: Evaluated, name: str, args: list[Any], want: torch.Tensor) -> None:
    dtype = {"torch.int64": torch.int32}.get(str(want.dtype), want.dtype)
    want = want.to(dtype)
    (got,) = both(name, args, [want.numpy()])
    assert got.dtype == want.numpy().dtype
    agree([got], want)


@pytest.mark.parametrize(
    "indices",
    [
        (ROW, None), (None, ROW), (ROW, COLUMN), (None, ROW, COLUMN), (ROW, None, COLUMN),
        (ROW, COLUMN, ROW), (COLUMN, None, COLUMN),
    ],
)  # fmt: skip
def test_several_index_tensors(both: Evaluated, indices: tuple[Any, ...]) -> None:
    want = of(X[tuple(slice(None) if i is None else i for i in indices)])
    agree(indexed(both, indices, want.numpy()), want)


def indexed(both: Evaluated, indices: tuple[Any, ...], want: np.ndarray) -> list[np.ndarray]:
    given = [i if i is None else np.asarray(i, np.int32) for i in indices]
    return both("aten.index.Tensor", [X, given], [want])


def test_an_index_out_of_range_is_clamped(both: Evaluated) -> None:
    far = np.array([9, -9, 1], np.int32)
    near = np.array([2, 0, 1])
    agree(indexed(both, (far, far), X[near, near]), of(X[near, [3, 0, 1]]))


def test_what_is_no_index(both: Evaluated) -> None:
    with pytest.raises(FormatError, match=r"0 index tensors for float32\[3, 4, 5\], expected one"):
        indexed(both, (None,), X)
    with pytest.raises(UnsupportedError, match=r"aten.index.Tensor: a mask as index, expected int"):
        both("aten.index.Tensor", [X, [X[..., 0] > 0]], [X])


SCALES = (1.5, 0.7)


@pytest.mark.parametrize("align", [True, False])
def test_upsampling_by_factors(both: Evaluated, align: bool) -> None:
    x = normal(1, 2, 5, 7)
    want = F.interpolate(of(x), scale_factor=SCALES, mode="bilinear", align_corners=align)
    agree(both("aten.upsample_bilinear2d.vec", [x, None, align, SCALES], [want.numpy()]), want)
    if not align:
        want = F.interpolate(of(x), scale_factor=SCALES, mode="nearest")
        agree(both("aten.upsample_nearest2d.vec", [x, None, SCALES], [want.numpy()]), want)


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_output_padding(both: Evaluated, groups: int) -> None:
    x, w, bias = normal(2, 4, 3, 5), normal(4, 3, 3, 2), normal(3 * groups)
    settings = {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "dilation": (1, 2)}
    want = F.conv_transpose2d(of(x), of(w), of(bias), groups=groups, **settings)
    given = [settings["stride"], settings["padding"], settings["dilation"], True]
    args = [x, w, bias, *given, settings["output_padding"], groups]
    agree(both("aten.convolution.default", args, [want.numpy()]), want, atol=1e-4)


@pytest.mark.parametrize("ceil_mode", [True, False])
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("divisor", [None, 5])
def test_means_of_windows(
    both: Evaluated, ceil_mode: bool, counted: bool, divisor: int | None
) -> None:
    x = normal(1, 2, 6, 7)
    window = [(3, 2), (2, 2), (1, 1), ceil_mode, counted, divisor]
    want = F.avg_pool2d(of(x), *window)
    agree(both("aten.avg_pool2d.default", [x, *window], [want.numpy()]), want)
