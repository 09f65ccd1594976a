"""Whatever a file says, reading it ends in FormatError or UnsupportedError, and soon."""

import asyncio
import os
import random
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import catalogue
import harness
from tensortab import plan as planning
from tensortab import pte
from tensortab.errors import FormatError, ShapeError, UnsupportedError
from tensortab.pte import program
from tensortab.pte.build import build
from tensortab.pte.check import check
from tensortab.target import Target
from tensortab.weights import open_source

SMALL = [c for c in catalogue.cases().values() if len(c.pte) < 60_000]
MUTATIONS = int(os.environ.get("TENSORTAB_MUTATIONS", "4000"))  # noxfile.py: 100,000
WORDS = (0, 1, 2, 4, 64, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


async def load(data: bytes) -> None:
    """Everything load_pte does before a device is asked for anything."""
    made = await program.read(open_source(data))
    for method in made.methods.values():
        for d in await check(made, method):
            if d.bounds is not None:
                graph = build(d.name, d.prefix, d.blob, d.bounds).graph
                try:
                    for step in planning.plan(graph, Target("native")).steps:
                        step.pack(planning.largest(graph))
                except ShapeError as error:  # as Delegate.session does
                    raise FormatError(str(error)) from error


def survives(data: bytes) -> bool:
    """Whether it loads; anything but the two errors, or a second, is a failure."""
    began = time.perf_counter()
    try:
        asyncio.run(load(data))
    except (FormatError, UnsupportedError):
        return False
    finally:
        assert time.perf_counter() - began < 1
    return True


@pytest.mark.parametrize("name", ["trivial_add", "mixed_portable_cumsum", "update_cache_dyn_inbuf"])
def test_every_truncation(name: str) -> None:
    data = catalogue.cases()[name].pte
    assert survives(data)
    end = len(data.rstrip(b"\0"))
    assert not any(survives(data[:n]) for n in range(0, end, 3))


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from(SMALL),
    st.lists(st.tuples(st.integers(0, 60_000), st.binary(min_size=1, max_size=8)), max_size=6),
)
def test_bytes_overwritten(case: catalogue.Case, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(case.pte)
    for place, new in changes:
        at = place % len(data)
        data[at : at + len(new)] = new
    survives(bytes(data))


def test_mutations() -> None:
    rng = random.Random(5)
    outcomes = {survives(mutated(rng)) for _ in range(MUTATIONS)}
    assert outcomes == {True, False}


def mutated(rng: random.Random) -> bytes:
    data = bytearray(rng.choice(SMALL).pte)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data))
        word = slice(at & ~3, (at & ~3) + 4)
        match rng.randrange(5):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                data[word] = struct.pack("<I", rng.choice((*WORDS, len(data))))
            case 3:
                source = rng.randrange(len(data)) & ~3
                data[word] = bytes(data[source : source + 4]).ljust(4, b"\0")
            case 4:
                del data[at + 8 :]
    return bytes(data)


ADD = catalogue.cases()["trivial_add"].pte


def patched(at: int, new: bytes) -> bytes:
    return ADD[:at] + new + ADD[at + len(new) :]


def replaced(old: bytes, new: bytes) -> bytes:
    assert old in ADD
    assert len(old) == len(new)
    return ADD.replace(old, new)


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        (b"", FormatError, r"<bytes>: at byte 4: b'', expected b'ET12' of an ExecuTorch program"),
        (ADD[:16], FormatError, r"at byte 12: an extended header of 32 bytes in a file of 16"),
        (ADD[:500], FormatError, r"at byte 16: program_size is \d+, the file has 500 bytes"),
        (ADD[:-64], FormatError, r"in a file of \d+ bytes \(truncated\?\)"),
        (patched(0, b"\xff\xff\xff\x7f"), FormatError, r"at byte 0: an offset of 2147483647 leads"),
        (replaced(b"VH00", b"VH01"), FormatError, r"b'VH01', expected b'VH00' of a Vulkan del"),
        (replaced(b"VK00", b"XX00"), FormatError, r"at byte \d+: b'XX00', expected b'VK00'"),
        (
            replaced(b"aten.add.Tensor", b"aten.odd.Tensor"),
            UnsupportedError,
            r"delegate 0: the delegate has operators .* not implemented: aten.odd.Tensor \(1\)",
        ),
        (
            replaced(b"VulkanBackend", b"MetallBackend"),
            UnsupportedError,
            r"forward: delegate 0 is for 'MetallBackend', expected 'VulkanBackend'",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(data: bytes, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        asyncio.run(load(data))


def test_an_operator_outside_of_delegates(loop: harness.Loop) -> None:
    data = catalogue.cases()["mixed_portable_cumsum"].pte.replace(b"aten::cumsum", b"aten::cumprd")
    with pytest.raises(UnsupportedError, match=r"forward: aten::cumprd.out is outside of a deleg"):
        asyncio.run(load(data))
    assert "    1 aten::cumprd.out  (not implemented)" in loop.run(pte.inspect(data))
