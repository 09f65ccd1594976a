"""Files that ask for time or memory beyond their size: refused soon, with one of the two errors."""

import struct
import time
from typing import Any

import numpy as np
import pytest

import tensortab as tt
from calls import LAYOUT, built, tensor
from tensortab import plan as planning
from tensortab.errors import FormatError, ShapeError, UnsupportedError
from tensortab.pte import blob
from tensortab.pte.blob import Blob, Call, SymInt, TensorValue, ValueList
from tensortab.pte.build import build
from tensortab.pte.flat import Buffer, Table
from tensortab.pte.schema import Place
from tensortab.target import Target
from tensortab.weights import open_source

X = np.zeros((2, 3), np.float32)
WHOLE = np.zeros(4, np.int32)
INF, HUGE = float("inf"), 2**40


@pytest.fixture(autouse=True)
def soon() -> Any:
    began = time.perf_counter()
    yield
    assert time.perf_counter() - began < 3


@pytest.mark.parametrize(
    ("name", "args", "out", "match"),
    [
        (
            "aten.arange.start_step",
            [0, INF, 1, *LAYOUT],
            X,
            r"from 0 to inf by 1, expected numbers",
        ),
        (
            "aten.arange.start_step",
            [0, 1, float("nan"), *LAYOUT],
            X,
            r"from 0 to 1 by nan, expected",
        ),
        ("aten.arange.start_step", [0, 2**62, 1e-300, *LAYOUT], X, r"gives float32\[4294967296\]"),
        (
            "aten.full.default",
            [(4,), INF, *LAYOUT],
            WHOLE,
            r"full: inf in int32, expected finite num",
        ),
        (
            "aten.full.default",
            [(HUGE, HUGE), 0, *LAYOUT],
            X,
            r"gives float32\[1099511627776, 10995",
        ),
        ("aten.constant_pad_nd.default", [WHOLE, (0, 0), INF], WHOLE, r"pad: inf in int32, expect"),
        ("aten.repeat.default", [X, (HUGE, 1)], X, r"times is \(1099511627776, 1\), expected tup"),
        ("aten.permute.default", [X, (0, HUGE)], X, r"dims is \(0, 1099511627776\), expected tup"),
        ("aten.upsample_nearest2d.vec", [X, None, (1e308, 1e308)], X, r"expected sizes below 2³¹"),
        (
            "aten.native_layer_norm.default",
            [X, (3,), X, None, 1e-5],
            X,
            r"reshape: float32\[2, 3\]",
        ),
    ],
)
def test_numbers_beyond_all(name: str, args: list[Any], out: np.ndarray, match: str) -> None:
    outputs = [out] * 3 if "layer_norm" in name else [out]
    with pytest.raises((FormatError, UnsupportedError), match=match):
        built(name, args, outputs)


def test_settings_beyond_float32_are_infinite() -> None:
    args = [X, (3,), None, None, 1e300]
    made, _ = built("aten.native_layer_norm.default", args, [X, X[:, :1], X[:, :1]])
    for step in planning.plan(made.graph, Target("native")).steps:
        step.pack({})


def test_a_huge_tensor_takes_no_memory_of_the_host() -> None:
    """Whose weight is ones: a kernel makes them."""
    big = TensorValue("float32", (1 << 29,), None, -1)
    one = TensorValue("float32", (1,), None, -1)
    values = (big, (1 << 29,), None, None, 1e-5, big, one, one, ValueList((5, 6, 7)))
    call = Call("aten.native_layer_norm.default", (0, 1, 2, 3, 4, 8))
    made = build("test.pte", "", Blob((call,), values, (0,), (5,)), ((1 << 29,),))
    assert not made.graph.values


@pytest.mark.parametrize("shape", [(1 << 30,), (1 << 31, 1 << 31), (0, (1 << 32) - 1, 9)])
def test_tensors_that_no_kernel_counts(shape: tuple[int, ...]) -> None:
    value = TensorValue("float32", shape, None, -1)
    call = Call("aten.relu.default", (0, 1))
    with pytest.raises(UnsupportedError, match="expected less than 4 GiB"):
        build("test.pte", "", Blob((call,), (value, value), (0,), (1,)), (shape,))


@pytest.mark.parametrize("name", ["add", "sub", "mul", "floordiv"])
def test_live_integers_that_grow_with_every_step(name: str) -> None:
    calls = [Call("et_vk.select_as_symint.default", (0, 1, 2, 3))]
    values: list[Any] = [tensor(WHOLE), 0, 1, SymInt(0), 7, *[SymInt(0)] * 200]
    for i in range(200):
        given = (4 + i, 4 + i) if name == "mul" else (4 + i, 3)
        calls.append(Call(name, (*given, 5 + i)))
    calls[1] = Call(name, (3, 3 if name == "mul" else 4, 5))
    blob = Blob(tuple(calls), tuple(values), (0,), (204,))
    if name in ("add", "sub"):  # these do not grow: they are a · x + b
        build("test.pte", "", blob, ((4,),))
        return
    with pytest.raises(UnsupportedError, match=r"a live integer of \d+ parts up to"):
        build("test.pte", "", blob, ((4,),))


def test_whole_numbers_squared_over_and_over() -> None:
    calls = tuple(Call("mul", (i, i, i + 1)) for i in range(40))
    values = (3, *[SymInt(0)] * 40)
    with pytest.raises(UnsupportedError, match="expected at most 16, and 64 bits"):
        build("test.pte", "", Blob(calls, values, (), (40,)), ())


def test_calls_that_share_a_long_list() -> None:
    one, items = tensor(X), ValueList((0,) * 100_000)
    calls = tuple(Call("aten.cat.default", (1, 2, 3)) for _ in range(5000))
    shared = Blob(calls, (one, items, 0, tensor(np.zeros((200_000, 3), np.float32))), (0,), (3,))
    with pytest.raises(FormatError, match=r"value 1 is one of over 1048576 list items|twice"):
        build("test.pte", "", shared, ((2, 3),))


# Of tables with one field.
VTABLE = struct.pack("<HHHxx", 6, 8, 4)


def root_of(*parts: bytes) -> Table:
    """The root table of a FlatBuffer whose one field leads to what follows it."""
    data = struct.pack("<I", 16) + b"TEST" + VTABLE + struct.pack("<iI", 8, 4) + b"".join(parts)
    return Buffer(data, "test.pte").root("TEST")


def test_a_long_text_that_many_refer_to() -> None:
    """50,000 entries of a list are one table, with a text of 800 kB: 40 GB of text."""
    count, long = 50_000, 800_000
    items = (struct.pack("<I", 4 * (count - i) + len(VTABLE)) for i in range(count))
    entry = VTABLE + struct.pack("<iII", 8, 4, long) + b"x" * long
    with pytest.raises(FormatError, match=r"more is referred to than the 1000\d+ bytes here can"):
        root_of(struct.pack("<I", count), *items, entry).tables(0, lambda t: t.text(0))


def test_a_list_longer_than_the_file() -> None:
    count = struct.pack("<I", 0xFFFFFFFF)
    with pytest.raises(FormatError, match=r"at byte 24: a vector of 4294967295 × 8 bytes, with 64"):
        root_of(count, bytes(64)).numbers(0, "<i8")


def test_a_list_of_many_numbers() -> None:
    many = root_of(struct.pack("<I", 1025), bytes(8 * 1025))
    reader = blob._Reader(None, many.buffer, Place(0, 0), open_source(b""))
    with pytest.raises(UnsupportedError, match=r"a list of 1025 numbers, expected at most 1024"):
        reader._numbers(many, "<i8")


def test_live_places_beyond_a_tensor() -> None:
    """What kernels cannot check is checked before a run."""
    first = TensorValue("int32", (1,), None, -1)
    whole = TensorValue("float32", (8, 2), None, -1)
    part = TensorValue("float32", (3, 2), None, -1)
    values = (first, 0, 0, SymInt(0), 3, SymInt(0), whole, 0, 1, part)
    calls = (
        Call("et_vk.select_as_symint.default", (0, 1, 2, 3)),
        Call("add", (3, 4, 5)),
        Call("aten.slice_copy.Tensor", (6, 7, 3, 5, 8, 9)),
    )
    made = build("test.pte", "", Blob(calls, values, (0, 6), (9,)), ((1,), (8, 2)))
    rows = np.arange(16, dtype=np.float32).reshape(8, 2)
    got = tt.evaluate(made.graph, in0=np.array([5], np.int32), in1=rows)["out0"]
    np.testing.assert_array_equal(got, rows[5:])
    with pytest.raises(
        ShapeError, match=r"as_strided: how far the places .* = 2, expected at most 0"
    ):
        tt.evaluate(made.graph, in0=np.array([6], np.int32), in1=rows)


def test_a_live_division_by_nothing() -> None:
    first = TensorValue("int32", (1,), None, -1)
    whole = TensorValue("float32", (8, 2), None, -1)
    values = (first, 0, 0, SymInt(0), 8, SymInt(0), whole, 0, 0, 1, whole)
    calls = (
        Call("et_vk.select_as_symint.default", (0, 1, 2, 3)),
        Call("floordiv", (4, 3, 5)),
        Call("aten.slice_copy.Tensor", (6, 7, 8, 5, 9, 10)),
    )
    made = build("test.pte", "", Blob(calls, values, (0, 6), (10,)), ((1,), (8, 2)))
    rows = np.ones((8, 2), np.float32)
    assert tt.evaluate(made.graph, in0=np.array([4], np.int32), in1=rows)["out0"].shape == (2, 2)
    with pytest.raises(ShapeError, match=r"divides 8 by 0"):
        tt.evaluate(made.graph, in0=np.array([0], np.int32), in1=rows)
