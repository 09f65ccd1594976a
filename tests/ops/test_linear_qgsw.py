from typing import Any

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError, UnsupportedError
from tensortab.quant import q4gsw, q8gsw

OPS = {4: tt.ops.linear_q4gsw, 8: tt.ops.linear_q8gsw}
STRATEGIES = ["tile", "vector", "gemv", "gemv_subgroups", "gemm"]


def operands(
    m: int, n: int, k: int, *, bits: int = 4, group: int = 32, half: bool = False, bias: bool = True
) -> dict[str, np.ndarray]:
    r = np.random.default_rng([m, n, k])
    weight = r.standard_normal((n, k), np.float32)
    kind = "float16" if half else "float32"
    packed, scales = (q4gsw if bits == 4 else q8gsw).quantize(weight, group, scales=kind)
    made = {"x": r.standard_normal((m, k), np.float32), "packed": packed, "scales": scales}
    return made | ({"bias": r.standard_normal(n, np.float32)} if bias else {})


def build(bits: int = 4, group: int = 32, strategy: str | None = None) -> Any:
    def linear(**t: tt.Tensor) -> tt.Tensor:
        return OPS[bits](**t, group=group, strategy=strategy)

    return linear


def needs(device: harness.Device, strategy: str) -> None:
    if strategy in {"vector", "gemv_subgroups"} and "subgroups" not in device.info.features:
        pytest.skip(f"{device.info} has no subgroups")


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("half", "bias"), [(False, True), (True, False)])
def test_torch_is_reference(bits: int, half: bool, bias: bool) -> None:
    a = operands(3, 7, 64, bits=bits, half=half, bias=bias)
    weight = (q4gsw if bits == 4 else q8gsw).dequantize(a["packed"], a["scales"])
    x, w = torch.from_numpy(a["x"]), torch.from_numpy(weight)
    b = torch.from_numpy(a["bias"]) if bias else None
    want = torch.nn.functional.linear(x, w, b).numpy()
    assert_close(reference(build(bits), a), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s != "vector"])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(
    ("m", "n", "k", "group", "half", "bias"),
    [
        (1, 1, 32, 32, False, False),  # the least there is: one group, one column
        (1, 67, 64, 32, True, True),  # odd N with paired scales
        (3, 66, 256, 64, False, True),
        (7, 5, 384, 128, True, False),
        (9, 64, 96, 32, False, True),  # K is no multiple of what LANES invocations take at a time
        (16, 9, 2560, 32, True, True),  # more than LANES · 16 bytes a column
    ],
)
def test_reference_is_device(
    device: harness.Device,
    strategy: str,
    bits: int,
    m: int,
    n: int,
    k: int,
    group: int,
    half: bool,
    bias: bool,
) -> None:
    needs(device, strategy)
    a = operands(m, n, k, bits=bits, group=group, half=half, bias=bias)
    assert_agrees(device, build(bits, group, strategy), a, atol=2e-4, rtol=1e-5)


def surrounded(m: int, n: int, k: int, **options: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """With a norm before, an activation and an addition after, and its operands."""
    bits, act, strategy = (options.pop(o, None) for o in ("bits", "act", "strategy"))
    a = operands(m, n, k, bits=bits or 4, half=True, **options)
    r = np.random.default_rng(7)
    a["norm"] = r.standard_normal(k, np.float32)
    a["add"] = r.standard_normal((m, n // 2 if act else n), np.float32)

    def linear(**t: tt.Tensor) -> tt.Tensor:
        return OPS[bits or 4](**t, group=32, eps=1e-3, offset=0.5, act=act, strategy=strategy)

    return linear, a


@pytest.mark.parametrize("act", [None, "silu", "gelu_tanh"])
def test_torch_is_reference_with_what_surrounds_it(act: str | None) -> None:
    made, a = surrounded(3, 14, 64, act=act)
    x, norm, bias, add = (torch.from_numpy(a[n]) for n in ("x", "norm", "bias", "add"))
    weight = torch.from_numpy(q4gsw.dequantize(a["packed"], a["scales"]))
    normed = torch.nn.functional.rms_norm(x, (64,), norm + 0.5, 1e-3)
    y = torch.nn.functional.linear(normed, weight, bias)
    if act:
        gate, up = y.chunk(2, -1)
        acted = torch.nn.functional.silu(gate)
        if act == "gelu_tanh":
            acted = torch.nn.functional.gelu(gate, approximate="tanh")
        y = acted * up
    assert_close(reference(made, a), (y + add).numpy(), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("act", [None, "silu", "gelu_tanh"])
@pytest.mark.parametrize(
    ("m", "n", "k", "bits"), [(1, 2, 32, 4), (1, 68, 2592, 4), (3, 70, 96, 8), (70, 262, 64, 4)]
)
def test_what_surrounds_it(
    device: harness.Device, strategy: str, act: str | None, m: int, n: int, k: int, bits: int
) -> None:
    needs(device, strategy)
    m = min(m, {"vector": 1, "gemv": 16, "gemv_subgroups": 16}.get(strategy, m))
    made, a = surrounded(m, n, k, bits=bits, act=act, strategy=strategy)
    # With act a product of two sums of k terms, which gemm adds up one after the other; `vector`
    # rounds x.
    rough = 1e-4 * np.abs(reference(made, a)).max() if strategy == "vector" else 0
    assert_agrees(device, made, a, atol=5e-4 + rough, rtol=5e-5)


@pytest.mark.parametrize("strategy", ["tile", "gemm"])
@pytest.mark.parametrize(("m", "n"), [(17, 64), (64, 65), (65, 63), (130, 129)])
def test_edges_of_large_tiles(device: harness.Device, strategy: str, m: int, n: int) -> None:
    assert_agrees(device, build(strategy=strategy), operands(m, n, 64), atol=1e-4)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("m", [113, 257])
def test_many_tiles(device: harness.Device, m: int, bits: int) -> None:
    assert_agrees(device, build(bits, 32, "gemm"), operands(m, 131, 96, bits=bits), atol=1e-4)


@pytest.mark.parametrize("bits", [4, 8])
def test_every_code(device: harness.Device, bits: int) -> None:
    """All nibbles and all bytes, the most negative included, which rounding never writes."""
    packed = np.arange(256, dtype=np.uint8).reshape(2, 128)
    scales = np.array([[1, 0.5], [2, -1]], np.float32).repeat(4 if bits == 4 else 2, axis=0)
    group = packed.shape[1] * 8 // bits // len(scales)
    x = np.random.default_rng(0).standard_normal((2, group * len(scales)), np.float32)
    a = {"x": x, "packed": packed if bits == 4 else packed.view(np.int8), "scales": scales}
    for strategy in ("tile", "gemv", "gemm"):
        assert_agrees(device, build(bits, group, strategy), a, atol=2e-3, rtol=1e-5)


@pytest.mark.parametrize("strategy", ["tile", "gemm"])
@pytest.mark.parametrize("rows", [1, 8, 40, 41])
def test_any_number_of_rows_up_to_the_maximum(
    device: harness.Device, strategy: str, rows: int
) -> None:
    a = operands(rows, 33, 256)  # gemm cuts K
    shapes = {"x": (tt.Sym("rows", 41, min=1), 256)}
    assert_agrees(device, build(strategy=strategy), a, shapes=shapes, atol=1e-4)


def test_leading_dimensions_are_rows(device: harness.Device) -> None:
    a = operands(6, 10, 32)
    a["x"] = a["x"].reshape(2, 1, 3, 32)
    assert_agrees(device, build(), a, atol=1e-4)


def test_more_workgroups_than_one_dimension_holds(native: harness.Native) -> None:
    """gemv has one for every 4 columns."""
    n = 4 * 65535 + 70
    r = np.random.default_rng(0)
    a = {
        "x": r.standard_normal((1, 32), np.float32),
        "packed": r.integers(0, 256, (n, 16), np.uint8),
        "scales": r.random((1, n), np.float32),
    }
    assert_agrees(native, build(strategy="gemv"), a, atol=1e-4)


@pytest.mark.parametrize(
    ("software", "subgroups", "m", "kernel"),
    [
        (True, True, 1, "linear_qgsw_tile"),
        (True, True, 64, "linear_qgsw_tile"),
        (False, True, 1, "linear_qgsw_vector"),
        (False, True, 8, "linear_qgsw_gemv"),
        (False, False, 1, "linear_qgsw_gemv"),
        (False, True, 9, "integer_rows"),
    ],
)
def test_choice_follows_shapes_and_device(
    software: bool, subgroups: bool, m: int, kernel: str
) -> None:
    features = frozenset({"subgroups"}) if subgroups else frozenset()
    target = tt.target.Target("native", software=software, features=features, subgroup=8)
    step = tt.plan.plan(graph_of(build(), operands(m, 8, 32)), target).steps[0]
    assert step.kernel.name == kernel
    assert step.kernel.features <= features


@pytest.mark.parametrize(("n", "k", "slices"), [(8, 96, 1), (8, 512, 4), (32768, 512, 1)])
def test_few_tiles_cut_k(n: int, k: int, slices: int) -> None:
    g = tt.Graph()
    x, scales = g.input("x", (9, k)), g.constant("scales", tt.Spec((k // 32, n)))
    packed = g.constant("packed", tt.Spec((n, k // 2), "uint8"))
    g.output("y", tt.ops.linear_q4gsw(x, packed, scales, group=32, strategy="gemm"))
    kernels = [s.kernel for s in tt.plan.plan(g, tt.target.Target("native")).steps]
    assert kernels[0]["SLICE"] * slices == k
    assert [kernel["SLICES"] for kernel in kernels[1:]] == [slices][: slices > 1]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_fits_the_smallest_adapters(strategy: str) -> None:
    rows = {"vector": 1, "gemv": 16, "gemv_subgroups": 16}.get(strategy, 128)
    graph = graph_of(build(strategy=strategy), operands(rows, 8, 32))
    kernel = tt.plan.plan(graph, tt.target.Target("native", subgroup=4)).steps[0].kernel
    assert np.prod(kernel.workgroup) <= 256
    # A vec4 is 16 bytes; gemv keeps LANES × ROWS of them, gemm 4 for each row and
    # column of a tile.
    vec4s = {
        "linear_qgsw_gemv": lambda k: k["LANES"] * k["ROWS"],
        "linear_qgsw_gemm": lambda k: 4 * (16 * k["ROWS"] + 128),
        "linear_qgsw_vector": lambda k: k["LANES"] // k["SUBGROUP"] * 3 * k["TILES"],
        "linear_qgsw_tile": lambda _: 0,
    }[kernel.name](kernel)
    assert vec4s * 16 <= 16384


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((2, 64), np.int32)}, r"x is int32\[2, 64\], expected float32"),
        ({"packed": np.zeros((8, 32), np.int8)}, r"int8\[8, 32\], expected uint8\[N, K·4/8\]"),
        ({"packed": np.zeros((8, 64), np.uint8)}, r"K = 128 weights a row; x is float32\[2, 64\]"),
        (
            {"scales": np.zeros((3, 8), np.float32)},
            r"\[3, 8\], expected float32\[2, 8\] \(K / group = 64 / 32, N = 8 rows of packed\)",
        ),
        ({"scales": np.zeros((2, 8), np.int32)}, r"scales is int32\[2, 8\]"),
        ({"bias": np.zeros(9, np.float32)}, r"bias is float32\[9\], expected float32\[8\]"),
    ],
)  # fmt: skip
def test_operands_that_do_not_fit(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ShapeError, match="linear_q4gsw: " + ".*" + message):
        graph_of(build(), operands(2, 8, 64) | change)


def test_groups_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="group is 16, expected 32, 64 or 128 and a divisor"):
        graph_of(build(group=16), operands(2, 8, 64))
    with pytest.raises(ShapeError, match="group is 128, expected 32, 64 or 128 and a divisor"):
        graph_of(build(group=128), operands(2, 8, 64))
    with pytest.raises(ShapeError, match=r"group is 48, .*or K itself if that is a multiple of 32"):
        graph_of(
            build(group=48),
            {**operands(2, 8, 96), "x": np.zeros((2, 48), np.float32)}
            | {"packed": np.zeros((8, 24), np.uint8)},
        )
    with pytest.raises(UnsupportedError, match="linear_q8gsw: high_first is for 4 bits"):
        graph_of(
            lambda **t: tt.ops.linear_q8gsw(**t, group=32, high_first=True),
            operands(2, 8, 64, bits=8),
        )


@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s != "vector"])
@pytest.mark.parametrize(("m", "n", "k"), [(1, 5, 32), (4, 16, 160), (9, 67, 96), (5, 9, 352)])
def test_a_scale_a_row_and_the_high_nibble_first(
    device: harness.Device, strategy: str, m: int, n: int, k: int
) -> None:
    needs(device, strategy)
    r = np.random.default_rng(k)
    codes = r.integers(-8, 8, (n, k)).astype(np.int8)
    scales = r.random(n, np.float32)
    x = r.standard_normal((m, k), np.float32)
    nibbles = (codes + 8).astype(np.uint8)
    a = {"x": x, "packed": nibbles[:, ::2] << 4 | nibbles[:, 1::2], "scales": scales[None]}

    def linear(**t: tt.Tensor) -> tt.Tensor:
        return tt.ops.linear_q4gsw(**t, group=k, high_first=True, strategy=strategy)

    weight = torch.from_numpy(codes * scales[:, None])
    want = torch.nn.functional.linear(torch.from_numpy(x), weight).numpy()
    assert_close(reference(linear, a), want, atol=1e-4, rtol=1e-5)
    assert_agrees(device, linear, a, atol=2e-4, rtol=1e-5)


def test_strategies_there_are_not() -> None:
    with pytest.raises(
        UnsupportedError,
        match="strategy is 'magic', expected one of tile, vector, gemv_subgroups, gemv, gemm",
    ):
        graph_of(build(strategy="magic"), operands(2, 8, 64))
    with pytest.raises(
        UnsupportedError, match=r"strategy 'gemv' takes up to 16 rows, x is float32\[17, 64\]"
    ):
        graph_of(build(strategy="gemv"), operands(17, 8, 64))
    with pytest.raises(
        UnsupportedError, match=r"strategy 'vector' takes up to 1 rows, x is float32\[2, 64\]"
    ):
        graph_of(build(strategy="vector"), operands(2, 8, 64))


@pytest.mark.parametrize(
    ("n", "change", "message"),
    [
        (8, {"norm": np.zeros(63, np.float32)}, r"norm is float32\[63\], expected float32\[64\]"),
        (8, {"add": np.zeros((2, 8), np.float32)}, r"add is float32\[2, 8\], expected .*\[2, 4\]"),
        (9, {}, r"act halves y, which is float32\[2, 9\]; expected an even N"),
    ],
)  # fmt: skip
def test_surroundings_that_do_not_fit(n: int, change: dict[str, np.ndarray], message: str) -> None:
    made, a = surrounded(2, n, 64, act="silu")
    with pytest.raises(ShapeError, match="linear_q4gsw: " + message):
        graph_of(made, a | change)
