"""Codes are compared exactly. A float sum fused or not decides near half-way between two codes
only, which these seeds do not meet."""

from typing import Any

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError, UnsupportedError
from tensortab.ops import Affine, q8ta_linear

GIVEN = Affine(0.02, -14)
# rows, N, K
CASES = [((), 1, 1), ((1,), 8, 16), ((5,), 6, 7), ((2, 3), 4, 33), ((8,), 67, 130), ((1,), 3, 600)]
cases = pytest.mark.parametrize(("rows", "n", "k"), CASES)


def operands(rows: tuple[int, ...], n: int, k: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n * k)
    return {
        "x": rng.integers(-128, 128, (*rows, k))[...].astype(np.int8),
        "w": rng.integers(-127, 128, (n, k)).astype(np.int8),
        "scales": (rng.random(n, np.float32) + 0.5) * np.float32(0.01),
        "bias": rng.standard_normal(n, np.float32),
    }


def in_torch(given: dict[str, np.ndarray], out: Affine | None, relu: bool) -> np.ndarray:
    """In float64, where the sums are exact."""
    x = (torch.from_numpy(given["x"]).double() - GIVEN.zero_point) * GIVEN.scale
    w = torch.from_numpy(given["w"]).double() * torch.from_numpy(given["scales"])[:, None].double()
    y = torch.nn.functional.linear(x, w, torch.from_numpy(given["bias"]).double())
    y = torch.relu(y) if relu else y
    if out is None:
        return y.numpy()
    return torch.clamp(torch.round(y / out.scale) + out.zero_point, -128, 127).numpy()


def scale_for(given: dict[str, np.ndarray]) -> Affine:
    return Affine(float(np.abs(in_torch(given, None, relu=False)).max()) / 100 + 1e-3, -9)


@cases
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_torch_is_reference(rows: Any, n: int, k: int, activation: str) -> None:
    given = operands(rows, n, k)
    relu = activation == "relu"
    floats = reference(lambda **t: q8ta_linear(**t, affine=GIVEN, activation=activation), given)
    assert_close(floats, in_torch(given, None, relu), atol=1e-4, rtol=1e-5)
    out = scale_for(given)
    codes = reference(
        lambda **t: q8ta_linear(**t, affine=GIVEN, out=out, activation=activation), given
    )
    assert codes.dtype == np.int8
    assert_close(codes, in_torch(given, out, relu), atol=0, rtol=0)


@cases
@pytest.mark.parametrize("strategy", ["tile", "gemv"])
def test_reference_is_device(
    device: harness.Device, strategy: str, rows: Any, n: int, k: int
) -> None:
    given = operands(rows, n, k)
    settings: dict[str, Any] = {"affine": GIVEN, "strategy": strategy}
    assert_agrees(device, lambda **t: q8ta_linear(**t, **settings), given, atol=1e-6)
    settings |= {"out": scale_for(given), "activation": "relu"}
    assert_agrees(device, lambda **t: q8ta_linear(**t, **settings), given, atol=0, rtol=0)


def test_many_rows_and_padded_vectors(device: harness.Device) -> None:
    given = operands((35,), 6, 20)
    given |= {n: np.append(given[n], np.float32([np.nan, np.nan])) for n in ("scales", "bias")}
    trimmed = given | {n: given[n][:6] for n in ("scales", "bias")}
    build = lambda **t: q8ta_linear(**t, affine=GIVEN, out=Affine(0.5))  # noqa: E731
    want = reference(build, trimmed)
    assert_close(reference(build, given), want, atol=0, rtol=0)
    assert_close(device.run(graph_of(build, given), **given)["y"], want, atol=0, rtol=0)


def test_sums_are_exact(device: harness.Device) -> None:
    """The largest products there are: float32 sums would lose the ones."""
    x = np.full((1, 4099), 127, np.int8)
    w = np.full((4, 4099), 127, np.int8)
    w[:, -1] = [126, 125, 124, -127]
    given = {"x": x, "w": w, "scales": np.ones(4, np.float32)}
    affine = Affine(1.0, -128)
    total = np.float32((x.astype(np.int64) + 128) @ w.T.astype(np.int64))
    build = lambda **t: q8ta_linear(**t, affine=affine)  # noqa: E731
    np.testing.assert_array_equal(reference(build, given), total)
    np.testing.assert_array_equal(device.run(graph_of(build, given), **given)["y"], total)


@pytest.mark.parametrize("rows", [1, 3, 20])
def test_symbolic_rows(device: harness.Device, rows: int) -> None:
    given = operands((rows,), 8, 12)
    shapes = {"x": (tt.Sym("rows", 20), 12)}
    build = lambda **t: q8ta_linear(**t, affine=GIVEN, out=Affine(0.05))  # noqa: E731
    assert_agrees(device, build, given, shapes=shapes, atol=0, rtol=0)


def test_no_rows_at_all() -> None:
    given = operands((0,), 8, 16)
    graph = graph_of(lambda **t: q8ta_linear(**t, affine=GIVEN), given)
    for software in (True, False):
        assert not tt.plan.plan(graph, tt.target.Target("native", software=software)).steps
    assert tt.evaluate(graph, **given)["y"].shape == (0, 8)


def test_the_choice_of_a_strategy() -> None:
    def lanes(target: tt.target.Target, rows: int) -> int:
        graph = graph_of(lambda **t: q8ta_linear(**t, affine=GIVEN), operands((rows,), 8, 16))
        (step,) = tt.plan.plan(graph, target).steps
        return step.kernel["LANES"]

    gpu, software = tt.target.Target("native"), tt.target.Target("native", software=True)
    assert (lanes(gpu, 1), lanes(gpu, 9), lanes(software, 1)) == (64, 1, 1)


def test_operands_that_do_not_fit() -> None:
    given = operands((2,), 6, 8)

    def build(changes: dict[str, np.ndarray], **settings: Any) -> None:
        full = {"affine": GIVEN, **settings}
        graph_of(lambda **t: q8ta_linear(**t, **full), {**given, **changes})

    with pytest.raises(ShapeError, match=r"x is int8\[2, 8\], w is int8\[6, 7\], expected \[…, K"):
        build({"w": given["w"][:, :7].copy()})
    with pytest.raises(
        ShapeError, match=r"scales is float32\[5\], expected float32\[6\].*to 8 long"
    ):
        build({"scales": given["scales"][:5]})
    with pytest.raises(ShapeError, match=r"q8ta_linear: x is float32\[2, 8\], expected int8"):
        build({"x": np.zeros((2, 8), np.float32)})
    with pytest.raises(UnsupportedError, match=r"activation is 'gelu', expected one of none, relu"):
        build({}, activation="gelu")
    with pytest.raises(ShapeError, match=r"Affine\(scale=-1, zero_point=0\), expected a scale"):
        build({}, out=Affine(-1))
    with pytest.raises(UnsupportedError, match=r"'gemv' takes up to 8 rows, x is int8\[9, 8\]"):
        build({"x": np.zeros((9, 8), np.int8)}, strategy="gemv")
    long = {"x": np.zeros((1, 65794), np.int8), "w": np.zeros((6, 65794), np.int8)}
    with pytest.raises(UnsupportedError, match=r"sums of 65794 products, expected at most 65793"):
        build(long)
