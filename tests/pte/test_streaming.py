"""A program's constants on their way from the file to the device."""

import asyncio
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from aiohttp import web

import harness
import tensortab as tt
from catalogue import assert_within, cases, results
from counted import Counted
from tensortab.errors import SetupError, UnsupportedError
from tensortab.op import Spec
from tensortab.pte import fill, flat, program
from tensortab.pte.build import Filling
from tensortab.pte.schema import Place
from tensortab.store import Held
from tensortab.weights import ahead
from tensortab.weights.source import BytesSource

PROGRAM = cases()["swiglu_q4"]
SHOWN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Content-Range",
}
INSIDE = {"float64": "float32", "float16": "float32", "int64": "int32"}
ARRAYS = [
    np.random.default_rng(i).integers(-99, 99, 1001 + i).astype(dtype)
    for i, dtype in enumerate(["float32", "float16", "int64", "float64", "uint8", "int8", "bool"])
]


@pytest.mark.parametrize("kind", ["native", "reference"])
def test_every_dtype_in_pieces(
    loop: harness.Loop, native: harness.Native, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(fill, "PIECE", 256)
    monkeypatch.setattr(ahead, "_AHEAD", 700)
    source = Counted(b"".join(a.tobytes() for a in ARRAYS))

    async def run() -> list[np.ndarray]:
        device = native.device if kind == "native" else await tt.Device.open("reference")
        backend, leaves, at = device.backend, [], 0
        for array in ARRAYS:
            spec = Spec(array.shape, INSIDE.get(array.dtype.name, array.dtype.name))
            held = Held(backend.alloc(spec.nbytes), spec)
            place = Place(at, at := at + array.nbytes)
            leaves.append((held, Filling(place, array.dtype.name)))
        await fill.fill(backend, source, leaves)
        assert all(held.filled == held.spec.nbytes for held, _ in leaves)
        found = [
            np.frombuffer(await backend.read(held.buffer, held.spec.nbytes), held.spec.dtype)
            for held, _ in leaves
        ]
        for held, _ in leaves:
            backend.free(held.buffer)
        return found

    for got, want in zip(loop.run(run()), ARRAYS, strict=True):
        np.testing.assert_array_equal(got, want)
    read = [end - start for start, end in source.ranges]
    assert max(read) <= 256
    assert sum(read) == len(source.data), "nothing is read twice"
    assert source.now[1] > 1, "the next range is on its way"


HEAP = """
import js
import pyodide_js
import tensortab as tt
from tensortab.op import Spec
from tensortab.pte.build import Filling
from tensortab.pte.fill import fill
from tensortab.pte.schema import Place
from tensortab.store import Held
from tensortab.weights import open_source

async def main(_):
    device = await tt.Device.open("browser")
    size = 96 << 20
    source = open_source(js.Blob.new([js.Uint8Array.new(size)]))
    before, grown = pyodide_js._module.HEAP8.length, []
    for stored, inside in (("float32", "float32"), ("float16", "float32"), ("int64", "int32")):
        count = size // {"float32": 4, "float16": 2, "int64": 8}[stored]
        spec = Spec((count,), inside)
        held = Held(device.backend.alloc(spec.nbytes), spec)
        await fill(device.backend, source, [(held, Filling(Place(0, size), stored))])
        device.backend.free(held.buffer)
        grown.append(pyodide_js._module.HEAP8.length - before)
    device.close()
    return str(grown).encode()
"""


def test_the_heap_of_a_tab_does_not_grow_with_a_constant(chrome: harness.Tab) -> None:
    """96 MiB each; what is converted in Python goes through it by pieces of 8 MiB."""
    as_it_is, widened, converted = eval(chrome.call(HEAP))
    assert as_it_is == widened == 0
    assert converted <= 40 << 20


class Broken(BytesSource):
    """A file that ends when the last of its constants is read."""

    async def foreign(self, start: int, end: int) -> Any:
        await asyncio.sleep(0)
        if start > len(self.data) // 2:
            raise SetupError("the connection is gone")
        return self.data[start:end]


def test_a_load_that_fails_frees_what_it_allocated(
    loop: harness.Loop, native: harness.Native, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, alive = native.device.backend, set()
    alloc, free = backend.alloc, backend.free

    def counted(*args: Any, **kwargs: Any) -> Any:
        buffer = alloc(*args, **kwargs)
        alive.add(id(buffer))
        return buffer

    def freed(buffer: Any) -> None:
        alive.discard(id(buffer))
        free(buffer)

    monkeypatch.setattr(backend, "alloc", counted)
    monkeypatch.setattr(backend, "free", freed)
    source = Broken(memoryview(cases()["mixed_portable_cumsum"].pte))  # of two delegates
    with pytest.raises(SetupError, match="the connection is gone"):
        loop.run(tt.load_pte(source, device=native.device))
    assert not alive


def test_inline_constants(loop: harness.Loop, native: harness.Native) -> None:
    """A constant may lie in its delegate's own data rather than under a key of the program."""
    data, source = bytearray(PROGRAM.pte), BytesSource(memoryview(PROGRAM.pte))
    made = loop.run(program.read(source))
    (part,) = made.methods["forward"].delegates
    first = part.blob.start
    start, size, inline = (
        int.from_bytes(data[first + i : first + i + 4], "little") for i in (10, 14, 18)
    )
    graph = loop.run(flat.load(source, first + start, first + start + size)).root("VK00")
    for at, key in graph.tables(5, lambda t: (first + start + t.place(0), t.text(2))):
        assert data[at : at + 8] == b"\xff" * 8
        offset = made.named[key].start - first - inline
        data[at : at + 8] = offset.to_bytes(8, "little")
    # The delegate's segment reaches over the others, which come after it.
    old, new = ((end - first).to_bytes(8, "little") for end in (part.blob.end, len(data)))
    assert data.count(old, 0, first) == 1
    data = bytearray(data[:first].replace(old, new) + data[first:])
    for key in made.named:
        data = data.replace(key.encode(), b"?" * len(key))
    ((y,),) = loop.run(results(native.device, bytes(data), PROGRAM.inputs[:1]))
    assert_within(y, PROGRAM.goldens[0][0], PROGRAM.atol, PROGRAM.rtol)


def test_a_program_with_its_data_inside_of_it_is_small(
    loop: harness.Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat, "MOST", 1000)
    with pytest.raises(
        UnsupportedError,
        match=r"<bytes>: at byte 0: a FlatBuffer of \d{4} bytes, expected at most 1000, .* segment",
    ):
        loop.run(tt.pte.inspect(PROGRAM.pte))


LOAD = """
import pickle
import tensortab as tt

async def main(payload):
    url, inputs = pickle.loads(payload)
    device = await tt.Device.open("browser")
    program = await tt.load_pte(url, device=device)
    (y,) = await program.forward(*inputs)
    device.close()
    return pickle.dumps(y)
"""


@pytest.fixture
def address(loop: harness.Loop, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a program on a server that knows ranges, or none."""

    async def whole(_: web.Request) -> web.Response:
        return web.Response(body=PROGRAM.pte, headers=SHOWN)

    async def part(asked: web.Request) -> web.Response:
        start, stop = asked.http_range.start, min(asked.http_range.stop, len(PROGRAM.pte))
        given = {"Content-Range": f"bytes {start}-{stop - 1}/{len(PROGRAM.pte)}"} | SHOWN
        return web.Response(status=206, body=PROGRAM.pte[start:stop], headers=given)

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/model.pte", part if request.param == "ranges" else whole)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = loop.run(start())
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/model.pte"
    loop.run(runner.cleanup())


@pytest.mark.parametrize("address", ["ranges", "none"], indirect=True)
def test_from_a_url(loop: harness.Loop, device: harness.Device, address: str) -> None:
    inputs = PROGRAM.inputs[0]
    if isinstance(device, harness.Tab):
        y = pickle.loads(device.call(LOAD, pickle.dumps((address, inputs))))
    else:
        ((y,),) = loop.run(results(device.device, address, [inputs]))
    assert_within(y, PROGRAM.goldens[0][0], PROGRAM.atol, PROGRAM.rtol)
