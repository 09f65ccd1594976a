"""Every 16-bit float, widened to the bits numpy and torch give."""

import asyncio
import pickle

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from tensortab.errors import ShapeError
from tensortab.widener import STAGING, Widener

IN_TAB = """
import pickle
import tensortab as tt

async def main(payload):
    source, calls = pickle.loads(payload)
    scope = {}
    exec(source, scope)
    device = await tt.Device.open("browser")
    found = await scope["widen"](device.backend, calls)
    device.close()
    return pickle.dumps(found)
"""
WIDEN = """
from tensortab.widener import Widener

async def widen(backend, calls):
    widener, found = Widener(backend), []
    for dtype, data, first in calls:
        n = first + len(data) // 2 + 2
        target = backend.alloc(4 * n)
        backend.write(target, b"\\x01" * 4 * n)
        await widener.write(dtype, data, target, first)
        found.append(await backend.read(target, 4 * n))
        backend.free(target)
    widener.close()
    return found
"""
ALL = np.arange(1 << 16, dtype=np.uint16)
# Odd counts and places: halves of a word that are not there stay unwritten.
CALLS = [
    (dtype, data.tobytes(), first)
    for dtype in ("F16", "BF16")
    for data, first in ((ALL, 0), (ALL[15000:15007], 3), (ALL[1:2], 0))
]


def widened(dtype: str, data: bytes) -> np.ndarray:
    kind = {"F16": torch.float16, "BF16": torch.bfloat16}[dtype]
    return torch.frombuffer(bytearray(data), dtype=kind).float().numpy()


@pytest.mark.parametrize("kind", ["native", "chrome", "reference"])
def test_every_half(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "chrome":
        tab: harness.Tab = request.getfixturevalue(kind)
        found = pickle.loads(tab.call(IN_TAB, pickle.dumps((WIDEN, CALLS))))
    else:
        scope: dict = {}
        exec(WIDEN, scope)
        device = (
            asyncio.run(tt.Device.open("reference"))
            if kind == "reference"
            else request.getfixturevalue(kind).device
        )
        found = asyncio.run(scope["widen"](device.backend, CALLS))
    for (dtype, data, first), got in zip(CALLS, found, strict=True):
        values = np.frombuffer(got, np.float32)
        want = widened(dtype, data)
        np.testing.assert_array_equal(values[first : first + len(want)], want)
        around = np.concatenate([values[:first], values[first + len(want) :]])
        assert {*around.view(np.uint32)} == {0x01010101}, "nothing else was written"


def test_what_is_refused(native: harness.Native) -> None:
    widener = Widener(native.device.backend)
    for data in (bytes(3), bytes(STAGING + 2)):
        with pytest.raises(ShapeError, match=rf"{len(data)} bytes of F16, expected whole elements"):
            asyncio.run(widener.write("F16", data, None, 0))
