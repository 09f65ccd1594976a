from typing import Any

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError, UnsupportedError
from tensortab.ops import convolution

STRATEGIES = ["tile", "gemm"]
# x, w, settings
CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    ((2, 17, 7, 9), (21, 17, 3, 3), {"padding": 1}),
    ((1, 20, 5, 13), (70, 20, 1, 1), {}),
    ((1, 3, 12, 8), (5, 3, 4, 4), {"stride": 4}),  # patches
    ((2, 6, 9, 11), (8, 3, 3, 2), {"groups": 2, "stride": (2, 1), "padding": (1, 0)}),
    ((1, 7, 6, 6), (7, 1, 3, 3), {"groups": 7, "padding": 2, "dilation": 2}),  # depthwise
    ((1, 3, 4, 5), (6, 1, 2, 3), {"groups": 3}),
    ((1, 2, 3, 3), (3, 2, 7, 5), {"padding": (3, 4), "dilation": (1, 2)}),  # larger than x
    ((3, 5, 11), (6, 5, 3), {"stride": 2, "padding": 1}),
    ((1, 4, 9), (4, 1, 5), {"groups": 4, "dilation": 2}),
]
TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 4, 4, 4), (4, 4, 2, 2), {"stride": 2}),
    ((2, 18, 5, 3), (18, 20, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((2, 6, 4, 5), (6, 4, 3, 2), {"groups": 2, "stride": (3, 2), "dilation": (1, 2)}),
    ((1, 3, 6), (3, 2, 4), {"stride": 3, "padding": 2}),
    ((1, 5, 3, 3), (5, 1, 3, 3), {"groups": 5, "padding": 1}),
]
ALL = [*CASES, *((x, w, {**s, "transposed": True}) for x, w, s in TRANSPOSED)]
cases = pytest.mark.parametrize(("x", "w", "settings"), ALL)


def arrays(x: tuple[int, ...], w: tuple[int, ...], settings: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    o = w[1] * settings.get("groups", 1) if settings.get("transposed") else w[0]
    return {
        "x": rng.standard_normal(x, np.float32),
        "w": rng.standard_normal(w, np.float32),
        "bias": rng.standard_normal(o, np.float32),
    }


def in_torch(given: dict[str, np.ndarray], settings: dict[str, Any]) -> np.ndarray:
    rank = given["x"].ndim - 2
    defaults = {"stride": 1, "padding": 0, "dilation": 1, "transposed": False}
    full = {**defaults, "output_padding": 0, "groups": 1, **settings}
    lists = {
        n: [v] * rank if isinstance(v, int) and n not in ("transposed", "groups") else v
        for n, v in full.items()
    }
    return torch.convolution(*map(torch.from_numpy, given.values()), *lists.values()).numpy()


@cases
def test_torch_is_reference(x: Any, w: Any, settings: Any) -> None:
    given = arrays(x, w, settings)
    got = reference(lambda **t: convolution(**t, **settings), given)
    assert_close(got, in_torch(given, settings), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
@cases
def test_reference_is_device(
    device: harness.Device, strategy: str, x: Any, w: Any, settings: Any
) -> None:
    given = arrays(x, w, settings)
    assert_agrees(
        device, lambda **t: convolution(**t, **settings, strategy=strategy), given, atol=2e-5
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_without_bias_and_within_bounds(device: harness.Device, strategy: str) -> None:
    given = arrays((1, 9, 5, 5), (18, 9, 3, 3), {})
    del given["bias"]
    for bounds in ({"low": 0.0}, {"low": 0.0, "high": 6.0}, {"low": -1, "high": 1.8e308}):
        got = reference(lambda x, w, b=bounds: convolution(x, w, **b), given)
        assert got.min() == bounds["low"]
        assert_agrees(
            device,
            lambda x, w, b=bounds: convolution(x, w, **b, strategy=strategy),
            given,
            atol=2e-5,
        )


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("length", [3, 7, 20])
def test_symbolic_length(device: harness.Device, strategy: str, length: int) -> None:
    given = arrays((2, 4, length), (5, 4, 3), {})
    shapes = {"x": (tt.Sym("batch", 3), 4, tt.Sym("length", 20))}

    def build(x: tt.Tensor, w: tt.Tensor, bias: tt.Tensor) -> tt.Tensor:
        return convolution(x, w, bias, stride=2, padding=1, strategy=strategy)

    assert_agrees(device, build, given, shapes=shapes, atol=2e-5)
    assert reference(build, given).shape == (2, 5, (length - 1) // 2 + 1)


def test_a_live_length_below_the_window() -> None:
    given = arrays((1, 4, 2), (5, 4, 3), {})
    graph = graph_of(convolution, given, {"x": (1, 4, tt.Sym("length", 20))})
    with pytest.raises(
        ShapeError, match=r"how far a window \[1, 3\], .* reaches over x .* = 1, exp"
    ):
        tt.evaluate(graph, **given)


def test_the_choice_of_a_strategy() -> None:
    gpu = tt.target.Target("native")
    software = tt.target.Target("native", software=True)

    def chosen(target: tt.target.Target, x: Any, w: Any, **settings: Any) -> str:
        graph = graph_of(lambda **t: convolution(**t, **settings), arrays(x, w, settings))
        (step,) = tt.plan.plan(graph, target).steps
        return step.kernel.name

    wide = (1, 32, 8, 8), (32, 32, 3, 3)
    assert chosen(gpu, *wide) == "conv_gemm"
    assert chosen(software, *wide) == "conv_tile"
    assert chosen(gpu, (1, 3, 8, 8), (32, 3, 3, 3)) == "conv_tile"
    assert chosen(gpu, (1, 32, 8, 8), (32, 1, 3, 3), groups=32) == "conv_tile"


def test_operands_that_do_not_fit() -> None:
    def build(x: Any, w: Any, **settings: Any) -> None:
        graph_of(lambda **t: convolution(**t, **settings), arrays(x, w, {}))

    with pytest.raises(ShapeError, match=r"so C = 3 and O = 4, .* x is \[1, 4, 5, 5\], so C = 4"):
        build((1, 4, 5, 5), (4, 3, 3, 3))
    with pytest.raises(ShapeError, match=r"with 2 groups, so C = 4 and O = 3, which groups must"):
        build((1, 4, 5, 5), (3, 2, 3, 3), groups=2)
    with pytest.raises(ShapeError, match=r"w is \[4, 4, 3\], expected both \[·, ·, L\]"):
        build((1, 4, 5, 5), (4, 4, 3))
    with pytest.raises(ShapeError, match=r"stride is \[1, 2, 3\], expected 2 numbers, or one"):
        build((1, 4, 5, 5), (4, 4, 3, 3), stride=[1, 2, 3])
    with pytest.raises(ShapeError, match=r"dilation is 0, expected 2 numbers, or one, from 1 on"):
        build((1, 4, 5, 5), (4, 4, 3, 3), dilation=0)
    with pytest.raises(
        ShapeError, match=r"a window \[1, 7\].* over \['1', '5'\] gives \['1', '-1'\]"
    ):
        build((1, 4, 5), (4, 4, 7))
    with pytest.raises(ShapeError, match=r"bias is float32\[4\], expected float32\[8\] \(O = 8"):
        build((1, 4, 5, 5), (4, 4, 3, 3), transposed=True, groups=2)
    with pytest.raises(UnsupportedError, match=r"strategy is 'fft', expected one of tile, gemm"):
        build((1, 4, 5, 5), (4, 4, 3, 3), strategy="fft")
