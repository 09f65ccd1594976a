from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError, UnsupportedError
from tensortab.ops import (
    grid_priors,
    grid_sampler_2d,
    upsample_bilinear2d,
    upsample_nearest2d,
)

# shape, size or scales
RESIZES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 1, 1, 1), {"size": (3, 1)}),
    ((1, 2, 5, 5), {"scales": (1.6, 1.6)}),
    ((2, 3, 4, 7), {"scales": (2.0, 2.5)}),
    ((1, 2, 9, 7), {"size": (4, 10)}),  # smaller one way
    ((3, 6, 5), {"size": (1, 1)}),
]
MODES = [("bilinear", "zeros"), ("bilinear", "border"), ("bilinear", "reflection")]
MODES += [("nearest", p) for p in ("zeros", "border", "reflection")]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def resized(x: np.ndarray, how: dict[str, Any], **settings: Any) -> np.ndarray:
    batch = torch.from_numpy(x.reshape(-1, 1, *x.shape[-2:]))
    y = F.interpolate(batch, size=how.get("size"), scale_factor=how.get("scales"), **settings)
    return y.numpy().reshape(*x.shape[:-2], *y.shape[-2:])


@pytest.mark.parametrize(("shape", "how"), RESIZES)
def test_upsampling(device: harness.Device, shape: Any, how: Any) -> None:
    x = normal(*shape)
    want = resized(x, how, mode="nearest")
    got = reference(lambda x: upsample_nearest2d(x, **how), {"x": x})
    assert_close(got, want, atol=0, rtol=0)
    assert_agrees(device, lambda x: upsample_nearest2d(x, **how), {"x": x}, atol=0, rtol=0)
    for align in (False, True):
        want = resized(x, how, mode="bilinear", align_corners=align)

        def build(x: tt.Tensor, align: bool = align) -> tt.Tensor:
            return upsample_bilinear2d(x, **how, align_corners=align)

        assert_close(reference(build, {"x": x}), want, atol=1e-5, rtol=1e-5)
        assert_agrees(device, build, {"x": x}, atol=1e-5)


@pytest.mark.parametrize(("mode", "padding"), MODES)
@pytest.mark.parametrize("align", [False, True])
def test_grid_sampler(device: harness.Device, mode: str, padding: str, align: bool) -> None:
    """Points far outside too, several channels beyond a slice, planes one element wide."""
    for x, grid in (
        (normal(2, 6, 4, 5), normal(2, 3, 7, 2) * 1.5),
        (normal(1, 1, 3, 1), normal(1, 4, 4, 2) * 4),
    ):
        arrays = {"x": x, "grid": grid}
        settings = {"mode": mode, "padding": padding, "align_corners": align}
        want = F.grid_sample(
            *map(torch.from_numpy, arrays.values()),
            mode=mode,
            padding_mode=padding,
            align_corners=align,
        ).numpy()
        got = reference(lambda s=settings, **t: grid_sampler_2d(**t, **s), arrays)
        assert_close(got, want, atol=2e-5, rtol=1e-5)
        assert_agrees(device, lambda s=settings, **t: grid_sampler_2d(**t, **s), arrays, atol=2e-5)


def test_grid_sampler_of_nowhere(device: harness.Device) -> None:
    """A grid far beyond what integers count gives zeros, or the border."""
    x = normal(1, 2, 4, 4)
    arrays = {"x": x, "grid": np.full((1, 1, 2, 2), 1e30, np.float32)}
    graph = graph_of(grid_sampler_2d, arrays)
    assert not device.run(graph, **arrays)["y"].any()
    border = graph_of(lambda **t: grid_sampler_2d(**t, padding="border"), arrays)
    want = np.broadcast_to(x[:, :, None, -1:, -1], (1, 2, 1, 2))
    np.testing.assert_array_equal(device.run(border, **arrays)["y"], want)


@pytest.mark.parametrize(
    ("h", "w", "stride", "offset"), [(8, 10, 8, 0.5), (1, 1, 3, 0), (5, 7, 4, 0)]
)
def test_grid_priors(device: harness.Device, h: int, w: int, stride: int, offset: float) -> None:
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    want = ((torch.stack((columns, rows), -1).reshape(-1, 2) + offset) * stride).float().numpy()
    graph = tt.Graph()
    graph.output("y", grid_priors(h, w, stride=stride, offset=offset))
    for got in (tt.evaluate(graph)["y"], device.run(graph)["y"]):
        np.testing.assert_array_equal(got, want)


def test_operands_that_do_not_fit() -> None:
    x = {"x": normal(1, 2, 5, 5)}
    with pytest.raises(ShapeError, match=r"size is None, scales is None, expected one of them"):
        graph_of(upsample_nearest2d, x)
    with pytest.raises(ShapeError, match=r"upsample_bilinear2d: size is \(0, 2\), scales is None"):
        graph_of(lambda x: upsample_bilinear2d(x, size=(0, 2)), x)
    pair = {**x, "grid": normal(2, 3, 3, 2)}
    with pytest.raises(ShapeError, match=r"grid is float32\[2, 3, 3, 2\], expected \[N, C, H, W\]"):
        graph_of(grid_sampler_2d, pair)
    pair["grid"] = pair["grid"][:1]
    with pytest.raises(UnsupportedError, match=r"mode is 'bicubic', expected one of bilinear, nea"):
        graph_of(lambda **t: grid_sampler_2d(**t, mode="bicubic"), pair)
    with pytest.raises(UnsupportedError, match=r"padding is 'wrap', expected one of zeros, border"):
        graph_of(lambda **t: grid_sampler_2d(**t, padding="wrap"), pair)
