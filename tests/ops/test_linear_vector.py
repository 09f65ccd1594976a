"""One row of 4- and 8-bit linears in one dispatch; x as integers of 16 bits, or in floats."""

import numpy as np
import pytest
from test_linear_qgsw import build, needs, operands, surrounded

import harness
import tensortab as tt
from close import assert_agrees, graph_of, reference
from tensortab.ops import linear_vector


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(
    ("n", "k", "group", "half", "bias"),
    [
        (1, 32, 32, False, False),  # the least there is
        (2, 64, 32, True, True),
        (67, 64, 32, True, True),  # odd N with paired scales
        (66, 256, 64, False, True),
        (72, 384, 128, True, False),
        (16, 96, 32, False, True),
        (12, 2592, 32, True, True),  # more than LANES eights of x, and no multiple of it
    ],
)
def test_one_row(
    device: harness.Device, bits: int, n: int, k: int, group: int, half: bool, bias: bool
) -> None:
    needs(device, "vector")
    a = operands(1, n, k, bits=bits, group=group, half=half, bias=bias)
    assert_agrees(device, build(bits, group, "vector"), a, atol=rounded(k), rtol=1e-5)


def rounded(k: int) -> float:
    """Of `vector`: x is off by 1.2e-5 of what it can be at most, and so are k terms of the sum."""
    return 1.2e-4 * k**0.5


def forced(monkeypatch: pytest.MonkeyPatch, **knobs: int | bool) -> None:
    """`vector` natively with knobs as they are on other devices, or for other sizes."""
    chosen = linear_vector._knobs
    monkeypatch.setattr(linear_vector, "_knobs", lambda *a: {**chosen(*a), **knobs})


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("tiles", [1, 2, 8])
@pytest.mark.parametrize("half", [False, True])
def test_one_row_in_floats(
    native: harness.Native,
    monkeypatch: pytest.MonkeyPatch,
    bits: int,
    tiles: int,
    half: bool,
) -> None:
    """As on GPUs without packed dot products, and in tiles as they are for larger matrices."""
    forced(monkeypatch, DOTS=False, TILES=tiles)
    a = operands(1, 72, 256, bits=bits, half=half)
    assert_agrees(native, build(bits, 32, "vector"), a, atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize("dots", [False, True])
@pytest.mark.parametrize(("lanes", "tiles"), [(64, 2), (32, 1), (128, 4)])
def test_one_row_in_steps(
    native: harness.Native, monkeypatch: pytest.MonkeyPatch, lanes: int, tiles: int, dots: bool
) -> None:
    """As of a K for which a workgroup has too few invocations."""
    forced(monkeypatch, LANES=lanes, TILES=tiles, DOTS=dots)
    made, a = surrounded(1, 48, 1056, act="silu" if tiles > 1 else None, strategy="vector")
    rough = (1e-4 if dots else 1e-6) * np.abs(reference(made, a)).max()
    assert_agrees(native, made, a, atol=rough, rtol=1e-5)


def test_what_a_row_may_hold(device: harness.Device) -> None:
    """Magnitudes far apart from block to block, zeros, and what is no number."""
    needs(device, "vector")
    a = operands(1, 8, 128, bias=False)
    a["x"] = np.repeat([[0, 1e-20, 1e20, 1]], 32, 1).astype(np.float32)
    scales = np.array([[1e20], [1e20], [1e-20], [1]], np.float32)
    a["scales"] = np.repeat(scales, 8, 1)
    assert_agrees(device, build(4, 32, "vector"), a, atol=0.05, rtol=1e-4)
    for wrong in (np.nan, np.inf):
        a["x"] = np.ones((1, 128), np.float32)
        a["x"][0, 70] = wrong
        got = device.run(graph_of(build(4, 32, "vector"), a), **a)["y"]
        assert not np.isfinite(got).any()


def test_one_row_is_one_dispatch() -> None:
    made, a = surrounded(1, 8, 64, act="silu")
    target = tt.target.Target("native", features=frozenset({"subgroups"}), subgroup=32)
    steps = tt.plan.plan(graph_of(made, a), target).steps
    assert [s.kernel.name for s in steps] == ["linear_qgsw_vector"]
    made, a = surrounded(2, 8, 64, act="silu")
    steps = tt.plan.plan(graph_of(made, a), target).steps
    assert [s.op for s in steps] == ["linear_q4gsw"] * 4
