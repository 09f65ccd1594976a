"""In a tab: ranges of URLs, of its file system and of bytes; the GPU's stay out of the heap."""

import io
import json

import numpy as np
import pytest
import safetensors.numpy
from aiohttp import web

from tensortab.errors import FormatError, SetupError, UnsupportedError

DATA = bytes(range(256)) * 3
WEIGHTS = {"w": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.array([1, -2], np.int8)}

READ = """
import json
from tensortab.weights import open_source

async def main(payload):
    url, *ranges = json.loads(payload)
    source = open_source(url)
    parts = [bytes(await source.read(*r)) for r in ranges]
    return b"".join(parts) + str(await source.size()).encode()
"""

OPEN = """
import json
from pathlib import Path
from tensortab.weights import safetensors

async def main(payload):
    job = json.loads(payload)
    data = bytes.fromhex(job["data"])
    Path("/tmp/w.safetensors").write_bytes(data)
    told = []
    for address in (job["url"], "/tmp/w.safetensors", Path("/tmp/w.safetensors"), data):
        file = await safetensors.open(address)
        arrays = {name: (await file.array(name)).tolist() for name in file.tensors}
        foreign = {name: await file.foreign(name) for name in file.tensors}
        assert all(f.constructor.name == "Uint8Array" for f in foreign.values())
        told.append([arrays, {name: f.to_bytes().hex() for name, f in foreign.items()}])
    return json.dumps(told).encode()
"""

# What is read last for the GPU is many times what the heap may grow by.
HEAP = """
import json
import pyodide_js
from tensortab.weights import open_source

async def main(payload):
    sources = [open_source(json.loads(payload)), open_source("/tmp/large")]
    pyodide_js.FS.writeFile("/tmp/large", await sources[0].foreign(0, 64 << 20))
    before = pyodide_js._module.HEAP8.length
    for source in sources:
        kept = [await source.foreign(0, 64 << 20) for _ in range(4)]
        assert all(k.length == 64 << 20 for k in kept)
    pyodide_js.FS.unlink("/tmp/large")
    return str(pyodide_js._module.HEAP8.length - before).encode()
"""

ABSENT = """
from tensortab.weights import open_source

async def main(payload):
    return str(await open_source(payload.decode()).size()).encode()
"""

ANY = {"Access-Control-Allow-Origin": "*"}
EXPOSED = ANY | {"Access-Control-Expose-Headers": "Content-Range"}


def part(request, data, headers):
    start, stop = request.http_range.start, min(request.http_range.stop, len(data))
    given = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"} | headers
    return web.Response(status=206, body=data[start:stop], headers=given)


async def ranges(request):
    return part(request, DATA, EXPOSED)


async def hidden(request):
    """A server whose Content-Range a page of another origin does not get to see."""
    if request.method == "HEAD":
        return web.Response(headers=ANY | {"Content-Length": str(len(DATA))})
    return part(request, DATA, ANY)


async def whole(_):
    return web.Response(body=DATA, headers=ANY)


async def empty(_):
    return web.Response(status=416, headers=ANY)


async def other(_):
    return web.Response(
        status=206, body=b"\0", headers=EXPOSED | {"Content-Range": "bytes 1-1/768"}
    )


async def short(request):
    given = EXPOSED | {"Content-Range": f"bytes {request.http_range.start}-8/768"}
    if request.http_range.start == 0:
        return await ranges(request)
    return web.Response(status=206, body=b"\0", headers=given)


async def cut(request):
    """Ends in the middle of what it announced."""
    response = web.StreamResponse(headers=ANY | {"Content-Length": "768"})
    await response.prepare(request)
    await response.write(DATA[:100])
    request.transport.close()
    return response


async def missing(_):
    return web.Response(status=404, headers=ANY)


async def model(request):
    return part(request, safetensors.numpy.save(WEIGHTS), EXPOSED)


async def large(request):
    start, stop = request.http_range.start, request.http_range.stop
    given = EXPOSED | {"Content-Range": f"bytes {start}-{stop - 1}/{64 << 20}"}
    return web.Response(status=206, body=io.BytesIO(bytes(stop - start)), headers=given)


async def counted(request):
    """A file of 9 MiB whose bytes are not all alike."""
    return part(request, COUNTED, EXPOSED)


COUNTED = (bytes(range(251)) * 37600)[: 9 << 20]


async def endless(request):
    """All of a file too large to be kept, where a range was asked for."""
    response = web.StreamResponse(headers=ANY | {"Content-Length": str(300 << 20)})
    await response.prepare(request)
    try:
        for _ in range(300):
            await response.write(bytes(1 << 20))
    except ConnectionError:
        pass  # the page wants no more
    return response


HANDLERS = (
    ranges,
    hidden,
    whole,
    empty,
    other,
    short,
    cut,
    missing,
    model,
    large,
    endless,
    counted,
)


@pytest.fixture(scope="module")
def site(loop):
    """The address of a server that answers in all of these ways."""

    async def start():
        app = web.Application()
        for handler in HANDLERS:
            app.router.add_get(f"/{handler.__name__}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = loop.run(start())
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    loop.run(runner.cleanup())


def read(tab, url, *ranges):
    return tab.call(READ, json.dumps([url, *ranges]).encode())


@pytest.mark.parametrize("kind", ["ranges", "hidden", "whole"])
def test_url_ranges(chrome, site, kind):
    got = read(chrome, f"{site}/{kind}", (0, 8), (700, 768), (5, 5))
    assert got == DATA[:8] + DATA[700:] + b"768"


def test_an_empty_url(chrome, site):
    assert read(chrome, f"{site}/empty", (0, 0)) == b"0"


def test_a_safetensors_file_by_every_way(chrome, site):
    data = safetensors.numpy.save(WEIGHTS)
    job = json.dumps({"url": f"{site}/model", "data": data.hex()}).encode()
    expected = [
        {name: array.tolist() for name, array in WEIGHTS.items()},
        {name: array.tobytes().hex() for name, array in WEIGHTS.items()},
    ]
    assert json.loads(chrome.call(OPEN, job)) == [expected] * 4


def test_what_the_gpu_gets_stays_out_of_the_heap(chrome, site):
    """Half a GiB is read for the GPU, and wasm's memory has not grown by one file of it."""
    grown = int(chrome.call(HEAP, json.dumps(f"{site}/large").encode()))
    assert grown < 64 << 20


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("other", FormatError, r"answered 'bytes 1-1/768' where 'bytes 0-0/…' was asked for"),
        ("short", FormatError, r"answered 'bytes 8-8/768' where 'bytes 8-15/768' was asked for"),
        ("cut", SetupError, r"/cut: "),
        ("missing", SetupError, r"/missing: the server answered 404, expected 206 or 200"),
        ("nowhere", SetupError, r"/nowhere: .*fetch"),
        (
            "endless",
            UnsupportedError,
            r"sends all 314572800 bytes .* at most 268435456 of one with",
        ),
        ("ranges", FormatError, r"bytes 8 to 769 were asked for, of a file of 768 bytes"),
    ],
)
def test_refuses(chrome, site, kind, error, message):
    end = 769 if kind == "ranges" else 16
    with pytest.raises(error, match=message):
        read(chrome, f"{site}/{kind}", (8, end))


RELEASE = """
import js
import json
import pyodide_js
from pyodide.ffi import to_js
from tensortab.weights import body, open_source
from tensortab.weights.source import release

async def main(payload):
    url, size = json.loads(payload)
    data = await open_source(url).foreign(0, size)
    pyodide_js.FS.writeFile("/tmp/r", data)
    blob = js.Blob.new(to_js([data]))
    found = []
    for address in (url, blob, "/tmp/r"):
        source = open_source(address)
        body.forget()
        arrays = [await source.foreign(0, size), await source.foreign(1, size)]
        assert arrays[0].buffer != arrays[1].buffer
        for array in arrays:
            release(array)
        kept = len(body._idle)
        again = await source.foreign(size // 2, size)
        text = again.to_bytes()
        found.append([kept, len(body._idle), len(text), text == data.to_bytes()[size // 2 :]])
    body.forget()
    pyodide_js.FS.unlink("/tmp/r")
    return json.dumps(found).encode()
"""


def test_memory_that_was_released_is_used_again(chrome, site):
    size = 9 << 20
    job = json.dumps([f"{site}/counted", size]).encode()
    found = json.loads(chrome.call(RELEASE, job))
    half = size - size // 2
    # A path's bytes come by a copy into memory of just their size.
    assert found == [[2, 1, half, True], [2, 1, half, True], [2, 2, half, True]]


ONCE = """
import os
from tensortab.weights import open_source

async def main(payload):
    with open("/tmp/once", "wb") as file:
        file.write(payload)
    source = open_source("/tmp/once")
    first = await source.read(0, 4)
    os.remove("/tmp/once")
    return first + await source.read(4, await source.size())
"""


def test_a_path_is_opened_once(chrome):
    assert chrome.call(ONCE, b"still there") == b"still there"


def test_no_such_file(chrome):
    with pytest.raises(SetupError, match=r"^/tmp/absent: No such file"):
        chrome.call(ABSENT, b"/tmp/absent")
