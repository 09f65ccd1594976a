"""Small ExecuTorch programs, their inputs and PyTorch's results.

tests/data/pte holds archives of a manifest and what it names, made with executorch 1.5.1, torch
2.13.0 and torchao 0.18.0:

catalogue.tar.xz  the small cases of the operator tests that executorch's wheel carries
                  (executorch.backends.webgpu.test.op_tests, BSD licence), and a few of attention,
                  caches, 4 bits and whole models
programs.tar.xz   what tools/export_programs.py makes
refused.tar.xz    programs that ExecuTorch's own tests expect its runtime to turn away

The environment variable TENSORTAB_CATALOGUE names a folder that tools/export_catalogue.py made;
its cases then take the place of all of these.
"""

import json
import os
import pickle
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import harness
import tensortab as tt

FOLDER = Path(__file__).parent / "data" / "pte"
WHOLE = os.environ.get("TENSORTAB_CATALOGUE")
Arrays = list[np.ndarray]
Work = tuple[bytes, list[Arrays]]  # a program, and the inputs of each run
Open = Callable[[str], bytes]  # a file's content by its name

# The tab keeps one device for all programs; it hangs on the package, which outlives a call.
RUN = """
import pickle, traceback
import tensortab as tt

async def outcome(pte, inputs):
    try:
        program = await tt.load_pte(pte, device=tt.shared_device)
        try:
            return [await program.forward(*arrays) for arrays in inputs]
        finally:
            program.close()
    except tt.errors.TensortabError as error:
        return error
    except Exception:
        return RuntimeError(traceback.format_exc())

async def main(payload):
    if not hasattr(tt, "shared_device"):
        tt.shared_device = await tt.Device.open("browser")
    return pickle.dumps([await outcome(*work) for work in pickle.loads(payload)])
"""
_PROGRAMS = 32  # a call
_BYTES = 1 << 25  # a call, if it has more than one program


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
    """Every case that has results."""
    return {e["name"]: case(e, opened) for e, opened in entries() if "runs" in e}


@cache
def refused() -> dict[str, bytes]:
    """The programs to turn away, by name."""
    return {e["name"]: opened(e["pte"]) for e, opened in entries() if "runs" not in e}


@cache
def entries() -> list[tuple[dict[str, Any], Open]]:
    """What the manifests list, each entry with how to read what it names."""
    places = [Path(WHOLE)] if WHOLE else sorted(FOLDER.glob("*.tar.xz"))
    readers = map(reader, places)
    return [(e, opened) for opened in readers for e in json.loads(opened("manifest.json"))["cases"]]


def reader(place: Path) -> Open:
    if place.is_dir():
        return lambda name: (place / name).read_bytes()
    with tarfile.open(place) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive.getmembers()}.__getitem__


def case(entry: dict[str, Any], opened: Open) -> Case:
    def array(name: str, dtype: str, shape: list[int]) -> np.ndarray:
        return np.frombuffer(opened(name), dtype).reshape(shape)

    inputs = [[array(*i) for i in run["inputs"]] for run in entry["runs"]]
    goldens = [{n: array(*g) for *g, n in run["goldens"]} for run in entry["runs"]]
    return Case(entry["name"], opened(entry["pte"]), entry["atol"], entry["rtol"], inputs, goldens)


async def results(device: tt.Device, pte: bytes, inputs: list[Arrays]) -> list[tuple]:
    """The outputs of each run."""
    program = await tt.load_pte(pte, device=device)
    try:
        return [await program.forward(*arrays) for arrays in inputs]
    finally:
        program.close()


def in_tab(tab: harness.Tab, programs: Iterable[Work]) -> list[list[tuple] | Exception]:
    """The outputs of each program's runs in a browser's tab, or what it raised."""
    batches: list[list[Work]] = []
    room = 0
    for pte, inputs in programs:
        size = len(pte) + sum(array.nbytes for arrays in inputs for array in arrays)
        if size > room or len(batches[-1]) == _PROGRAMS:
            batches.append([])
            room = _BYTES
        batches[-1].append((pte, inputs))
        room -= size
    calls = (pickle.loads(tab.call(RUN, pickle.dumps(b), timeout=600)) for b in batches)
    return [outcome for answers in calls for outcome in answers]


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
