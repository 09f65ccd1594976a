from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

import harness
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError
from tensortab.ops import Affine, pixel_shuffle, q8ta_pixel_shuffle

CASES = [
    ((1, 4, 1, 1), 2),
    ((2, 8, 3, 5), 2),
    ((9, 2, 3), 3),
    ((2, 2, 4, 3, 1), 2),
    ((1, 3, 2, 2), 1),
]
cases = pytest.mark.parametrize(("shape", "factor"), CASES)


@cases
def test_floats_and_integers(device: harness.Device, shape: Any, factor: int) -> None:
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    want = F.pixel_shuffle(torch.from_numpy(x), factor).numpy()
    for dtype in ("float32", "int32"):
        given = {"x": x.astype(dtype)}
        got = reference(lambda x: pixel_shuffle(x, factor), given)
        assert_close(got, want, atol=0, rtol=0)
        assert_agrees(device, lambda x: pixel_shuffle(x, factor), given, atol=0, rtol=0)


@cases
def test_codes(device: harness.Device, shape: Any, factor: int) -> None:
    x = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    for out in (Affine(0.05, -3), Affine(0.08, 5)):
        values = F.pixel_shuffle((torch.from_numpy(x).float() + 3) * 0.05, factor)
        want = torch.clamp(torch.round(values * (1 / out.scale)) + out.zero_point, -128, 127)
        build = lambda x, out=out: q8ta_pixel_shuffle(x, factor, Affine(0.05, -3), out)  # noqa: E731
        assert_close(reference(build, {"x": x}), want.numpy(), atol=0, rtol=0)
        assert_agrees(device, build, {"x": x}, atol=0, rtol=0)


def test_operands_that_do_not_fit() -> None:
    x = np.zeros((6, 2, 2), np.float32)
    with pytest.raises(ShapeError, match=r"x is float32\[6, 2, 2\], expected \[…, C·2·2, H, W\]"):
        graph_of(lambda x: pixel_shuffle(x, 2), {"x": x})
    with pytest.raises(ShapeError, match=r"pixel_shuffle: x is int8\[4, 1, 1\], expected float32"):
        graph_of(lambda x: pixel_shuffle(x, 2), {"x": np.zeros((4, 1, 1), np.int8)})
    with pytest.raises(ShapeError, match=r"q8ta_pixel_shuffle: x is float32\[6, 2, 2\], expected"):
        graph_of(lambda x: q8ta_pixel_shuffle(x, 1, Affine(1), Affine(1)), {"x": x})
    codes = {"x": np.zeros((4, 1, 1), np.int8)}
    with pytest.raises(ShapeError, match=r"q8ta_pixel_shuffle: Affine\(scale=0, .*above 0"):
        graph_of(lambda x: q8ta_pixel_shuffle(x, 2, Affine(1), Affine(0)), codes)
