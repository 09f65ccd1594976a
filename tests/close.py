"""The two equalities of an op test, and the comparison that says where one fails."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

import harness
import tensortab as tt

Arrays = Mapping[str, np.ndarray]
Shapes = Mapping[str, Iterable[tt.dim.Dim]]


def assert_close(got: np.ndarray, want: np.ndarray, *, atol: float, rtol: float) -> None:
    """|got − want| ≤ atol + rtol · |want| everywhere; else the worst element, both values."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    with np.errstate(invalid="ignore"):  # of ∞ − ∞, settled below
        error = np.abs(got.astype(np.float64) - want)
        excess = np.array(np.nan_to_num(error - atol - rtol * np.abs(want), nan=np.inf))
    excess[(got == want) | (np.isnan(got) & np.isnan(want))] = -np.inf
    if excess.size and excess.max() > 0:
        at = np.unravel_index(excess.argmax(), excess.shape)
        raise AssertionError(
            f"{(excess > 0).sum()} of {got.size} elements differ, most at {list(map(int, at))}:"
            f" got {got[at]}, want {want[at]} (atol {atol}, rtol {rtol})"
        )


def leaf(shape: tuple[int, ...], dtype: str = "float32") -> tt.Tensor:
    """A tensor for ops to look at, in no graph."""
    return tt.Tensor(tt.Spec(shape, dtype), "t", "input")


def graph_of(
    build: Callable[..., tt.Tensor], arrays: Arrays, shapes: Shapes | None = None
) -> tt.Graph:
    """`build` over one input an array; `shapes` names those with symbolic sizes."""
    g = tt.Graph()
    named = {n: a.shape for n, a in arrays.items()} | dict(shapes or {})
    leaves = {n: g.input(n, named[n], a.dtype.name) for n, a in arrays.items()}
    g.output("y", build(**leaves))
    return g


def reference(build: Callable[..., tt.Tensor], arrays: Arrays) -> np.ndarray:
    return tt.evaluate(graph_of(build, arrays), **arrays)["y"]


def assert_agrees(
    device: harness.Device,
    build: Callable[..., tt.Tensor],
    arrays: Arrays,
    *,
    shapes: Shapes | None = None,
    atol: float = 1e-6,
    rtol: float = 1e-5,
) -> None:
    """Reference ≈ device."""
    graph = graph_of(build, arrays, shapes)
    got = device.run(graph, **arrays)["y"]
    assert_close(got, tt.evaluate(graph, **arrays)["y"], atol=atol, rtol=rtol)
