import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensortab.dim import Dim, Sym, bounds, ceildiv, maximum, minimum, product, symbols, value
from tensortab.errors import ShapeError

ROWS = Sym("rows", 512)
POS = Sym("pos", 100, min=1)


def test_one_normal_form() -> None:
    assert ROWS * 12 * 32 == 384 * ROWS
    assert (ROWS + 1) * (ROWS - 1) == ROWS * ROWS - 1
    assert product((ROWS, POS, 4)) == POS * 4 * ROWS
    assert ROWS - ROWS == 0
    assert ROWS + 0 is ROWS
    assert 7 - ROWS == -(ROWS - 7)


def test_division() -> None:
    assert ROWS * 8 // 8 == ROWS
    assert (ROWS + POS) // (ROWS + POS) == 1
    assert str(ceildiv(ROWS, 4)) == "((rows + 3) // 4)"
    assert value(ceildiv(ROWS, 4), {"rows": 5}) == 2
    assert value(100 // ROWS, {"rows": 7}) == 14


def test_min_and_max_fold_where_bounds_decide() -> None:
    assert minimum(ROWS, 1000) is ROWS
    assert maximum(ROWS, 1000) == 1000
    assert value(minimum(ROWS, POS), {"rows": 3, "pos": 2}) == 2


def test_symbols() -> None:
    assert symbols(minimum(ROWS * 2, POS)) == {ROWS, POS}
    assert symbols(3) == symbols(0.5) == frozenset()


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"'rows' has no value yet; known are \{'pos': 1\}"):
        value(ROWS + 1, {"pos": 1})
    with pytest.raises(ShapeError, match="expected 0 <= min <= max, got 3, 2"):
        Sym("s", 2, min=3)


def dims() -> st.SearchStrategy[Dim]:
    leaves = st.one_of(st.integers(0, 9), st.sampled_from([ROWS, POS]))
    pairs = lambda inner: st.tuples(inner, inner)  # noqa: E731
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            pairs(inner).map(lambda p: p[0] + p[1]),
            pairs(inner).map(lambda p: p[0] - p[1]),
            pairs(inner).map(lambda p: p[0] * p[1]),
            pairs(inner).map(lambda p: minimum(*p)),
            pairs(inner).map(lambda p: maximum(*p)),
            st.tuples(inner, st.integers(1, 7)).map(lambda p: p[0] // p[1]),
        ),
        max_leaves=8,
    )


@given(dims(), st.integers(0, 512), st.integers(1, 100))
def test_bounds_hold(dim: Dim, rows: int, pos: int) -> None:
    low, high = bounds(dim)
    assert low <= value(dim, {"rows": rows, "pos": pos}) <= high


@given(dims(), dims(), st.integers(0, 512), st.integers(1, 100))
def test_arithmetic_agrees_with_ints(a: Dim, b: Dim, rows: int, pos: int) -> None:
    env = {"rows": rows, "pos": pos}
    x, y = value(a, env), value(b, env)
    for dim, want in (
        (a + b, x + y),
        (a - b, x - y),
        (a * b, x * y),
        (minimum(a, b), min(x, y)),
        (maximum(a, b), max(x, y)),
        (ceildiv(a, 3), -(-x // 3)),
    ):
        assert value(dim, env) == want
