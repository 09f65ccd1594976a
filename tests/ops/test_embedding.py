from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import Arrays, assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError, UnsupportedError
from tensortab.quant import q4gsw, q8gsw

TABLE = np.random.default_rng(0).standard_normal((11, 67), np.float32)


def test_torch_is_reference() -> None:
    ids = np.array([[0, 10, 3], [3, 3, 9]], np.int32)
    want = torch.nn.functional.embedding(torch.from_numpy(ids), torch.from_numpy(TABLE)).numpy()
    assert_close(reference(tt.ops.embedding, {"ids": ids, "table": TABLE}), want, atol=0, rtol=0)


@pytest.mark.parametrize(
    "ids", [[0], [10], [[0, 10, 5], [1, 1, 9]], 7, [-1, 11, 2**31 - 1, -(2**31)]]
)
def test_reference_is_device(device: harness.Device, ids: list[int]) -> None:
    """The ends of the table, a scalar, and ids outside of the table, which are clamped."""
    arrays = {"ids": np.array(ids, np.int32), "table": TABLE}
    assert_agrees(device, tt.ops.embedding, arrays, atol=0, rtol=0)


@pytest.mark.parametrize("count", [1, 8, 20])
def test_symbolic_count(device: harness.Device, count: int) -> None:
    arrays = {"ids": np.arange(count, dtype=np.int32) % 11, "table": TABLE}
    shapes = {"ids": (tt.Sym("count", 20),)}
    assert_agrees(device, tt.ops.embedding, arrays, shapes=shapes, atol=0, rtol=0)


def test_operands_that_do_not_fit() -> None:
    ids = np.zeros(3, np.int32)
    with pytest.raises(ShapeError, match=r"embedding: ids is int64\[3\], expected int32"):
        graph_of(tt.ops.embedding, {"ids": ids.astype(np.int64), "table": TABLE})
    with pytest.raises(ShapeError, match=r"table is float32\[67\], expected float32\[V, D\]"):
        graph_of(tt.ops.embedding, {"ids": ids, "table": TABLE[0]})
    with pytest.raises(ShapeError, match=r"table is float16\[11, 67\], expected float32\[V, D\]"):
        graph_of(tt.ops.embedding, {"ids": ids, "table": TABLE.astype(np.float16)})


OPS = {4: tt.ops.embedding_q4gsw, 8: tt.ops.embedding_q8gsw}
IDS = np.array([[0, 10, 5], [1, 1, 9]], np.int32)


def quantized(bits: int, group: int, scales: str, rows: int = 11, d: int = 256) -> Arrays:
    table = np.random.default_rng(d).standard_normal((rows, d), np.float32)
    packed, each = (q4gsw if bits == 4 else q8gsw).quantize(table, group, scales=scales)
    return {"packed": packed, "scales": each}


def packed_op(bits: int, **options: object) -> Callable[..., tt.Tensor]:
    return lambda **leaves: OPS[bits](**leaves, **options)


def executorch(q: Arrays) -> Arrays:
    """The same table in ExecuTorch's layout: nibbles swapped, scales by row."""
    return {
        "packed": q["packed"] << 4 | q["packed"] >> 4,
        "scales": np.ascontiguousarray(q["scales"].T),
    }


@pytest.mark.parametrize("scales", ["float32", "float16"])
@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("bits", [4, 8])
def test_packed_rows_are_the_quantizer_s(bits: int, group: int, scales: str) -> None:
    q = quantized(bits, group, scales)
    want = (q4gsw if bits == 4 else q8gsw).dequantize(**q)[IDS]
    got = reference(packed_op(bits, group=group), {"ids": IDS, **q})
    assert_close(got, want, atol=0, rtol=0)


def test_other_layouts_are_the_same_rows() -> None:
    q = quantized(4, 64, "float32")
    want = reference(packed_op(4, group=64), {"ids": IDS, **q})
    swapped = packed_op(4, group=64, scales_by_row=True, high_first=True)
    assert_close(reference(swapped, {"ids": IDS, **executorch(q)}), want, atol=0, rtol=0)
    linear = packed_op(4, group=64, scales_by_row=True)
    half = {"packed": q["packed"], "scales": np.ascontiguousarray(q["scales"].T)}
    assert_close(reference(linear, {"ids": IDS, **half}), want, atol=0, rtol=0)


@pytest.mark.parametrize("scales", ["float32", "float16"])
@pytest.mark.parametrize(("group", "d"), [(32, 32), (32, 96), (64, 192), (128, 256)])
@pytest.mark.parametrize("bits", [4, 8])
def test_packed_reference_is_device(
    device: harness.Device, bits: int, group: int, d: int, scales: str
) -> None:
    q = quantized(bits, group, scales, d=d)
    ids = np.array([[0, 10, 5], [-3, 11, 2**31 - 1]], np.int32)
    assert_agrees(device, packed_op(bits, group=group), {"ids": ids, **q}, atol=0, rtol=0)


@pytest.mark.parametrize("scales", ["float32", "float16"])
@pytest.mark.parametrize("high_first", [False, True])
def test_other_layouts_on_a_device(device: harness.Device, scales: str, high_first: bool) -> None:
    rng = np.random.default_rng(6)
    arrays = {
        "ids": IDS,
        "packed": np.array(rng.integers(0, 256, (11, 30)), np.uint8),  # 5 groups of 12
        "scales": rng.standard_normal((11, 5)).astype(scales),
    }
    build = packed_op(4, group=12, scales_by_row=True, high_first=high_first)
    assert_agrees(device, build, arrays, atol=0, rtol=1e-7)


@pytest.mark.parametrize("count", [1, 8])
def test_packed_symbolic_count(device: harness.Device, count: int) -> None:
    arrays = {"ids": np.arange(count, dtype=np.int32), **quantized(4, 32, "float16", d=96)}
    shapes = {"ids": (tt.Sym("count", 20),)}
    assert_agrees(device, packed_op(4, group=32), arrays, shapes=shapes, atol=0, rtol=0)


def test_packed_operands_that_do_not_fit() -> None:
    sound = {"ids": IDS, **quantized(4, 32, "float32")}
    for name, array, message in (
        ("ids", IDS.astype(np.int64), r"embedding_q4gsw: ids is int64\[2, 3\], expected int32"),
        ("packed", sound["packed"].view(np.int8), r"packed is int8\[11, 128\], expected uint8\[V"),
        ("packed", sound["packed"][0], r"packed is uint8\[128\], expected uint8\[V, D·4/8\]"),
        (
            "scales",
            sound["scales"].T,
            r"is float32\[11, 8\], expected float32\[8, 11\] \(D / group",
        ),
        ("scales", sound["scales"].astype(float), r"scales is float64\[8, 11\], expected float32"),
    ):
        with pytest.raises(ShapeError, match=message):
            graph_of(packed_op(4, group=32), {**sound, name: array})
    with pytest.raises(ShapeError, match=r"scales is float32\[8, 11\], expected float32\[11, 8\]"):
        graph_of(packed_op(4, group=32, scales_by_row=True), sound)
    for group in (0, -4, 30, 48):
        with pytest.raises(ShapeError, match=f"group is {group}, expected a multiple of 4 and a"):
            graph_of(packed_op(4, group=group), sound)
    with pytest.raises(UnsupportedError, match="embedding_q8gsw: high_first is about nibbles"):
        graph_of(
            packed_op(8, group=32, high_first=True), {"ids": IDS, **quantized(8, 32, "float32")}
        )


HALVES = [slice(0, 7), slice(7, 14)]


@pytest.mark.parametrize("bits", [0, 4, 8])
def test_parts_of_a_table_add_up(device: harness.Device, bits: int) -> None:
    ids = np.array([0, 6, 7, 10, 3, 99, -1], np.int32)
    if bits:
        q = quantized(bits, 32, "float16", rows=14, d=64)
        op = tt.ops.embedding_q4gsw if bits == 4 else tt.ops.embedding_q8gsw
        whole = {"packed": q["packed"], "scales": q["scales"]}
        parts = [{"packed": q["packed"][r], "scales": q["scales"][:, r]} for r in HALVES]
        options: dict[str, Any] = {"group": 32}
    else:
        op = tt.ops.embedding
        whole = {"table": np.random.default_rng(0).standard_normal((14, 6), np.float32)}
        parts = [{"table": whole["table"][r]} for r in HALVES]
        options = {}
    want = reference(lambda ids, **t: op(ids, **t, **options), {"ids": ids[:5], **whole})
    for part, rows in zip(parts, HALVES, strict=True):
        arrays = {"ids": ids, **{n: np.ascontiguousarray(a) for n, a in part.items()}}
        first = rows.start

        def build(ids: Any, first: int = first, **t: Any) -> Any:
            return op(ids, **t, **options, first=first)

        got = reference(build, arrays)
        inside = (ids[:5] >= rows.start) & (ids[:5] < rows.stop)
        assert_close(got[:5], want * inside[:, None], atol=0, rtol=0)
        assert not got[5:].any(), "an id of no part"
        assert_agrees(device, build, arrays, atol=0, rtol=0)
