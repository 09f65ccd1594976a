import numpy as np
import pytest

import harness
import tensortab as tt
from tensortab.errors import ShapeError


def marking(
    seen: np.ndarray, ids: np.ndarray, dims: tuple[tt.dim.Dim, ...] | None = None
) -> object:
    g = tt.Graph()
    flags = g.state("seen", seen.shape, seen.dtype.name)
    g.output("seen", tt.ops.mark(flags, g.input("ids", dims or ids.shape, ids.dtype.name)))
    return g


@pytest.mark.parametrize(
    ("shape", "ids"),
    [
        ((5,), [3]),
        ((5,), 4),
        ((70,), [[0, 69, 69], [3, 3, 0]]),
        ((5,), [-1, 5, 2, 2**31 - 1, -(2**31)]),  # past the table: padding, say
        ((2, 5), [1, 4]),
        ((2, 5), [[1, 4, -1], [0, 0, 5]]),
    ],
)
def test_mark(device: harness.Device, shape: tuple[int, ...], ids: object) -> None:
    array = np.array(ids, np.int32)
    graph = marking(np.zeros(shape, np.int32), array)
    want = tt.evaluate(graph, ids=array)["seen"]
    np.testing.assert_array_equal(device.run(graph, ids=array)["seen"], want)
    flat = want.reshape(-1, shape[-1])
    for row, mine in zip(flat, array.reshape(len(flat), -1), strict=True):
        assert set(np.flatnonzero(row)) == {int(i) for i in mine if 0 <= i < shape[-1]}


@pytest.mark.parametrize("count", [1, 9])
def test_mark_takes_a_symbolic_count(device: harness.Device, count: int) -> None:
    ids = np.arange(count, dtype=np.int32) * 2
    graph = marking(np.zeros(20, np.int32), ids, (tt.Sym("count", 9),))
    assert device.run(graph, ids=ids)["seen"].sum() == count


def test_what_is_marked_stays() -> None:
    ids = np.array([1], np.int32)
    graph = marking(np.zeros(4, np.int32), ids)
    out = tt.evaluate(graph, ids=ids, seen=np.array([0, 0, 1, 0], np.int32))
    np.testing.assert_array_equal(out["seen"], [0, 1, 1, 0])


def test_operands_that_do_not_fit() -> None:
    ids = np.zeros(3, np.int32)
    for seen, given, message in (
        (ids.astype(np.float32), ids, r"mark: seen is float32\[3\], expected int32\[V\] or int32"),
        (np.zeros((2, 2, 2), np.int32), ids, r"mark: seen is int32\[2, 2, 2\], expected int32\[V"),
        (ids, ids.astype(np.float32), r"mark: ids is float32\[3\], expected int32\[…\]"),
        (
            np.zeros((2, 9), np.int32),
            ids,
            r"mark: ids is int32\[3\], expected int32\[2, …\] \(seen",
        ),
    ):
        with pytest.raises(ShapeError, match=message):
            marking(seen, given)
