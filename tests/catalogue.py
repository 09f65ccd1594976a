"""Cases of ExecuTorch's own operator tests: small programs, their inputs and PyTorch's results.

tests/data/pte/catalogue.tar.xz holds a manifest and what it names: the catalogue that the wheel of
executorch 1.5.1 carries (executorch.backends.webgpu.test.op_tests, BSD licence) with torch 2.13.0
and torchao 0.18.0, its small cases, and a few of attention, caches, 4 bits and whole models.
"""

import json
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import tensortab as tt

ARCHIVE = Path(__file__).parent / "data" / "pte" / "catalogue.tar.xz"
Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Case:
    """A program; its runs go in order through one instance."""

    name: str
    pte: bytes
    atol: float
    rtol: float
    operators: tuple[str, ...]  # of its delegates
    portable: tuple[str, ...]  # outside of them
    inputs: list[Arrays]  # of each run
    goldens: list[dict[int, np.ndarray]]  # of each run: output number -> what it should be


@cache
def cases() -> dict[str, Case]:
    with tarfile.open(ARCHIVE) as archive:
        files = {m.name: archive.extractfile(m).read() for m in archive.getmembers()}  # type: ignore[union-attr]

    def array(name: str, dtype: str, shape: list[int]) -> np.ndarray:
        return np.frombuffer(files[name], dtype).reshape(shape)

    found = {}
    for c in json.loads(files["manifest.json"])["cases"]:
        inputs = [[array(*i) for i in run["inputs"]] for run in c["runs"]]
        goldens = [{n: array(*g) for *g, n in run["goldens"]} for run in c["runs"]]
        found[c["name"]] = Case(
            c["name"], files[c["pte"]], c["atol"], c["rtol"],
            tuple(c["operators"]), tuple(c["portable"]), inputs, goldens,
        )  # fmt: skip
    return found


async def results(device: tt.Device, pte: bytes, inputs: list[Arrays]) -> list[tuple]:
    """The outputs of each run."""
    program = await tt.load_pte(pte, device=device)
    try:
        return [await program.forward(*arrays) for arrays in inputs]
    finally:
        program.close()


def assert_within(got: np.ndarray, want: np.ndarray, atol: float, rtol: float) -> None:
    """ExecuTorch's own rule: |got − want| ≤ atol, or that over max(|want|, 1e-6) ≤ rtol."""
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    with np.errstate(invalid="ignore"):
        error = np.abs(got.astype(np.float64) - want)
        fits = (error <= atol) | (error / np.maximum(np.abs(want), 1e-6) <= rtol) | (got == want)
    if not fits.all():
        at = np.unravel_index(
            np.argmax(np.where(fits, -1, np.nan_to_num(error, nan=np.inf))), got.shape
        )
        raise AssertionError(
            f"{(~fits).sum()} of {got.size} elements differ, most at {list(map(int, at))}:"
            f" got {got[at]}, want {want[at]} (atol {atol}, rtol {rtol})"
        )
