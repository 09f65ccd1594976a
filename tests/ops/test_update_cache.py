import asyncio

import numpy as np
import pytest

import harness
import tensortab as tt
from close import assert_close
from tensortab.errors import ShapeError

B, SMAX, H, D = 2, 9, 3, 4


def value(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((B, rows, H, D), np.float32)


def written(dtype: str, *, rows: int = 3, live: bool = True) -> tt.Graph:
    """A cache with something in every row, then `value` at the position `at` holds."""
    g = tt.Graph()
    at = g.input("at", (1,), "int32")
    s = tt.Sym("rows", rows, min=1)
    pos = g.select_as_symint(at, (0,), "pos", max=SMAX)
    cache = g.state("cache", (B, SMAX, H, D), dtype)
    full = tt.ops.update_cache(cache, g.constant("before", value(SMAX, seed=1)), 0)
    new = g.input("value", (B, s, H, D))
    g.output("cache", tt.ops.update_cache(full, new, pos if live else 4))
    return g


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("at", "rows"), [(0, 1), (0, 3), (4, 2), (8, 1), (6, 3)])
def test_first_middle_and_last(device: harness.Device, dtype: str, at: int, rows: int) -> None:
    inputs = {"at": np.array([at]), "value": value(rows)}
    want = value(SMAX, seed=1).astype(dtype)
    want[:, at : at + rows] = inputs["value"]
    graph = written(dtype)
    np.testing.assert_array_equal(tt.evaluate(graph, **inputs)["cache"], want)
    got = device.run(graph, **inputs)["cache"]
    # WGSL lets pack2x16float round either way: one unit in the last place of a half.
    assert_close(got, want, atol=0, rtol=0 if dtype == "float32" else 2**-10)


def test_the_whole_cache_at_once_and_a_position_known_beforehand(device: harness.Device) -> None:
    got = device.run(written("float32", rows=SMAX), at=np.array([0]), value=value(SMAX))["cache"]
    np.testing.assert_array_equal(got, value(SMAX))
    got = device.run(written("float32", live=False), at=np.array([0]), value=value(3))["cache"]
    np.testing.assert_array_equal(got[:, 4:7], value(3))


@pytest.mark.parametrize("kind", ["native", "reference"])
@pytest.mark.parametrize(("at", "rows"), [(9, 1), (8, 2), (7, 3)])
def test_past_the_end_changes_nothing(
    native: harness.Native, kind: str, at: int, rows: int
) -> None:
    opened = native.device if kind == "native" else asyncio.run(tt.Device.open("reference"))
    session = asyncio.run(opened.compile(written("float32")))
    message = rf"update_cache: pos \+ S, the rows of cache in use is pos \+ rows = {at + rows},"
    with pytest.raises(ShapeError, match=message + " expected at most 9"):
        asyncio.run(session.run(at=[at], value=value(rows)))
    assert not asyncio.run(session.state("cache").read()).any()


def test_past_the_end_is_refused_in_a_tab(chrome: harness.Tab) -> None:
    """Where it would be written into the next batch's rows."""
    with pytest.raises(ShapeError, match=r"update_cache: pos .* = 10, expected at most 9"):
        chrome.run(written("float32"), at=np.array([9]), value=value(1))


def test_operands_that_do_not_fit() -> None:
    def leaf(*shape: int, dtype: str = "float32") -> tt.Tensor:
        return tt.Tensor(tt.Spec(shape, dtype), "t", "state")

    for cache, new in (
        (leaf(2, 9, 3, 4), leaf(1, 1, 3, 4)),
        (leaf(2, 9, 3, 4), leaf(2, 1, 4, 3)),
        (leaf(2, 9, 12), leaf(2, 1, 12)),
    ):
        with pytest.raises(ShapeError, match=r"update_cache: value is .*expected \[B, S, H, D\]"):
            tt.ops.update_cache(cache, new, 0)
    with pytest.raises(ShapeError, match=r"cache is int32.*, expected float32 or float16"):
        tt.ops.update_cache(leaf(2, 9, 3, 4, dtype="int32"), leaf(2, 1, 3, 4), 0)
    with pytest.raises(ShapeError, match="its rows have 15 elements, expected an even number"):
        tt.ops.update_cache(leaf(2, 9, 3, 5, dtype="float16"), leaf(2, 1, 3, 5), 0)
    with pytest.raises(ShapeError, match=r"value is float16.*, expected float32"):
        tt.ops.update_cache(leaf(2, 9, 3, 4), leaf(2, 1, 3, 4, dtype="float16"), 0)
    with pytest.raises(ShapeError, match="update_cache: pos is -2, expected at least 0"):
        tt.ops.update_cache(leaf(2, 9, 3, 4), leaf(2, 1, 3, 4), -2)
    with pytest.raises(ShapeError, match="is no live scalar"):
        tt.ops.update_cache(leaf(2, 9, 3, 4), leaf(2, 1, 3, 4), leaf(1, dtype="int32"))
