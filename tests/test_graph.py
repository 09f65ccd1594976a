import numpy as np
import pytest

import tensortab as tt
from tensortab.errors import ShapeError
from tensortab.graph import order
from tensortab.kernel import load
from tensortab.op import dispatch


def doubled() -> tt.Graph:
    g = tt.Graph()
    x = g.input("x", (tt.Sym("rows", 8, min=1), 3))
    g.output("y", tt.ops.add(x, x))
    return g


def test_evaluates_at_the_live_size() -> None:
    for rows in (1, 5, 8):
        x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
        np.testing.assert_array_equal(tt.evaluate(doubled(), x=x)["y"], 2 * x)


def test_casts_what_loses_nothing_but_digits() -> None:
    y = tt.evaluate(doubled(), x=[[1, 2, 3]])["y"]
    assert y.dtype == np.float32
    g = tt.Graph()
    g.output("y", tt.ops.reshape(g.input("i", (2,), "int32"), (1, 2)))
    assert tt.evaluate(g, i=np.array([1, 2], np.int64))["y"].dtype == np.int32
    with pytest.raises(ShapeError, match=r"values from 0 to 4294967296, outside of int32"):
        tt.evaluate(g, i=np.array([0, 2**32]))
    with pytest.raises(ShapeError, match="input 'i' is float64, expected int32"):
        tt.evaluate(g, i=[0.5, 1.5])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"inputs are \['x'\], got \[\]"),
        ({"x": np.zeros((1, 3)), "z": 1}, r"inputs are \['x'\], got \['x', 'z'\]"),
        ({"x": np.zeros((9, 3))}, r"rows = 9, expected 1 to 8 \(buffers are allocated for 8\)"),
        ({"x": np.zeros((0, 3))}, "rows = 0, expected 1 to 8"),
        ({"x": np.zeros((2, 4))}, r"has shape \[2, 4\], expected float32\[rows, 3\]"),
        ({"x": np.zeros(3)}, r"has shape \[3\], expected float32\[rows, 3\]"),
    ],
)
def test_refuses_what_does_not_fit(arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        tt.evaluate(doubled(), **arrays)


def test_a_size_is_one_size() -> None:
    g = tt.Graph()
    n = tt.Sym("n", 8)
    a, b, c = g.input("a", (n,)), g.input("b", (n,)), g.input("c", (n * 2,))
    g.output("y", tt.ops.add(a, b))
    g.output("z", tt.ops.mul(c, 2.0))
    out = tt.evaluate(g, a=np.ones(2), b=np.ones(2), c=np.ones(4))
    assert out["z"].shape == (4,)
    with pytest.raises(ShapeError, match="'b' has n = 3, another input has 2"):
        tt.evaluate(g, a=np.ones(2), b=np.ones(3), c=np.ones(4))
    with pytest.raises(ShapeError, match=r"'c' is float32\[5\], expected float32\[2\*n\] = \[4\]"):
        tt.evaluate(g, a=np.ones(2), b=np.ones(2), c=np.ones(5))


def test_names() -> None:
    g, other = tt.Graph(), tt.Graph()
    x = g.input("x", (3,))
    with pytest.raises(ShapeError, match="a leaf 'x' already"):
        g.constant("x", np.ones(3))
    g.output("y", tt.ops.add(x, 1.0))
    with pytest.raises(ShapeError, match="an output 'y' already"):
        g.output("y", x)
    with pytest.raises(
        ShapeError, match=r"needs the leaf <x float32.3.>, which is another graph's"
    ):
        other.output("y", x)


def test_constants_are_filled_later() -> None:
    g = tt.Graph()
    g.output("y", tt.ops.mul(g.input("x", (2,)), g.constant("w", tt.Spec((2,)))))
    with pytest.raises(ShapeError, match=r"the constant 'w' \(float32\[2\]\) has no value yet"):
        tt.evaluate(g, x=np.ones(2))
    np.testing.assert_array_equal(tt.evaluate(g, x=[1, 2], w=[3, 4])["y"], [3, 8])


def test_order_needs_no_recursion() -> None:
    g = tt.Graph()
    y = g.input("x", (1,))
    for _ in range(5000):
        y = tt.ops.add(y, y)
    assert len(list(order([y]))) == 5001


def test_dispatch_wants_every_name() -> None:
    g = tt.Graph()
    x = g.input("x", (4,))
    k = load("fill")
    fields = {"n": 4, "start": 0, "step": 0}
    match = r"fill.wgsl takes \['y', 'n', 'start', 'step'\], got \['n', 'x'\]"
    with pytest.raises(ShapeError, match=match):
        dispatch(k, (1, 1, 1), x=x, n=4)
    with pytest.raises(ShapeError, match="bindings take tensors and Params fields numbers"):
        dispatch(k, (1, 1, 1), y=4, **fields)
