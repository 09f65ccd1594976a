from typing import Any

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError
from tensortab.ops import Affine, q8ta_conv2d

GIVEN = Affine(0.02, -14)
# x, O, size, settings; the first planes of y are whole words, the last ones are not
CASES: list[tuple[tuple[int, ...], int, tuple[int, int], dict[str, Any]]] = [
    ((1, 8, 8, 8), 8, (3, 3), {"padding": 1}),
    ((2, 3, 6, 8), 11, (1, 1), {}),
    ((1, 6, 4, 4), 4, (3, 2), {"groups": 2, "padding": (1, 0), "dilation": (1, 3)}),
    ((1, 4, 4, 4), 6, (2, 2), {"transposed": True, "stride": 2}),
    ((1, 7, 8, 8), 7, (3, 3), {"depthwise": True, "groups": 7, "padding": 2, "dilation": 2}),
    ((1, 1, 1, 1), 1, (1, 1), {}),
    ((2, 5, 7, 5), 9, (3, 5), {"stride": 2, "padding": (1, 2)}),
    ((1, 6, 3, 5), 4, (3, 2), {"transposed": True, "groups": 2, "stride": (2, 3), "padding": 1}),
    ((1, 3, 3, 3), 2, (3, 3), {"transposed": True, "stride": 2, "output_padding": 1}),
    ((2, 3, 5, 5), 3, (3, 3), {"depthwise": True, "groups": 3}),
]
cases = pytest.mark.parametrize(("x", "o", "size", "settings"), CASES)


def operands(x: Any, o: int, size: Any, settings: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(o)
    row = size[0] * size[1] * x[1] // settings.get("groups", 1)
    w = rng.integers(-127, 128, (o, row)).astype(np.int8)
    filled = np.pad(w, ((0, 0), (0, -row % 4)), constant_values=99)  # not to be read
    return {
        "x": rng.integers(-128, 128, x).astype(np.int8),
        "w": w.T.reshape(*size, o).copy() if settings.get("depthwise") else filled,
        "scales": (rng.random(o, np.float32) + 0.5) * np.float32(0.01),
        "bias": rng.standard_normal(o, np.float32),
    }


def in_torch(given: dict[str, np.ndarray], size: Any, settings: Any) -> torch.Tensor:
    """In float64, where the sums are exact."""
    s = {n: v for n, v in settings.items() if n not in ("transposed", "depthwise")}
    c, o, groups = given["x"].shape[1], len(given["scales"]), settings.get("groups", 1)
    w = given["w"].reshape(-1, o).T if settings.get("depthwise") else given["w"]
    w = w[:, : size[0] * size[1] * c // groups].reshape(o, *size, c // groups)
    weight = torch.from_numpy(w.astype(np.float64) * given["scales"][:, None, None, None])
    weight = weight.permute(0, 3, 1, 2)
    bias = torch.from_numpy(given["bias"]).double()
    x = (torch.from_numpy(given["x"]).double() - GIVEN.zero_point) * GIVEN.scale
    if not settings.get("transposed"):
        return torch.nn.functional.conv2d(x, weight, bias, **s)
    split = weight.reshape(groups, o // groups, c // groups, *size).transpose(1, 2)
    return torch.nn.functional.conv_transpose2d(x, split.reshape(c, o // groups, *size), bias, **s)


def scale_for(given: dict[str, np.ndarray], size: Any, settings: Any) -> Affine:
    return Affine(float(in_torch(given, size, settings).abs().max()) / 100 + 1e-3, 7)


@cases
def test_torch_is_reference(x: Any, o: int, size: Any, settings: Any) -> None:
    given = operands(x, o, size, settings)
    want = in_torch(given, size, settings)
    full = {"size": size, "affine": GIVEN, **settings}
    floats = reference(lambda **t: q8ta_conv2d(**t, **full), given)
    assert_close(floats, want.numpy(), atol=1e-4, rtol=1e-5)
    out = scale_for(given, size, settings)
    for activation in ("none", "relu"):
        active = torch.relu(want) if activation == "relu" else want
        codes = torch.clamp(torch.round(active / out.scale) + out.zero_point, -128, 127)
        last = {**full, "out": out, "activation": activation}
        got = reference(lambda last=last, **t: q8ta_conv2d(**t, **last), given)
        assert_close(got, codes.numpy(), atol=0, rtol=0)


@cases
def test_reference_is_device(
    device: harness.Device, x: Any, o: int, size: Any, settings: Any
) -> None:
    given = operands(x, o, size, settings)
    full = {"size": size, "affine": GIVEN, **settings}
    assert_agrees(device, lambda **t: q8ta_conv2d(**t, **full), given, atol=1e-5)
    full |= {"out": scale_for(given, size, settings), "activation": "relu"}
    assert_agrees(device, lambda **t: q8ta_conv2d(**t, **full), given, atol=0, rtol=0)


def test_without_bias(device: harness.Device) -> None:
    given = operands((1, 4, 4, 4), 4, (3, 3), {})
    del given["bias"]
    build = lambda **t: q8ta_conv2d(**t, size=(3, 3), affine=GIVEN, out=Affine(1.0))  # noqa: E731
    assert_agrees(device, build, given, atol=0, rtol=0)


def test_symbolic_sizes(device: harness.Device) -> None:
    given = operands((2, 4, 5, 8), 4, (3, 3), {})
    shapes = {"x": (tt.Sym("n", 3), 4, tt.Sym("h", 9), 8)}
    build = lambda **t: q8ta_conv2d(  # noqa: E731
        **t, size=(3, 3), affine=GIVEN, out=Affine(1.0), padding=1
    )
    assert_agrees(device, build, given, shapes=shapes, atol=0, rtol=0)


def test_operands_that_do_not_fit() -> None:
    def build(changes: dict[str, np.ndarray], size: Any = (3, 3), **settings: Any) -> None:
        given = {**operands((1, 3, 5, 5), 4, (3, 3), {}), **changes}
        graph_of(lambda **t: q8ta_conv2d(**t, size=size, affine=GIVEN, **settings), given)

    with pytest.raises(ShapeError, match=r"w is \['4', '28'\], expected \[4, 12\] or \[4, 12\]"):
        build({}, size=(2, 2))
    with pytest.raises(ShapeError, match=r"expected \[N, C, H, W\] and \[KH, KW, O\]"):
        build({}, depthwise=True)
    with pytest.raises(ShapeError, match=r"so C = 2 and O = 2, .*x is \[1, 3, 5, 5\], so C = 3"):
        build({"w": np.zeros((2, 28), np.int8)}, groups=2, dilation=1, padding=1)
    with pytest.raises(
        ShapeError, match=r"q8ta_conv2d: bias is float32\[3\], expected float32\[4\]"
    ):
        build({"bias": np.zeros(3, np.float32)})
