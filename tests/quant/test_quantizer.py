"""Weights quantized on a device are numpy's, bit for bit; and what is refused."""

import asyncio
import dataclasses
import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness
import tensortab as tt
from tensortab.errors import QuantizationError, ShapeError, UnsupportedError
from tensortab.quant.recipe import Format
from tensortab.quantizer import Quantizer

# Runs here and in the tab. A case: name, format, dtype, shape, the pieces, the results' sizes.
QUANTIZE = """
import pickle
import tensortab as tt
from tensortab.quantizer import Quantizer

async def quantize(backend, quantizer, case, foreign):
    name, form, dtype, shape, pieces, sizes = case
    buffers = [backend.alloc(size) for size in sizes]
    for buffer, size in zip(buffers, sizes):
        backend.write(buffer, b"\\xff" * size)  # what lay there does not matter
    try:
        job = await quantizer.start(name, form, dtype, shape, *buffers)
        for first, data in pieces:
            await job.rows(first, foreign(data))
        await job.finish()
        return [await backend.read(b, size) for b, size in zip(buffers, sizes)]
    finally:
        for buffer in buffers:
            backend.free(buffer)

async def main(payload):
    from pyodide.ffi import to_js

    if not hasattr(tt, "shared_device"):
        tt.shared_device = await tt.Device.open("browser")
    backend = tt.shared_device.backend
    quantizer = Quantizer(backend)
    foreign = lambda data: to_js(memoryview(data))
    try:
        cases = pickle.loads(payload)
        return pickle.dumps([await quantize(backend, quantizer, c, foreign) for c in cases])
    finally:
        quantizer.close()
"""

SCOPE: dict[str, Any] = {}
exec(QUANTIZE, SCOPE)
DTYPES = ("F32", "F16", "BF16")
DEVICES = ("native", "chrome", "reference")


@dataclass(frozen=True)
class Raw:
    """A weight as it lies in a file, and what numpy makes of it."""

    dtype: str
    data: np.ndarray  # [N, K], bfloat16 as uint16

    @classmethod
    def of(cls, weight: np.ndarray, dtype: str) -> "Raw":
        if dtype == "BF16":
            return cls(dtype, (weight.view(np.uint32) >> 16).astype(np.uint16))
        with np.errstate(over="ignore"):
            return cls(dtype, weight.astype({"F32": np.float32, "F16": np.float16}[dtype]))

    @property
    def floats(self) -> np.ndarray:
        if self.dtype == "BF16":
            return (self.data.astype(np.uint32) << 16).view(np.float32)
        return self.data

    def case(self, form: Format, rows: int, name: str = "weight") -> tuple[Any, ...]:
        n, k = self.data.shape
        pieces = [(i, self.data[i : i + rows].tobytes()) for i in range(0, n, rows)]
        sizes = (
            n * k * form.packing.bits // 8,
            k // form.group * n * np.dtype(form.scales).itemsize,
        )
        return name, form, self.dtype, (n, k), pieces, sizes


def run(
    request: pytest.FixtureRequest, kind: str, cases: list[tuple[Any, ...]]
) -> list[list[bytes]]:
    if kind == "chrome":
        return pickle.loads(request.getfixturevalue("chrome").call(QUANTIZE, pickle.dumps(cases)))
    if kind == "native":
        backend = request.getfixturevalue("native").device.backend
    else:
        backend = asyncio.run(tt.Device.open("reference")).backend
    return asyncio.run(run_all(backend, cases))


async def run_all(backend: Any, cases: list[tuple[Any, ...]]) -> list[list[bytes]]:
    quantizer = Quantizer(backend)
    try:
        return [await SCOPE["quantize"](backend, quantizer, c, memoryview) for c in cases]
    finally:
        quantizer.close()


def assert_same(got: list[bytes], raw: Raw, form: Format) -> None:
    packed, scales = form.quantize(raw.floats, "weight")
    bits = np.uint16 if form.scales == "float16" else np.uint32
    told = f"{form} of {raw.dtype}{list(raw.data.shape)}"
    found = np.frombuffer(got[1], bits).reshape(scales.shape)
    np.testing.assert_array_equal(found, scales.view(bits), err_msg=f"scales, {told}")
    found = np.frombuffer(got[0], packed.dtype).reshape(packed.shape)
    np.testing.assert_array_equal(found, packed, err_msg=f"packed, {told}")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def bit_patterns(rng: np.random.Generator, n: int, k: int, largest: float) -> np.ndarray:
    """Any signs and fractions, rows of any size, exponents within a dozen of a row's."""
    end = int(np.float32(largest).view(np.uint32) >> 23)
    exponent = np.clip(rng.integers(-8, end + 6, (n, 1)) - rng.integers(0, 12, (n, k)), 0, end - 1)
    bits = rng.integers(0, 2**32, (n, k), np.uint32) & np.uint32(0x807FFFFF)
    return (bits | exponent.astype(np.uint32) << 23).view(np.float32)


def near_midpoints(rng: np.random.Generator, n: int, k: int, top: int) -> np.ndarray:
    """(code + ½) · scale for scales that plain rounding finds again, and its two neighbours."""
    scale = np.ldexp(rng.integers(2**14, 2**15, (n, 1)).astype(np.float32), rng.integers(-40, -8))
    codes = rng.integers(-top, top, (n, k)).astype(np.float32)
    w = (codes + np.float32(0.5)) * scale
    w = (w.view(np.int32) + rng.integers(-1, 2, (n, k), np.int32)).view(np.float32)
    w[:, ::32] = top * scale
    return w


def hard(form: Format, dtype: str, seed: int) -> np.ndarray:
    """An odd number of rows, each hard in its way."""
    rng = np.random.default_rng(seed)
    top, k = form.packing.top, 2 * form.group
    limit = np.float32(form.packing.largest_weight(form.scales))
    if dtype == "F16":
        limit = min(limit, np.float32(65504))
    least = np.float32({"F32": 2**-149, "F16": 2**-24, "BF16": 2**-133}[dtype])
    ties = rng.integers(-2 * top, 2 * top + 1, (3, k)).astype(np.float32) / 2
    ties[:, 0] = (top, -top, -top - 1)
    spike = np.zeros((3, k), np.float32)
    spike[:, 5] = (1, -least, limit)
    ends = (
        np.where(rng.random((4, k)) < 0.5, -1, 1)
        * np.float32([limit, least, 1, 3 * least])[:, None]
    )
    tiny = rng.integers(-40, 41, (4, k)) * least
    levels = rng.integers(-top - 1, top + 1, (3, k)) * np.float32(2.0**-10)
    rows = [
        normal(4, k, seed=seed),
        rng.standard_cauchy((3, k)).clip(-1000, 1000),
        rng.uniform(-1, 1, (2, k)) * np.float32(2.0**-20),
        bit_patterns(rng, 25, k, float(limit)),
        near_midpoints(rng, 6, k, top),
        *(ties, spike, ends, tiny, levels),
        np.zeros((1, k)),
        np.full((1, k), -0.0),
        np.full((1, k), -1.7),
        np.full((1, k), limit),
    ]
    weight = np.concatenate(rows).astype(np.float32)
    assert len(weight) % 2
    return weight


@pytest.mark.parametrize("kind", ["native", "chrome"])
@pytest.mark.parametrize("search", [True, False])
@pytest.mark.parametrize("scales", ["float32", "float16"])
@pytest.mark.parametrize("name", ["q4gsw", "q8gsw"])
def test_the_same_bits_as_numpy(
    request: pytest.FixtureRequest, name: str, scales: str, search: bool, kind: str
) -> None:
    asked = []
    for dtype in DTYPES:
        for group in (32, 64, 128):
            form = Format(name, group, search, scales)
            asked.append((form, Raw.of(hard(form, dtype, group), dtype)))
    rows = iter([60, 7, 1, 60, 59, 2, 60, 30, 3])
    cases = [raw.case(form, next(rows)) for form, raw in asked]
    for got, (form, raw) in zip(run(request, kind, cases), asked, strict=True):
        assert_same(got, raw, form)


@pytest.mark.parametrize("kind", DEVICES)
@pytest.mark.parametrize(("n", "k"), [(1, 32), (1, 4096), (5, 96), (333, 64)])
def test_shapes(request: pytest.FixtureRequest, n: int, k: int, kind: str) -> None:
    asked = [(f, Raw.of(normal(n, k), d)) for f in FORMS for d in DTYPES]
    cases = [raw.case(form, -(-n // 2)) for form, raw in asked]
    for got, (form, raw) in zip(run(request, kind, cases), asked, strict=True):
        assert_same(got, raw, form)


FORMS = (Format("q4gsw"), Format("q8gsw"))
WORDS = st.integers(0, 0x7EFFFFFF) | st.sampled_from([1, 0x7FFFFF, 0x800000, 0x3F800000])


@given(
    form=st.builds(
        Format,
        st.sampled_from(["q4gsw", "q8gsw"]),
        search=st.booleans(),
        scales=st.just("float32"),
    ),
    top=st.integers(0, 0xF7),
    words=st.lists(WORDS, min_size=32, max_size=32),
    signs=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=150)
def test_any_bits(
    native: harness.Native, form: Format, top: int, words: list[int], signs: int
) -> None:
    """A group whose exponents are `top` at most, so that its small ones often matter."""
    bits = np.array(words, np.uint32)
    field = np.minimum(bits >> np.uint32(23), np.uint32(top)).astype(np.uint32)
    sign = (np.uint32(signs) >> np.arange(32, dtype=np.uint32)) << np.uint32(31)
    bits = (bits & np.uint32(0x7FFFFF)) | field << np.uint32(23) | sign
    raw = Raw("F32", bits.view(np.float32).reshape(1, 32))
    raw = Raw("F32", raw.data.clip(-(2.0**122), 2.0**122))
    [got] = asyncio.run(run_all(native.device.backend, [raw.case(form, 1)]))
    assert_same(got, raw, form)


def test_more_workgroups_than_a_dimension_holds(
    native: harness.Native, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = native.device.backend
    few = dict(backend.target.limits) | {"maxComputeWorkgroupsPerDimension": 3}
    monkeypatch.setattr(backend, "target", dataclasses.replace(backend.target, limits=few))
    raw, form = Raw.of(normal(71, 256), "BF16"), Format("q4gsw")  # nine workgroups
    [got] = asyncio.run(run_all(backend, [raw.case(form, 71)]))
    assert_same(got, raw, form)


def test_pieces_cover_a_weight_and_fit(native: harness.Native) -> None:
    async def pieces(n: int, k: int, dtype: str) -> Iterator[tuple[int, int]]:
        backend = native.device.backend
        quantizer, buffer = Quantizer(backend), backend.alloc(16)
        job = await quantizer.start("w", Format("q4gsw"), dtype, (n, k), buffer, buffer)
        quantizer.close()
        return job.pieces

    assert list(asyncio.run(pieces(5, 2048, "BF16"))) == [(0, 5)]
    assert list(asyncio.run(pieces(10000, 2048, "BF16"))) == [(0, 4096), (4096, 4096), (8192, 1808)]
    assert list(asyncio.run(pieces(3, 1 << 22, "F32"))) == [(0, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize("kind", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_refuses_what_is_not_finite(request: pytest.FixtureRequest, dtype: str, kind: str) -> None:
    weight = normal(9, 384)
    weight[4, 200] = -np.inf
    weight[4, 201] = weight[8, 0] = np.nan
    case = Raw.of(weight, dtype).case(Format("q8gsw", 128), 4, "layer.3")
    with pytest.raises(QuantizationError, match=r"^layer\.3\[4, 200\] is -inf: only weights that"):
        run(request, kind, [case])


@pytest.mark.parametrize("kind", DEVICES)
@pytest.mark.parametrize(
    ("largest", "form"),
    [
        (1e9, Format("q4gsw", scales="float16")),
        (-8.4e6, Format("q8gsw", scales="float16")),
        (3e38, Format("q4gsw", scales="float32", search=False)),
    ],
)
def test_refuses_scales_beyond_their_type(
    request: pytest.FixtureRequest, largest: float, form: Format, kind: str
) -> None:
    weight = normal(9, 64)
    weight[2, 3], weight[7, 40] = largest / 1.0001, largest
    with pytest.raises(QuantizationError, match=r"head needs a scale of .* scales end at") as numpy:
        form.quantize(weight, "head")
    with pytest.raises(QuantizationError, match=r"head needs a scale of .* scales end at") as found:
        run(request, kind, [Raw.of(weight, "F32").case(form, 4, "head")])
    assert str(found.value) == str(numpy.value)


def test_the_largest_weight_is_the_last_one_taken() -> None:
    for form in (Format("q4gsw"), Format("q8gsw", scales="float32")):
        largest = np.float32(form.packing.largest_weight(form.scales))
        form.quantize(np.full((1, 32), -largest), "w")
        with pytest.raises(QuantizationError, match="w needs a scale"):
            form.quantize(np.full((1, 32), np.nextafter(largest, np.float32(np.inf))), "w")


def test_a_fault_is_told_while_a_weight_streams(
    native: harness.Native, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["tensortab.quantizer"], "_UNSEEN", 256)
    raw = Raw.of(np.full((3, 32), np.nan, np.float32), "F32")
    *start, pieces, sizes = raw.case(Format("q4gsw"), 1)
    case = (*start, [*pieces[:2], (99, b"never reached")], sizes)
    with pytest.raises(QuantizationError, match=r"weight\[0, 0\] is nan"):
        asyncio.run(run_all(native.device.backend, [case]))


@pytest.mark.parametrize("kind", ["native", "reference"])
@pytest.mark.parametrize(
    ("first", "data", "message"),
    [
        (2, bytes(128), "weight: 128 bytes from row 2 on, expected whole rows of 64 bytes .*N = 3"),
        (0, bytes(63), r"63 bytes from row 0 on, expected whole rows of 64 bytes \(K = 32, BF16\)"),
        (-1, bytes(64), "64 bytes from row -1 on"),
        (1, bytes(128), "weight: 2 rows were given, expected 3"),
    ],
)
def test_refuses_rows_that_do_not_fit(
    request: pytest.FixtureRequest, first: int, data: bytes, message: str, kind: str
) -> None:
    form = Format("q4gsw")
    with pytest.raises(ShapeError, match=message):
        run(request, kind, [("weight", form, "BF16", (3, 32), [(first, data)], (48, 6))])


@pytest.mark.parametrize(
    ("dtype", "shape", "error", "message"),
    [
        ("F64", (3, 32), UnsupportedError, "w is F64, expected one of F32, F16, BF16 to quantize"),
        ("F32", (3, 48), QuantizationError, r"w has K = 48, .* groups of 32 \(16 left over\)"),
        ("F32", (48,), QuantizationError, r"w has the shape \[48\], expected \[N, K\]"),
        ("F32", (1, 1 << 23), UnsupportedError, "w: a row takes 33554432 bytes, .* 16777216"),
    ],
)
def test_refuses_a_weight_before_its_rows(
    dtype: str, shape: tuple[int, ...], error: type[Exception], message: str
) -> None:
    backend = asyncio.run(tt.Device.open("reference")).backend
    with pytest.raises(error, match=message):
        asyncio.run(run_all(backend, [("w", Format("q4gsw"), dtype, shape, [], (16, 16))]))
