"""Reading agrees with the format's own library; whatever is malformed is refused by name."""

import asyncio
import json

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from tensortab.errors import FormatError, TensortabError, UnsupportedError
from tensortab.weights import safetensors as st_file
from tensortab.weights.source import BytesSource


def packed(header, data=b""):
    """A file of this header (an object, or its bytes) and this data."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def tensors(data):
    return asyncio.run(st_file.open(data)).tensors


def arrays(data):
    async def read():
        file = await st_file.open(data)
        return {name: await file.array(name) for name in file.tensors}

    return asyncio.run(read())


def sound():
    weights = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([-1, 2], np.int64),
        "empty": np.zeros((0, 4), np.float16),
        "scalar": np.array(7, np.uint8),
    }
    return safetensors.numpy.save(weights, {"format": "np"})


DTYPES = (
    *("float64", "float32", "float16", "int64", "int32", "int16", "int8"),
    *("uint64", "uint32", "uint16", "uint8", "bool"),
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_reads_what_the_formats_library_wrote(dtype):
    random = np.random.default_rng(0)
    weights = {
        "matrix": (100 * random.standard_normal((3, 5))).astype(dtype),
        "größe/\u200b": np.ones((2, 1, 4), dtype),
        "scalar": np.array(1, dtype),
        "empty": np.zeros((0, 7), dtype),
    }
    got = arrays(safetensors.numpy.save(weights))
    assert got.keys() == weights.keys()
    for name, expected in weights.items():
        assert got[name].dtype == dtype
        np.testing.assert_array_equal(got[name], expected, strict=True)


def test_widens_bfloat16():
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    got = arrays(
        safetensors.torch.save({"w": weight, "inf": torch.tensor([-torch.inf]).bfloat16()})
    )
    np.testing.assert_array_equal(got["w"], weight.float().numpy(), strict=True)
    assert got["inf"].tolist() == [-np.inf]


def test_reads_from_a_file(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(sound())

    async def read():
        file = await st_file.open(path)
        return bytes(await file.read("b")), bytes(await file.foreign("b"))

    assert asyncio.run(read()) == (np.array([-1, 2]).tobytes(),) * 2


def test_entries_say_where_a_tensor_is():
    data = sound()
    place = tensors(data)["a"]
    assert (place.dtype, place.shape) == ("F32", (2, 3))
    assert np.frombuffer(data[place.start : place.end], "<f4").tolist() == [0, 1, 2, 3, 4, 5]


def test_a_data_section_at_odd_offsets():
    header = {"byte": entry("U8", (1,), (0, 1)), "w": entry("F32", (1,), (1, 5))}
    got = arrays(packed(header, b"\7" + np.float32(1.5).tobytes()))
    assert (got["byte"][0], got["w"][0]) == (7, 1.5)


def test_reads_only_the_ranges_asked_for():
    ranges = []

    class Recording(BytesSource):
        async def read(self, start, end):
            ranges.append((start, end))
            return await super().read(start, end)

    data = sound()

    async def read():
        file = await st_file.open(Recording(memoryview(data)))
        await file.array("b")
        return file.tensors["b"]

    place = asyncio.run(read())
    header = 8 + int.from_bytes(data[:8], "little")
    assert ranges == [(0, 8), (8, header), (place.start, place.end)]


def test_no_such_tensor():
    file = asyncio.run(st_file.open(sound()))
    with pytest.raises(FormatError, match="<bytes>: there is no tensor 'c' among its 4"):
        asyncio.run(file.array("c"))


BAD = {
    "an empty file": (b"", "truncated: 0 bytes, expected at least 8"),
    "no header length": (b"\1\0\0", "truncated: 3 bytes"),
    "a header over 100 MB": (
        (100_000_001).to_bytes(8, "little") + b"{}",
        "header is 100000001 bytes long, expected at most 100000000",
    ),
    "a header length beyond 63 bits": (b"\xff" * 16, "header is 18446744073709551615 bytes long"),
    "a header beyond the end": (
        (50).to_bytes(8, "little") + b"{}",
        "truncated: the file has 10 bytes, its header alone ends at 58",
    ),
    "not UTF-8": (packed(b'{"\xff": 1}'), "header is not JSON: .*utf-8"),
    "not JSON": (packed(b"{'a': 1}"), "header is not JSON"),
    "an empty header": (packed(b""), "header is not JSON"),
    "endless digits": (packed(b'{"a": %s}' % (b"9" * 5000)), "header is not JSON"),
    "deep nesting": (packed(b"[" * 200_000), "header is not JSON: maximum recursion"),
    "deep nesting within bounds": (packed({"a": json.loads("[" * 500 + "]" * 500)}), "'a' is "),
    "a list": (packed([]), r"header is \[\], expected a JSON object"),
    "a name twice": (packed(b'{"a": {}, "a": {}}'), "header names 'a' twice"),
    "a field twice": (packed(b'{"a": {"dtype": "F32", "dtype": "F16"}}'), "names 'dtype' twice"),
    "metadata that is no object": (packed({"__metadata__": 1}), "__metadata__ is 1"),
    "metadata of numbers": (packed({"__metadata__": {"a": 1}}), r"__metadata__\['a'\] is 1"),
    "no object": (packed({"a": 3}), "tensor 'a' is 3, expected dtype, shape and data_offsets"),
    "a missing field": (packed({"a": {"dtype": "F32", "shape": []}}), "tensor 'a' is {"),
    "a negative dimension": (packed({"a": entry(shape=[-2])}), r"shape \[-2\]"),
    "a fractional dimension": (packed({"a": entry(shape=[2.0])}), r"shape \[2.0\]"),
    "true as a dimension": (packed({"a": entry(shape=[True])}), r"shape \[True\]"),
    "a text as a shape": (packed({"a": entry() | {"shape": "2"}}), "shape '2'"),
    "too many dimensions": (packed({"a": entry(shape=[1] * 65)}), "at most 64 integers"),
    "an overflowing shape": (packed({"a": entry(shape=[2**62, 4])}), r"less than 2\*\*53 bytes"),
    "an empty overflowing shape": (
        packed({"a": entry(shape=[0, 2**62, 4], offsets=(0, 0))}),
        r"shape \[0, 4611686018427387904, 4\], expected less than 2\*\*53 bytes",
    ),
    "three offsets": (packed({"a": entry(offsets=[0, 4, 8])}), r"data_offsets \[0, 4, 8\]"),
    "negative offsets": (packed({"a": entry(offsets=[-8, 0])}), r"data_offsets \[-8, 0\]"),
    "false as an offset": (packed({"a": entry(offsets=[False, 8])}), r"data_offsets \[False, 8\]"),
    "offsets reversed": (packed({"a": entry(offsets=[8, 0])}, bytes(8)), "lies at 8 to 0"),
    "offsets beyond the end": (
        packed({"a": entry()}, bytes(7)),
        "'a' lies at 0 to 8, expected a range within the 7 bytes after the header",
    ),
    "endless offsets": (
        packed({"a": entry(offsets=[0, 2**64])}),
        "lies at 0 to 18446744073709551616",
    ),
    "shape and bytes at odds": (
        packed({"a": entry(shape=[3])}, bytes(8)),
        r"'a' has 8 bytes at 0 to 8, expected 12 for F32\[3\]",
    ),
    "an overlap": (
        packed({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)),
        "tensor 'b' overlaps 'a': it starts at 4, expected 8",
    ),
    "a gap": (
        packed({"b": entry(offsets=(12, 20)), "a": entry()}, bytes(20)),
        "tensor 'b' leaves a gap after 'a': it starts at 12, expected 8",
    ),
    "a gap at the start": (
        packed({"a": entry(offsets=(1, 9))}, bytes(9)),
        "'a' leaves a gap after the header",
    ),
    "bytes behind": (packed({"a": entry()}, bytes(9)), "1 bytes after the last tensor"),
}


@pytest.mark.parametrize(("data", "message"), BAD.values(), ids=BAD.keys())
def test_refuses(data, message):
    with pytest.raises(FormatError, match=f"<bytes>: .*{message}"):
        tensors(data)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "f32", None, ["F32"]])
def test_refuses_other_dtypes(dtype):
    with pytest.raises(
        UnsupportedError, match=r"tensor 'a' is of dtype .*, expected one of F64, F32"
    ):
        tensors(packed({"a": entry(dtype)}, bytes(8)))


@st.composite
def mutations(draw):
    """A sound file with some bytes overwritten, cut out or put in."""
    data = bytearray(sound())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.integers(0, 4))
        data[at : at + gone] = draw(st.binary(max_size=4))
    return bytes(data)


@st.composite
def headers(draw):
    """A header of the right form with odd values in odd places, and data of some length."""
    number = st.integers(-3, 40) | st.sampled_from([2**31, 2**63, 2**64, 1.5, True, None, "1"])
    value = st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.sampled_from([*st_file.DTYPES, "F4", 3]),
            "shape": st.lists(number, max_size=4) | number,
            "data_offsets": st.lists(number, max_size=3) | number,
        },
    )
    names = st.sampled_from(["a", "b", "__metadata__", "\ud800"])
    return packed(
        draw(st.dictionaries(names, value | number, max_size=3)), bytes(draw(st.integers(0, 40)))
    )


@given(mutations() | headers() | st.binary(max_size=64))
def test_nothing_but_our_errors_escapes(data):
    try:
        got = arrays(data)
    except TensortabError:
        return
    # Whatever is accepted accounts for every byte.
    places = sorted((place.start, place.end) for place in tensors(data).values())
    assert sum(end - start for start, end in places) == len(data) - 8 - int.from_bytes(
        data[:8], "little"
    )
    assert all(got[name].shape == place.shape for name, place in tensors(data).items())


@given(mutations())
def test_the_formats_library_accepts_nothing_that_is_refused_here(data):
    """Ours may be stricter only where numpy or a browser could not hold the tensor."""
    try:
        accepted = safetensors.deserialize(data)
    except safetensors.SafetensorError:
        return
    assert {name for name, _ in accepted} == tensors(data).keys()
