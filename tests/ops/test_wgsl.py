"""Every wgsl/*.wgsl compiles as it stands, in naga and in Tint, wherever its features are."""

import asyncio
import pickle

import pytest

import harness
from tensortab import kernel
from tensortab.errors import KernelError
from tensortab.kernel import Kernel

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


# Need a GPU and a browser with subgroup matrices: `nox -s gpu` compiles and runs them.
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
