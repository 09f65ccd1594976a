"""Products by a GPU's matrix units, where the browser has them; float16 products, float32 sums."""

import pickle
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from test_linear_qgsw import build, operands, surrounded

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import UnsupportedError
from tensortab.op import Dispatch
from tensortab.ops import linear_matrix

NEAR = 1e-3  # of y's largest magnitude


def assert_near(device: harness.Device, a: dict[str, np.ndarray], group: int = 32) -> None:
    most = float(np.abs(reference(build(4, group), a)).max())
    assert_agrees(device, build(4, group, "matrix"), a, atol=NEAR * most, rtol=0)


# In the tab, where graphs are lowered.
FORCE = """
import pickle
from tensortab.ops import linear_matrix

async def main(payload):
    forced = pickle.loads(payload)
    if not hasattr(linear_matrix, "chosen"):
        linear_matrix.chosen = linear_matrix._blocks
    if forced:
        blocks, slices = forced
        linear_matrix._blocks = lambda m, n, k, memory: (blocks, 1 if k % 256 else slices)
    else:
        linear_matrix._blocks = linear_matrix.chosen
    return b""
"""


@pytest.fixture(params=["256x128", "128x128", "64x64", "slices"])
def blocks(request: pytest.FixtureRequest, matrices: harness.Tab) -> Iterator[None]:
    """Tiles of y and slices of K that sizes here would not have on their own."""
    large, small = linear_matrix._LARGE, linear_matrix._SMALL
    named = {"256x128": large[0], "128x128": large[1]}.get(request.param, small)
    matrices.call(FORCE, pickle.dumps((named, 2 if request.param == "slices" else 1)))
    yield
    matrices.call(FORCE, pickle.dumps(None))


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("half", "bias"), [(False, True), (True, False)])
@pytest.mark.parametrize(
    ("m", "n", "k", "group"),
    [
        (128, 128, 64, 32),
        (1, 4, 32, 32),
        (65, 132, 96, 32),
        (200, 260, 256, 128),
        (130, 68, 192, 64),
        (273, 132, 512, 128),
    ],
)
def test_device_is_reference(
    matrices: harness.Tab,
    m: int,
    n: int,
    k: int,
    group: int,
    half: bool,
    bias: bool,
) -> None:
    assert_near(matrices, operands(m, n, k, group=group, half=half, bias=bias), group)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("act", [None, "silu", "gelu_tanh"])
@pytest.mark.parametrize(("m", "n", "k"), [(70, 264, 64), (257, 128, 256), (64, 8, 224)])
def test_what_surrounds_it(
    matrices: harness.Tab,
    m: int,
    n: int,
    k: int,
    act: str | None,
) -> None:
    made, a = surrounded(m, n, k, act=act, strategy="matrix")
    most = float(np.abs(reference(made, a)).max())
    assert_agrees(matrices, made, a, atol=2 * NEAR * most, rtol=0)


def test_rows_of_any_magnitude(matrices: harness.Tab) -> None:
    """Beyond float16's range above and below, zeros, and next to each other."""
    a = operands(66, 64, 64, bias=False)
    powers = 10.0 ** np.linspace(-36, 30, 66)
    a["x"] = (a["x"] * powers[:, None]).astype(np.float32)
    a["x"][3] = 0
    graph = graph_of(build(4, 32, "matrix"), a)
    got, want = matrices.run(graph, **a)["y"], tt.evaluate(graph, **a)["y"]
    most = np.maximum(np.abs(want).max(1, keepdims=True), 1e-38)
    assert_close(got / most, want / most, atol=NEAR, rtol=0)


def rounded(part: int, normed: bool) -> Callable[..., tt.Tensor]:
    """The float16 of rows, or else their factors."""

    def specs(x: tt.Tensor) -> list[tt.Spec]:
        m, k = x.shape
        return [tt.Spec((-(-m // 16), k // 16, 16, 16), "float16"), tt.Spec(x.shape[:1])]

    def lower(
        target: tt.target.Target, y: tt.Tensor, x: tt.Tensor, norm: tt.Tensor
    ) -> list[Dispatch]:
        made = [tt.Tensor(s) for s in specs(x)]
        made[part] = y
        how = {"eps": 1e-3, "offset": 0.5}
        return [linear_matrix.halve(target, *made, x, norm if normed else None, **how)]

    return tt.Op("rounded", lambda x, **_: specs(x)[part], lambda x, **_: x, lower)


@pytest.mark.parametrize("k", [608, 8208])
@pytest.mark.parametrize("normed", [False, True])
def test_rows_as_float16(native: harness.Native, normed: bool, k: int) -> None:
    """Near 1024 each, whatever its magnitude, by a power of 2; zeros stay."""
    r = np.random.default_rng(0)
    x = r.standard_normal((25, k)) * 10.0 ** np.linspace(-15, 15, 25)[:, None]
    x[3] = 0
    a = {"x": x.astype(np.float32), "norm": r.standard_normal(k, np.float32)}
    halves, factor = (native.run(graph_of(rounded(i, normed), a), **a)["y"] for i in range(2))
    want = a["x"]
    if normed:
        want = tt.ops.rms_norm.reference(want, a["norm"], eps=1e-3, offset=0.5)
    most = np.abs(want).max(1, keepdims=True)
    # Of rows, tiles, rows of a tile, eights, k and k + 4.
    v = halves.reshape(2, -1, 16, 2, 4, 2).transpose(0, 2, 1, 3, 5, 4).reshape(32, k)[:25]
    v = v.astype(np.float64)
    assert (np.frexp(factor)[0] == 0.5).all()
    assert ((np.abs(v).max(1) >= 512) & (np.abs(v).max(1) <= 1024))[most[:, 0] > 0].all()
    most[3] = 1
    assert_close(v * factor[:, None] / most, want / most, atol=2.0**-24, rtol=2.0**-11)


def test_it_is_chosen_where_it_is_there() -> None:
    a = operands(64, 8, 32)
    for there, name in ((True, "linear_qgsw_matrix"), (False, "linear_qgsw_dots")):
        plan = tt.plan.plan(graph_of(build(), a), tt.target.Target("browser", matrices=there))
        assert plan.steps[-1].kernel.name == name


def test_many_rows_are_two_dispatches() -> None:
    made, a = surrounded(64, 8, 32, act="silu")
    steps = tt.plan.plan(graph_of(made, a), tt.target.Target("browser", matrices=True)).steps
    assert [s.kernel.name for s in steps] == ["halve_rows", "linear_qgsw_matrix"]


@pytest.mark.parametrize(
    ("m", "n", "k", "down", "across", "slices"),
    [
        (512, 8192, 2048, 4, 4, 1),
        (2048, 2048, 2048, 4, 4, 1),
        (512, 2048, 8192, 4, 4, 4),
        (128, 16384, 2048, 2, 4, 1),
        (128, 2048, 8192, 2, 4, 8),
        (64, 16384, 2048, 2, 2, 1),
        (512, 2048, 2048, 2, 2, 1),
        (128, 2048, 2048, 2, 2, 4),
        (64, 64, 8192, 2, 2, 8),
        (64, 64, 576, 2, 2, 1),
        (64, 64, 96, 2, 2, 1),
    ],
)
def test_blocks_fill_a_gpu(m: int, n: int, k: int, down: int, across: int, slices: int) -> None:
    """Large tiles where they are many, slices of K where they are few."""
    blocks = {"DOWN": down, "ACROSS": across}
    assert linear_matrix._blocks(m, n, k, 49152) == (blocks, slices)


def test_little_memory_has_small_tiles() -> None:
    assert linear_matrix._blocks(512, 8192, 2048, 32768) == ({"DOWN": 2, "ACROSS": 2}, 1)


def test_slices_of_k_are_added_up() -> None:
    made, a = surrounded(64, 8, 512, act="silu")
    steps = tt.plan.plan(graph_of(made, a), tt.target.Target("browser", matrices=True)).steps
    assert [s.kernel.name for s in steps] == ["halve_rows", "linear_qgsw_matrix", "sum_slices"]


def test_what_it_does_not_take() -> None:
    with pytest.raises(UnsupportedError, match="'matrix' takes 4 bits"):
        graph_of(build(8, 32, "matrix"), operands(64, 8, 32, bits=8))
    for n, act in ((6, None), (12, "silu")):
        made, a = surrounded(64, n, 32, act=act, strategy="matrix")
        with pytest.raises(UnsupportedError, match="'matrix' takes y of whole vec4s a row"):
            graph_of(made, a)
        made, a = surrounded(64, n, 32, act=act)
        plan = tt.plan.plan(graph_of(made, a), tt.target.Target("browser", matrices=True))
        assert plan.steps[-1].kernel.name == "linear_qgsw_dots"
    with pytest.raises(UnsupportedError, match=r"expected one of .*, matrix"):
        graph_of(build(4, 32, "matrices"), operands(64, 8, 32))
