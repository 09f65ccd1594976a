import numpy as np
import pytest

from close import assert_close


def test_equal_and_near() -> None:
    assert_close(np.float32(1)[...], np.float32(1)[...], atol=0, rtol=0)
    a = np.array([1, np.inf, -np.inf, np.nan])
    assert_close(a, a * (1 + 1e-7), atol=0, rtol=1e-6)
    assert_close(np.zeros((0, 3)), np.zeros((0, 3)), atol=0, rtol=0)


def test_says_where_and_by_how_much() -> None:
    want = np.zeros((2, 3), np.float32)
    got = want.copy()
    got[0, 1], got[1, 2] = 0.5, -4
    with pytest.raises(
        AssertionError, match=r"2 of 6 elements differ, most at \[1, 2\]: got -4.0, want 0.0"
    ):
        assert_close(got, want, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("got", "want"), [(np.nan, 1), (1, np.nan), (np.inf, -np.inf), (1, np.inf)]
)
def test_what_is_not_finite_differs(got: float, want: float) -> None:
    with pytest.raises(AssertionError, match="1 of 1 elements differ"):
        assert_close(np.array([got]), np.array([want]), atol=1, rtol=1)


def test_shapes_do_not_broadcast() -> None:
    with pytest.raises(AssertionError, match=r"shape \(1,\), expected \(2,\)"):
        assert_close(np.zeros(1), np.zeros(2), atol=1, rtol=0)
