"""q4gsw and q8gsw: layout, bounds, exactness, the search, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tensortab.errors import QuantizationError
from tensortab.quant import q4gsw, q8gsw

FORMATS = pytest.mark.parametrize("quant", [q4gsw, q8gsw])
TOP = {q4gsw: 7, q8gsw: 127}
SCALES = pytest.mark.parametrize("scales", ["float32", "float16"])


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def group_errors(quant, weight, group, **options):
    """Each group's squared error, in float64, and the scales."""
    packed, scales = quant.quantize(weight, group, **options)
    restored = quant.dequantize(packed, scales).astype(np.float64)
    wide = (weight.astype(np.float64) - restored).reshape(len(weight), -1, group)
    return np.square(wide).sum(axis=-1), scales


def test_q4_layout_is_low_nibble_first():
    weight = np.zeros((2, 32), np.float32)
    weight[1, :4] = [7, -3, 1, 0]  # max 7, so the scale is 1 and codes are the weights
    packed, scales = q4gsw.quantize(weight)
    assert packed.shape == (2, 16)
    assert packed.dtype == np.uint8
    assert scales.tolist() == [[0, 1]]
    assert packed[1, :3].tolist() == [(5 << 4) | 15, (8 << 4) | 9, 0x88]


def test_q8_layout_is_int8():
    weight = np.zeros((1, 64), np.float32)
    weight[0, :3] = [127, -1, -127]
    packed, scales = q8gsw.quantize(weight, 64)
    assert scales.tolist() == [[1]]
    assert packed.dtype == np.int8
    assert packed[0, :4].tolist() == [127, -1, -127, 0]


@FORMATS
def test_group_scales_run_along_k(quant):
    top = TOP[quant]
    weight = np.repeat(np.arange(1, 7, dtype=np.float32).reshape(2, 3) * top, 32, axis=1)
    _, scales = quant.quantize(weight, 32)
    assert scales.tolist() == [[1, 4], [2, 5], [3, 6]]  # [K/group, N]


@FORMATS
@SCALES
@pytest.mark.parametrize("group", [32, 64, 128])
@given(data=st.data())
def test_no_element_moves_more_than_half_a_scale(quant, scales, group, data):
    largest = 1e4 if scales == "float16" else 2.0**122
    elements = st.floats(-largest, largest, width=32) | st.floats(-(2.0**-18), 2.0**-18, width=32)
    weight = data.draw(hnp.arrays(np.float32, (2, group), elements=elements))
    packed, s = quant.quantize(weight, group, scales=scales)
    assert s.dtype == scales
    error = np.abs(weight.astype(np.float64) - quant.dequantize(packed, s))
    assert (error <= s.T.astype(np.float64) / 2).all()


@FORMATS
def test_ties_round_to_even(quant):
    top = TOP[quant]
    weight = np.zeros((1, 32), np.float32)
    weight[0, :6] = [top, 0.5, 1.5, 2.5, -0.5, -1.5]
    packed, scales = quant.quantize(weight)
    assert quant.dequantize(packed, scales)[0, :6].tolist() == [top, 0, 2, 2, 0, -2]


@FORMATS
@SCALES
@pytest.mark.parametrize("search", [False, True])
def test_zero_groups(quant, scales, search):
    weight = normal(3, 64)
    weight[1, 32:] = 0
    weight[2] = -0.0
    packed, s = quant.quantize(weight, 32, scales=scales, search=search)
    restored = quant.dequantize(packed, s)
    assert s[1, 1] == s[0, 2] == s[1, 2] == 0
    assert not restored[1, 32:].any()
    assert not restored[2].any()
    assert np.isfinite(s).all()


@FORMATS
@SCALES
@given(data=st.data())
def test_search_is_never_worse_in_any_group(quant, scales, data):
    values = st.floats(-100, 100, width=32) | st.sampled_from([0.0, 1e-30, 1e-42, -7.5, 60.0])
    weight = data.draw(hnp.arrays(np.float32, (3, 64), elements=values))
    plain, _ = group_errors(quant, weight, 32, scales=scales)
    found, _ = group_errors(quant, weight, 32, scales=scales, search=True)
    # But for the units in which the search compares the two (search.py).
    largest = np.abs(weight).reshape(3, -1, 32).max(axis=-1).astype(np.float64)
    unit = np.ldexp(1.0, np.frexp(largest)[1] - 1 - (13 if quant is q4gsw else 15))
    assert (np.sqrt(found) <= np.sqrt(plain) + 2 * np.sqrt(32) * unit).all()


@FORMATS
@SCALES
def test_search_keeps_what_plain_rounding_holds_exactly(quant, scales):
    codes = np.random.default_rng(0).integers(-TOP[quant], TOP[quant] + 1, (50, 64))
    codes[:, ::32] = TOP[quant]
    weight = (codes * np.float32(1.375 / 512)).astype(np.float32)
    restored = quant.dequantize(*quant.quantize(weight, scales=scales, search=True))
    np.testing.assert_array_equal(restored, weight)


def test_search_wins_and_takes_negative_scales():
    weight = normal(64, 384)
    plain, _ = group_errors(q4gsw, weight, 32)
    found, scales = group_errors(q4gsw, weight, 32, search=True)
    assert found.sum() < 0.75 * plain.sum()
    assert 0.2 < (scales < 0).mean() < 0.8


def test_search_finds_what_all_scales_would():
    """A fine sweep of scales of both signs is at most 2 % better over many groups."""
    weight = normal(40, 32, seed=5)
    found, _ = group_errors(q4gsw, weight, 32, search=True)
    best = np.full(40, np.inf)
    extreme = np.abs(weight).max(axis=1, keepdims=True)
    for d in np.concatenate([np.arange(4, 14, 0.02), -np.arange(4, 14, 0.02)]):
        codes = np.clip(np.rint(weight / (extreme / d)), -8, 7)
        fit = (weight * codes).sum(1) ** 2 / np.square(codes).sum(1)
        best = np.minimum(best, np.square(weight).sum(1) - fit)
    assert found.sum() < 1.02 * best.sum()


@FORMATS
@SCALES
@pytest.mark.parametrize("search", [False, True])
def test_products_and_midpoints_are_exact_in_float32(quant, scales, search):
    _, s = quant.quantize(normal(8, 96), 32, scales=scales, search=search)
    halves = np.arange(-2 * TOP[quant] - 3, 2 * TOP[quant] + 2) / 2
    exact = np.multiply.outer(halves, s.astype(np.float64))
    assert (exact == exact.astype(np.float32)).all()


@FORMATS
@given(data=st.data())
def test_a_code_is_the_exact_quotient_rounded(quant, data):
    weight = data.draw(hnp.arrays(np.float32, (1, 32), elements=st.floats(-8, 8, width=32)))
    packed, s = quant.quantize(weight)
    if s[0, 0] == 0:
        return
    # float64 holds the difference of a float32 and a midpoint exactly where the two are close.
    codes = np.rint(quant.dequantize(packed, s).astype(np.float64) / s[0, 0])
    off = weight.astype(np.float64) - codes * s[0, 0]
    assert (np.abs(off) <= s[0, 0] / 2).all()
    ties = np.abs(off) == s[0, 0] / 2
    assert (codes[ties] % 2 == 0).all()


@FORMATS
def test_chunks_do_not_show(quant):
    weight = normal(700, 384)  # four chunks and a rest
    packed, scales = quant.quantize(weight, 64, search=True)
    for rows in (slice(0, 3), slice(168, 175), slice(699, 700)):
        p, s = quant.quantize(weight[rows], 64, search=True)
        np.testing.assert_array_equal(p, packed[rows])
        np.testing.assert_array_equal(s, scales[:, rows])
        np.testing.assert_array_equal(
            quant.dequantize(p, s), quant.dequantize(packed, scales)[rows]
        )


@FORMATS
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_are_taken_as_float32(quant, dtype):
    weight = normal(4, 64).astype(dtype)
    got, expected = quant.quantize(weight), quant.quantize(weight.astype(np.float32))
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])


@pytest.mark.parametrize(
    ("quant", "scales", "group", "bits"),
    [
        (q4gsw, "float32", 32, 5.0),
        (q4gsw, "float16", 32, 4.5),
        (q4gsw, "float16", 64, 4.25),
        (q8gsw, "float16", 128, 8.125),
    ],
)
def test_bits_per_weight(quant, scales, group, bits):
    assert quant.bits_per_weight(*quant.quantize(normal(6, 256), group, scales=scales)) == bits


@FORMATS
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(quant, bad):
    weight = normal(400, 384)
    weight[391, 200] = weight[399, 0] = bad
    with pytest.raises(QuantizationError, match=rf"layer\.3\[391, 200\] is {bad}"):
        quant.quantize(weight, name="layer.3")


def test_refuses_a_float64_beyond_float32():
    with pytest.raises(QuantizationError, match=r"weight\[0, 1\] is 1e\+300"):
        q4gsw.quantize(np.array([[0, 1e300] + [0] * 30]))


@FORMATS
@pytest.mark.parametrize("search", [False, True])
def test_refuses_a_scale_beyond_float16(quant, search):
    weight = np.full((1, 32), 1e9, np.float32)
    with pytest.raises(QuantizationError, match=r"head needs a scale of .* end at 65504"):
        quant.quantize(weight, scales="float16", search=search, name="head")


@FORMATS
def test_refuses_weights_whose_products_would_leave_float32(quant):
    with pytest.raises(QuantizationError, match=r"float32 scales end at 1\.32923e\+36"):
        quant.quantize(np.full((1, 32), np.finfo(np.float32).max, np.float32))


@FORMATS
def test_candidates_keep_the_search_s_sums_to_their_bits(quant):
    """128 weights that are all the largest, with g's rounding on top."""
    form = quant.FORMAT
    d = [c / 8 for c in form.candidates]
    assert len(d) == 16
    beyond = max(abs(x) - (form.top if x > 0 else form.top + 1) for x in d) + abs(d[0]) / 1500
    assert 128 * round(beyond * 2 ** (8 - form.bits // 4)) ** 2 < 2**24
    g = [round(abs(x) * 2 ** (23 - form.bits) / a) for x in d for a in (2**11, 2**12)]
    assert max(g) * 2**12 < 2**24
    assert min(g) > 500


def test_search_stays_within_float16():
    weight = np.zeros((1, 32), np.float32)
    weight[0, :2] = [458000, 300000]  # plain scale 65429, and most candidates are beyond 65504
    _, scales = q4gsw.quantize(weight, scales="float16", search=True)
    assert np.isfinite(scales).all()


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 80), {"group": 32}, r"proj has K = 80, .*groups of 32 \(16 left over\)"),
        ((4, 64), {"group": 16}, "proj: group is 16, expected one of 32, 64, 128"),
        ((4, 64), {"scales": "int8"}, "proj: scales is 'int8'"),
        ((64,), {}, r"proj has the shape \[64\], expected \[N, K\]"),
        ((0, 64), {}, r"proj has the shape \[0, 64\]"),
    ],
)
def test_refuses_shapes_and_options(shape, options, message):
    with pytest.raises(QuantizationError, match=message):
        q4gsw.quantize(np.zeros(shape, np.float32), name="proj", **options)


@pytest.mark.parametrize("scales", [(6, 4), (3, 5), (1, 4), (0, 4), (8,)])
def test_dequantize_refuses_what_does_not_fit(scales):
    with pytest.raises(QuantizationError, match=r"packed uint8\[4, 48\] and scales float32\["):
        q4gsw.dequantize(np.zeros((4, 48), np.uint8), np.zeros(scales, np.float32))
