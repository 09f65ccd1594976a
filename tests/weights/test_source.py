"""Files, bytes and URLs give the ranges asked for; servers that cheat or fail are told by name."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tensortab.errors import FormatError, NotFoundError, SetupError, UnsupportedError
from tensortab.weights import open_source, source

DATA = bytes(range(256)) * 3


@asynccontextmanager
async def served(handler):
    """A server on 127.0.0.1 with one file, and the requests it gets."""
    app = web.Application()
    app.router.add_get("/w", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/w"
    finally:
        await runner.cleanup()


def from_server(handler, *ranges):
    async def read():
        async with served(handler) as url:
            source = open_source(url)
            return [bytes(await source.read(*r)) for r in ranges], await source.size()

    return asyncio.run(read())


def answer(body, content_range, status=206):
    async def handler(_):
        headers = {"Content-Range": content_range} if content_range else {}
        return web.Response(status=status, body=body, headers=headers)

    return handler


def bounds(request):
    part = request.http_range
    return part.start, min(part.stop, len(DATA))


async def ranges(request):
    start, stop = bounds(request)
    given = {"Content-Range": f"bytes {start}-{stop - 1}/{len(DATA)}"}
    return web.Response(status=206, body=DATA[start:stop], headers=given)


@pytest.fixture(params=["bytes", "bytearray", "file"])
def address(request, tmp_path):
    if request.param == "file":
        path = tmp_path / "w"
        path.write_bytes(DATA)
        return path
    return DATA if request.param == "bytes" else bytearray(DATA)


def test_local_ranges(address):
    async def read():
        source = open_source(address)
        views = [await source.read(3, 9), await source.read(768, 768), await source.foreign(0, 2)]
        return await source.size(), [bytes(view) for view in views]

    assert asyncio.run(read()) == (768, [DATA[3:9], b"", DATA[:2]])


@pytest.mark.parametrize(("start", "end"), [(0, 769), (-1, 4), (5, 4)])
def test_a_range_beyond_the_file(address, start, end):
    with pytest.raises(FormatError, match=f"bytes {start} to {end} .* of a file of 768 bytes"):
        asyncio.run(open_source(address).read(start, end))


def test_an_empty_file(tmp_path):
    path = tmp_path / "w"
    path.touch()
    assert asyncio.run(open_source(path).size()) == 0
    assert bytes(asyncio.run(open_source(path).read(0, 0))) == b""


def test_no_such_file(tmp_path):
    with pytest.raises(NotFoundError, match="absent: No such file"):
        asyncio.run(open_source(tmp_path / "absent").size())


def test_a_source_is_its_own():
    source = open_source(DATA)
    assert open_source(source) is source


def test_url_ranges():
    assert from_server(ranges, (0, 8), (700, 768), (5, 5)) == (
        [DATA[:8], DATA[700:], b""],
        len(DATA),
    )


def test_a_server_without_ranges_is_asked_once():
    asked = []

    async def whole(request):
        asked.append(request.headers["Range"])
        return web.Response(body=DATA)

    assert from_server(whole, (0, 8), (700, 768)) == ([DATA[:8], DATA[700:]], len(DATA))
    assert asked == ["bytes=0-0"]


def test_a_large_file_without_ranges(monkeypatch):
    monkeypatch.setattr(source, "WHOLE", len(DATA) - 1)

    async def whole(_):
        return web.Response(body=DATA)

    message = "sends all 768 bytes where a range was asked for, expected at most 767 of one without"
    with pytest.raises(UnsupportedError, match=message):
        from_server(whole, (0, 8))


def test_an_empty_url():
    assert from_server(answer(b"", "bytes */0", 416), (0, 0)) == ([b""], 0)


def test_a_url_range_beyond_the_file():
    with pytest.raises(FormatError, match=r"bytes 700 to 769 .* of a file of 768 bytes"):
        from_server(ranges, (700, 769))


@pytest.mark.parametrize("given", ["bytes 1-1/768", "bytes 0-0/*", "bytes 0-3/768", "nonsense", ""])
def test_another_range_than_asked_for(given):
    with pytest.raises(
        FormatError, match=r"server answered '.*' where 'bytes 0-0/…' was asked for"
    ):
        from_server(answer(b"\0", given), (0, 1))


def test_a_file_that_changes_its_size():
    async def growing(request):
        start, stop = bounds(request)
        total = 768 + start
        given = {"Content-Range": f"bytes {start}-{stop - 1}/{total}"}
        return web.Response(status=206, body=DATA[start:stop], headers=given)

    with pytest.raises(FormatError, match="'bytes 8-15/776' where 'bytes 8-15/768' was asked for"):
        from_server(growing, (8, 16))


def test_a_short_body():
    with pytest.raises(FormatError, match="the server sent 0 bytes, expected 1"):
        from_server(answer(b"", "bytes 0-0/768"), (0, 1))


def test_a_body_cut_off():
    async def cut(request):
        start, stop = bounds(request)
        if start == 0:
            return await ranges(request)
        length = {
            "Content-Range": f"bytes {start}-{stop - 1}/768",
            "Content-Length": str(stop - start),
        }
        response = web.StreamResponse(status=206, headers=length)
        await response.prepare(request)
        await response.write(DATA[start : stop - 1])
        request.transport.close()
        return response

    with pytest.raises(SetupError, match=r"/w: .*payload"):
        from_server(cut, (8, 16))


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_an_error_status(status):
    message = f"/w: the server answered {status}, expected 206 or 200"
    with pytest.raises(SetupError, match=message) as told:
        from_server(answer(b"no", "", status), (0, 8))
    assert isinstance(told.value, NotFoundError) == (status in (403, 404))


def test_no_server():
    with pytest.raises(SetupError, match=r"http://127\.0\.0\.1:1/w: "):
        asyncio.run(open_source("http://127.0.0.1:1/w").size())
