"""Every wgsl/*.wgsl compiles as it stands, in naga and in Tint, wherever its features are."""

import asyncio
import itertools
import pickle
from collections.abc import Iterator

import pytest

import harness
import tensortab as tt
from tensortab import kernel
from tensortab.errors import KernelError
from tensortab.kernel import Kernel
from tensortab.target import DEFAULT_LIMITS, Target
from tint import refused

COMPILE = """
import pickle
import tensortab as tt
from tensortab import kernel

async def main(_):
    device = await tt.Device.open("browser")
    kernels = [k for k in map(kernel.load, kernel.names()) if k.features <= device.features]
    await device.backend.compile(kernels)
    device.close()
    return pickle.dumps([k.name for k in kernels])
"""


# Need a GPU and a browser with subgroup matrices: `nox -s gpu` runs them.
ELSEWHERE = {"bench_matrix", "linear_qgsw_matrix", "sdpa_matrix"}


def in_naga(native: harness.Native) -> list[str]:
    kernels = [k for k in map(kernel.load, kernel.names()) if k.features <= native.info.features]
    assert native.device.backend
    asyncio.run(native.device.backend.compile(kernels))
    return [k.name for k in kernels]


def test_every_file_compiles_in_naga_and_tint(native: harness.Native, chrome: harness.Tab) -> None:
    naga, tint = in_naga(native), pickle.loads(chrome.call(COMPILE))
    assert {*naga, *tint} | ELSEWHERE == {*kernel.names()}, (
        "compiled nowhere: no adapter has their features"
    )
    featureless = {n for n in kernel.names() if not kernel.load(n).features}
    assert featureless <= {*naga} & {*tint}


@pytest.mark.parametrize("name", sorted({*kernel.names()} - ELSEWHERE))
def test_a_broken_file_is_refused(native: harness.Native, name: str) -> None:
    """What the test above relies on: the compiler does look."""
    loaded = kernel.load(name)
    broken = Kernel.from_source(name, loaded.source.replace("fn main(", "fn main(oops "))
    assert native.device.backend
    with pytest.raises(KernelError, match=rf"wgsl/{name}\.wgsl"):
        asyncio.run(native.device.backend.compile([broken]))


def with_matrices() -> Iterator[Kernel]:
    """Every kernel for matrix units as it stands, and those that lowerings make of them."""
    yield from map(kernel.load, sorted(ELSEWHERE))
    limits = {**DEFAULT_LIMITS, "maxComputeWorkgroupStorageSize": 49152}
    target = Target("browser", matrices=True, limits=limits)
    for g in graphs_with_matrices():
        yield from (k for k in tt.plan.plan(g, target).kernels if k.name in ELSEWHERE)


def graphs_with_matrices() -> Iterator[tt.Graph]:
    whether = (False, True)
    shapes = ((64, 512), (64, 288), (128, 4096), (512, 4096), (2048, 2048), (2048, 288))
    sizes = itertools.product(shapes, ("float16", "float32"), (None, "silu"), whether)
    for (rows, deep), scales, act, more in sizes:
        g = tt.Graph()
        x = g.input("x", (rows, deep))
        w = g.constant("w", tt.Spec((2048, deep // 2), "uint8"))
        s = g.constant("s", tt.Spec((deep // 32, 2048), scales))
        after = (rows, 1024 if act else 2048)
        bias = g.constant("bias", tt.Spec((2048,))) if more else None
        add = g.constant("add", tt.Spec(after)) if more else None
        g.output("y", tt.ops.linear_q4gsw(x, w, s, bias, group=32, act=act, add=add))
        yield g
    for d, dtype, window in itertools.product((16, 64, 128), ("float16", "float32"), (None, 100)):
        g = tt.Graph()
        k, v = (g.state(n, (1, 512, 2, d), dtype) for n in "kv")
        pos = g.symint("pos", max=384)
        q = g.input("q", (1, 128, 4, d))
        g.output("y", tt.ops.attend(q, k, v, pos, window=window))
        yield g


def test_kernels_for_matrix_units_compile_in_tint() -> None:
    kernels = {*with_matrices()}
    assert {k.name for k in kernels} == ELSEWHERE
    assert len(kernels) > 20
    assert refused(kernels) == {}


def test_tint_does_look() -> None:
    good = kernel.load("linear_qgsw_matrix")
    clash = good.source.replace("fn add_row(", "fn add(").replace("add_row(&", "add(&")
    uneven = good.source.replace("  if (n0 >= LENGTH) { return; }", "  if (lane > 3u) { return; }")
    for source, message in ((clash, "redeclaration of 'add'"), (uneven, "uniform")):
        assert source != good.source
        (told,) = refused([Kernel.from_source(good.name, source)]).values()
        assert message in told
