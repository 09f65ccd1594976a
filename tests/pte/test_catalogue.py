"""Every case of the archives against PyTorch's results, natively and in Chrome."""

import pickle

import numpy as np
import pytest

import catalogue
import harness

# The tab keeps one device for all programs; it hangs on the package, which outlives a call.
RUN = """
import pickle
import tensortab as tt

async def main(payload):
    if not hasattr(tt, "shared_device"):
        tt.shared_device = await tt.Device.open("browser")
    found = []
    for pte, inputs in pickle.loads(payload):
        try:
            program = await tt.load_pte(pte, device=tt.shared_device)
            found.append([await program.forward(*arrays) for arrays in inputs])
            program.close()
        except tt.errors.TensortabError as error:
            found.append(f"{type(error).__name__}: {error}")
    return pickle.dumps(found)
"""
_BATCH = 32  # programs a call


@pytest.fixture(scope="module")
def in_chrome(chrome: harness.Tab) -> dict[str, list | str]:
    """Every case's outputs, or what it raised."""
    found: dict[str, list | str] = {}
    every = [*catalogue.cases().values()]
    for first in range(0, len(every), _BATCH):
        batch = every[first : first + _BATCH]
        payload = pickle.dumps([(c.pte, c.inputs) for c in batch])
        answers = pickle.loads(chrome.call(RUN, payload, timeout=300))
        found |= zip((c.name for c in batch), answers, strict=True)
    return found


def check(case: catalogue.Case, outputs: list[tuple[np.ndarray, ...]]) -> None:
    for run, goldens in zip(outputs, case.goldens, strict=True):
        for number, want in goldens.items():
            assert run[number].dtype == want.dtype
            catalogue.assert_within(run[number], want, case.atol, case.rtol)


@pytest.mark.parametrize("name", catalogue.cases())
def test_native(loop: harness.Loop, native: harness.Native, name: str) -> None:
    case = catalogue.cases()[name]
    check(case, loop.run(catalogue.results(native.device, case.pte, case.inputs)))


@pytest.mark.parametrize("name", catalogue.cases())
def test_chrome(in_chrome: dict[str, list | str], name: str) -> None:
    outputs = in_chrome[name]
    assert not isinstance(outputs, str), outputs
    check(catalogue.cases()[name], outputs)
