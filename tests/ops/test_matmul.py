from typing import Any

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError, UnsupportedError

STRATEGIES = ["tile", "gemm"]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def bmm(transposed: bool = False, strategy: str | None = None) -> Any:
    return lambda a, w: tt.ops.bmm(a, w, transposed=transposed, strategy=strategy)


def pair(batch: tuple[int, ...], m: int, n: int, k: int, transposed: bool) -> dict[str, np.ndarray]:
    w = normal(*batch, n, k) if transposed else normal(*batch, k, n)
    return {"a": normal(*batch, m, k), "w": w}


def test_torch_is_reference() -> None:
    for transposed in (False, True):
        arrays = pair((2, 3), 5, 6, 7, transposed)
        a, w = torch.from_numpy(arrays["a"]), torch.from_numpy(arrays["w"])
        want = (a @ (w.mT if transposed else w)).numpy()
        assert_close(reference(bmm(transposed), arrays), want, atol=1e-5, rtol=1e-5)
    arrays = pair((), 5, 6, 7, False)
    want = torch.mm(torch.from_numpy(arrays["a"]), torch.from_numpy(arrays["w"])).numpy()
    assert_close(reference(tt.ops.mm, arrays), want, atol=1e-5, rtol=1e-5)
    arrays = {"x": normal(2, 5, 7), "w": normal(6, 7), "bias": normal(6)}
    want = torch.nn.functional.linear(*map(torch.from_numpy, arrays.values())).numpy()
    assert_close(reference(tt.ops.linear, arrays), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("batch", "m", "n", "k"),
    [
        ((), 1, 1, 1),
        ((), 1, 67, 33),
        ((), 9, 5, 3),  # K below a vector
        ((3,), 17, 66, 30),
        ((1,), 65, 64, 32),
        ((2, 3), 4, 4, 64),
        ((2,), 130, 63, 70),
    ],
)
def test_bmm_reference_is_device(
    device: harness.Device,
    strategy: str,
    transposed: bool,
    batch: tuple[int, ...],
    m: int,
    n: int,
    k: int,
) -> None:
    arrays = pair(batch, m, n, k, transposed)
    assert_agrees(device, bmm(transposed, strategy), arrays, atol=5e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_mm_reference_is_device(device: harness.Device, strategy: str) -> None:
    arrays = pair((), 19, 21, 23, False)
    assert_agrees(device, lambda a, w: tt.ops.mm(a, w, strategy=strategy), arrays, atol=5e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(45,), (1, 45), (2, 9, 45)])
def test_linear_reference_is_device(
    device: harness.Device, strategy: str, bias: bool, shape: tuple[int, ...]
) -> None:
    arrays = {"x": normal(*shape), "w": normal(70, 45)} | ({"bias": normal(70)} if bias else {})
    assert_agrees(device, lambda **t: tt.ops.linear(**t, strategy=strategy), arrays, atol=5e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("rows", "inner"), [(1, 1), (9, 20), (20, 9), (20, 20)])
def test_symbolic_rows_and_inner_dimension(
    device: harness.Device, strategy: str, transposed: bool, rows: int, inner: int
) -> None:
    m, k = tt.Sym("rows", 20, min=1), tt.Sym("inner", 20, min=1)
    arrays = pair((3,), rows, 10, inner, transposed)
    shapes = {"a": (3, m, k), "w": (3, 10, k) if transposed else (3, k, 10)}
    assert_agrees(device, bmm(transposed, strategy), arrays, shapes=shapes, atol=5e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_not_finite_stays_in_its_row(device: harness.Device, strategy: str) -> None:
    """Tiles reach past the last k, where the next row lies."""
    arrays = pair((), 3, 5, 30, True)
    arrays["a"][1] = np.inf
    graph = graph_of(bmm(True, strategy), arrays)
    got, want = device.run(graph, **arrays)["y"], arrays["a"][[0, 2]] @ arrays["w"].T
    assert_close(got[[0, 2]], want, atol=5e-5, rtol=1e-5)
    assert not np.isfinite(got[1]).any()


def test_symbolic_batch(device: harness.Device) -> None:
    arrays = pair((2,), 5, 6, 7, False)
    b = tt.Sym("batch", 4)
    assert_agrees(device, bmm(), arrays, shapes={"a": (b, 5, 7), "w": (b, 7, 6)}, atol=5e-5)


def test_more_workgroups_than_one_dimension_holds(native: harness.Native) -> None:
    """gemm has at least one for every matrix of the batch."""
    arrays = pair((65537,), 1, 2, 3, True)
    assert_agrees(native, bmm(True, "gemm"), arrays, atol=1e-5)


@pytest.mark.parametrize(
    ("software", "m", "kernel"),
    [(True, 64, "matmul_tile"), (False, 8, "matmul_tile"), (False, 9, "matmul_gemm")],
)
def test_choice_follows_shapes_and_device(software: bool, m: int, kernel: str) -> None:
    target = tt.target.Target("native", software=software)
    graph = graph_of(bmm(), pair((2,), m, 8, 32, False))
    assert tt.plan.plan(graph, target).steps[0].kernel.name == kernel


def test_operands_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"bmm: a is .*\[2, 3, 4\], so K = 4; w is .*, so K = 5"):
        graph_of(bmm(), {"a": normal(2, 3, 4), "w": normal(2, 5, 6)})
    with pytest.raises(ShapeError, match=r"w is float32\[2, 5, 6\] transposed, so K = 6"):
        graph_of(bmm(transposed=True), {"a": normal(2, 3, 4), "w": normal(2, 5, 6)})
    with pytest.raises(ShapeError, match=r"bmm: .*, expected matrices in equal batches"):
        graph_of(bmm(), {"a": normal(2, 3, 4), "w": normal(1, 4, 6)})
    with pytest.raises(ShapeError, match=r"mm: a is float32\[2, 3, 4\], expected two dimensions"):
        graph_of(tt.ops.mm, {"a": normal(2, 3, 4), "w": normal(2, 4, 6)})
    with pytest.raises(ShapeError, match=r"linear: x is .*, expected \[…, K\] and \[N, K\]"):
        graph_of(tt.ops.linear, {"x": normal(3, 4), "w": normal(5, 6)})
    with pytest.raises(ShapeError, match=r"bias is float32\[6\], expected float32\[5\] \(N = 5"):
        graph_of(tt.ops.linear, {"x": normal(3, 4), "w": normal(5, 4), "bias": normal(6)})
    with pytest.raises(ShapeError, match=r"linear: w is int32\[5, 4\], expected float32"):
        graph_of(tt.ops.linear, {"x": normal(3, 4), "w": np.zeros((5, 4), np.int32)})


@pytest.mark.parametrize("op", [tt.ops.mm, tt.ops.bmm, tt.ops.linear])
def test_strategies_there_are_not(op: tt.Op) -> None:
    with pytest.raises(
        UnsupportedError, match="strategy is 'gemv', expected one of tile, gemm, or None"
    ):
        graph_of(lambda a, w: op(a, w, strategy="gemv"), {"a": normal(4, 4), "w": normal(4, 4)})
