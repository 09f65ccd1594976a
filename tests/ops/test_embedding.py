import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError

TABLE = np.random.default_rng(0).standard_normal((11, 67), np.float32)


def test_torch_is_reference() -> None:
    ids = np.array([[0, 10, 3], [3, 3, 9]], np.int32)
    want = torch.nn.functional.embedding(torch.from_numpy(ids), torch.from_numpy(TABLE)).numpy()
    assert_close(reference(tt.ops.embedding, {"ids": ids, "table": TABLE}), want, atol=0, rtol=0)


@pytest.mark.parametrize(
    "ids", [[0], [10], [[0, 10, 5], [1, 1, 9]], 7, [-1, 11, 2**31 - 1, -(2**31)]]
)
def test_reference_is_device(device: harness.Device, ids: list[int]) -> None:
    """The ends of the table, a scalar, and ids outside of the table, which are clamped."""
    arrays = {"ids": np.array(ids, np.int32), "table": TABLE}
    assert_agrees(device, tt.ops.embedding, arrays, atol=0, rtol=0)


@pytest.mark.parametrize("count", [1, 8, 20])
def test_symbolic_count(device: harness.Device, count: int) -> None:
    arrays = {"ids": np.arange(count, dtype=np.int32) % 11, "table": TABLE}
    shapes = {"ids": (tt.Sym("count", 20),)}
    assert_agrees(device, tt.ops.embedding, arrays, shapes=shapes, atol=0, rtol=0)


def test_operands_that_do_not_fit() -> None:
    ids = np.zeros(3, np.int32)
    with pytest.raises(ShapeError, match=r"embedding: ids is int64\[3\], expected int32"):
        graph_of(tt.ops.embedding, {"ids": ids.astype(np.int64), "table": TABLE})
    with pytest.raises(ShapeError, match=r"table is float32\[67\], expected float32\[V, D\]"):
        graph_of(tt.ops.embedding, {"ids": ids, "table": TABLE[0]})
    with pytest.raises(ShapeError, match=r"table is float16\[11, 67\], expected float32\[V, D\]"):
        graph_of(tt.ops.embedding, {"ids": ids, "table": TABLE.astype(np.float16)})
