"""NaN, infinities, zeros to divide by and the ends of int32: torch ≈ reference ≈ device.

Denormals are left out: GPUs may flush them.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from hypothesis import given, settings
from hypothesis import strategies as st

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference

ops = tt.ops
NAN, INF = np.nan, np.inf
FLOATS = np.array(
    [0, -0.0, 1, -1, 0.5, 1.5, -1.5, 2.5, -2.5, 3, 7.7, 90, -104, INF, -INF, NAN, 1e30, -1e30,
     2.0**24, 2.0**31, -(2.0**31)], np.float32,
)  # fmt: skip
WHOLE = np.array([0, 1, -1, 2, -3, 7, -7, 2**31 - 1, 2**31 - 2, -(2**31)], np.int32)
FLOAT_PAIRS = [m.ravel().copy() for m in np.meshgrid(FLOATS, FLOATS)]
WHOLE_PAIRS = [m.ravel().copy() for m in np.meshgrid(WHOLE, WHOLE)]

Build = Callable[..., tt.Tensor]


def agree(
    device: harness.Device, build: Build, want: torch.Tensor | None, *arrays: np.ndarray
) -> None:
    """Torch's result, the reference's and the device's are the same."""
    named = dict(zip("ab", arrays, strict=False))
    if want is not None:
        got = reference(by_position(build), named)
        assert got.dtype == want.numpy().dtype
        assert_close(got, want.numpy(), atol=1e-6, rtol=2e-5)
    assert_agrees(device, by_position(build), named, atol=2e-6, rtol=2e-5)


def by_position(build: Build) -> Build:
    """As operands have no names in numpy."""
    return lambda **tensors: build(*tensors.values())


def of(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)


UNARY: dict[str, tuple[Build, Callable[[torch.Tensor], torch.Tensor]]] = {
    **{n: (getattr(ops, n), getattr(torch, n)) for n in (
        "abs", "neg", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "round", "floor", "relu",
    )},
    "hardswish": (ops.hardswish, F.hardswish),
    "leaky_relu": (lambda x: ops.leaky_relu(x, 0.1), lambda t: F.leaky_relu(t, 0.1)),
    "clamp": (lambda x: ops.clamp(x, -1, 2), lambda t: torch.clamp(t, -1, 2)),
    "gelu": (lambda x: ops.gelu(x, approximate="tanh"), lambda t: F.gelu(t, approximate="tanh")),
    "bool": (lambda x: ops.convert(x, "bool"), lambda t: t.bool()),
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_of_one(device: harness.Device, name: str) -> None:
    build, function = UNARY[name]
    agree(device, build, function(of(FLOATS)), FLOATS)


def test_silu_ends_where_it_is_all_but_zero(device: harness.Device) -> None:
    x = FLOATS[~np.isneginf(FLOATS)]
    agree(device, ops.silu, F.silu(of(x)), x)
    agree(device, ops.silu, None, FLOATS)


def test_to_integers_saturates(device: harness.Device) -> None:
    agree(device, lambda x: ops.convert(x, "int32"), None, FLOATS)
    found = reference(lambda x: ops.convert(x, "int32"), {"x": FLOATS})
    want = {INF: 2**31 - 1, -INF: -(2**31), 1e30: 2**31 - 1, -2.5: -2, 2.0**31: 2**31 - 1}
    for value, whole in want.items():
        assert found[np.float32(value) == FLOATS].tolist() == [whole]
    assert found[np.isnan(FLOATS)].tolist() == [0]


def rounded(mode: str) -> Callable[..., torch.Tensor]:
    return lambda a, b: torch.div(a, b, rounding_mode=mode)


BINARY: dict[str, Callable[..., torch.Tensor]] = {
    **{n: getattr(torch, n) for n in (
        "add", "sub", "mul", "div", "minimum", "maximum", "pow", "eq", "ne", "lt", "le", "gt", "ge",
    )},
    "trunc_divide": rounded("trunc"),
    "floor_divide": rounded("floor"),
    "remainder": torch.remainder,
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_of_two(device: harness.Device, name: str) -> None:
    a, b = FLOAT_PAIRS
    if name == "remainder":  # beyond float32 torch divides before it takes what is left
        kept = ~(np.abs(a) > 1e29) | ~np.isfinite(a) | (np.abs(b) > 1e29)
        a, b = a[kept], b[kept]
    agree(device, getattr(ops, name), BINARY[name](of(a), of(b)), a, b)


@pytest.mark.parametrize("name", [n for n in BINARY if n not in ("div", "pow")])
def test_of_two_integers(device: harness.Device, name: str) -> None:
    """Sums and products wrap round; a division by 0, which torch refuses, leaves a."""
    a, b = WHOLE_PAIRS
    defined = (b != 0) & ((a != -(2**31)) | (b != -1))
    if name not in ("trunc_divide", "floor_divide", "remainder"):
        defined[:] = True
    build = getattr(ops, name)
    agree(device, build, BINARY[name](of(a[defined]), of(b[defined])), a[defined], b[defined])
    agree(device, build, None, a, b)
    if not defined.all():
        got = reference(by_position(build), {"a": a, "b": b})
        want = np.zeros_like(a) if name == "remainder" else a
        np.testing.assert_array_equal(got[~defined], want[~defined])


NORMAL = st.floats(width=32, allow_subnormal=False)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(NORMAL, NORMAL), min_size=1, max_size=40))
def test_what_is_left_is_exact(native: harness.Native, pairs: list[tuple[float, float]]) -> None:
    a, b = np.array(pairs, np.float32).T.copy()
    with np.errstate(invalid="ignore"):
        want = np.remainder(a, b)
    got = native.run(graph_of(by_position(ops.remainder), {"a": a, "b": b}), a=a, b=b)["y"]
    flushed = np.abs(want) < np.finfo(np.float32).tiny  # of a denormal
    assert_close(np.where(flushed, want, got), want, atol=0, rtol=0)


ROWS = np.array(
    [[1, NAN, 3], [NAN, 1, 2], [INF, INF, 1], [1, 2, -INF], [INF, -INF, 0], [1, 2, NAN]], np.float32
)


@pytest.mark.parametrize("wide", [1, 100])
def test_rows(device: harness.Device, wide: int) -> None:
    """Longer rows are shared by invocations."""
    x = np.repeat(ROWS, wide, axis=1)
    t = of(x)
    for name in ("amax", "amin", "sum", "mean"):
        agree(device, lambda a, n=name: getattr(ops, n)(a, (1,)), getattr(torch, name)(t, (1,)), x)
    agree(device, ops.softmax, torch.softmax(t, -1), x)
    agree(device, ops.argmax, t.argmax(-1).int(), x)
    agree(device, lambda a: ops.argmax(ops.neg(a)), t.argmin(-1).int(), x)


def test_a_masked_row_is_zeros(device: harness.Device) -> None:
    x = np.full((2, 5), -INF, np.float32)
    assert not reference(ops.softmax, {"x": x}).any()
    agree(device, ops.softmax, None, x)


def test_argmax_of_integers_is_exact(device: harness.Device) -> None:
    x = np.stack([WHOLE, WHOLE[::-1], np.full(10, -(2**31), np.int32)])
    x[1, 3:5] = 2**24, 2**24 + 1  # one float32
    agree(device, ops.argmax, of(x).argmax(-1).int(), x)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("dilation", [1, 2])
def test_the_last_nan_of_a_window(device: harness.Device, padding: int, dilation: int) -> None:
    x = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
    x[0, 0, 1, 1] = x[0, 0, 2, 2] = NAN
    x[0, 1, :3, :3] = -INF
    window = {"stride": 1, "padding": padding, "dilation": dilation}
    values, places = F.max_pool2d(of(x), 2, **window, return_indices=True)
    agree(device, lambda a: ops.max_pool2d(a, 2, **window), values, x)
    agree(device, lambda a: ops.max_pool2d_indices(a, 2, **window), places.int(), x)


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_a_place_that_is_no_number(
    device: harness.Device, mode: str, padding: str, align: bool
) -> None:
    x = np.arange(1, 21, dtype=np.float32).reshape(1, 1, 4, 5)
    grid = np.zeros((1, 1, 6, 2), np.float32)
    grid[..., 0] = NAN, INF, -INF, 5, -5, 0.3
    options = {"mode": mode, "align_corners": align}

    def build(a: tt.Tensor, b: tt.Tensor) -> tt.Tensor:
        return ops.grid_sampler_2d(a, b, padding=padding, **options)

    want = F.grid_sample(of(x), of(grid), padding_mode=padding, **options)
    agree(device, build, torch.nan_to_num(want), x, grid)  # torch: NaN · 0 where zeros lie


def test_rows_without_a_scale(device: harness.Device) -> None:
    """A constant row has one; of NaN or ∞ comes NaN."""
    x = np.repeat(np.array([[0, 0], [3, 3], [-2, -2], [NAN, 1], [INF, 1], [-INF, 1]], np.float32),
                  40, axis=1)  # fmt: skip
    agree(device, ops.choose_scale, None, x)
    agree(device, ops.choose_zero_point, None, x)

    def faked(a: tt.Tensor) -> tt.Tensor:
        return ops.fake_quantize(a, ops.choose_scale(a), ops.choose_zero_point(a))

    agree(device, faked, None, x)
    got = reference(faked, {"a": x})
    assert_close(got[:3], x[:3], atol=0, rtol=1e-6)
    assert np.isnan(got[3:]).all()
