"""Small ExecuTorch programs, their inputs and PyTorch's results.

tests/data/pte holds archives of a manifest and what it names, made with executorch 1.5.1, torch
2.13.0 and torchao 0.18.0:

catalogue.tar.xz  the small cases of the operator tests that executorch's wheel carries
                  (executorch.backends.webgpu.test.op_tests, BSD licence), and a few of attention,
                  caches, 4 bits and whole models
programs.tar.xz   what tools/export_programs.py makes
"""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import tensortab as tt

FOLDER = Path(__file__).parent / "data" / "pte"
Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Case:
    """A program; its runs go in order through one instance."""

    name: str
    pte: bytes
    atol: float
    rtol: float
    inputs: list[Arrays]  # of each run
    goldens: list[dict[int, np.ndarray]]  # of each run: output number -> what it should be


@cache
def cases() -> dict[str, Case]:
    return {c.name: c for file in sorted(FOLDER.glob("*.tar.xz")) for c in read(file)}


def read(file: Path) -> Iterator[Case]:
    with tarfile.open(file) as archive:
        files = {m.name: archive.extractfile(m).read() for m in archive.getmembers()}

    def array(name: str, dtype: str, shape: list[int]) -> np.ndarray:
        return np.frombuffer(files[name], dtype).reshape(shape)

    for c in json.loads(files["manifest.json"])["cases"]:
        inputs = [[array(*i) for i in run["inputs"]] for run in c["runs"]]
        goldens = [{n: array(*g) for *g, n in run["goldens"]} for run in c["runs"]]
        yield Case(c["name"], files[c["pte"]], c["atol"], c["rtol"], inputs, goldens)


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
