"""Files by name, from a path, a server, the hub and a mapping; what is absent is told by name."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tensortab.errors import FormatError, NotFoundError, SetupError, UnsupportedError
from tensortab.weights import open_folder, open_source

FILES = {"config.json": b'{"a": 1}', "list.json": b"[1]", "bad.json": b'{"a"', "a b.txt": b"spaced"}


@pytest.fixture
def folder(tmp_path):
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@asynccontextmanager
async def served(prefix, folder, status=None):
    """A static server of the folder, and what it was asked for."""
    asked = []

    async def handler(request):
        asked.append((request.match_info["name"], request.query_string))
        path = folder / request.match_info["name"]
        if status or not path.is_file():
            return web.Response(status=status or 404)
        return web.FileResponse(path)

    app = web.Application()
    app.router.add_get(f"{prefix}/{{name}}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def look(folder):
    assert await folder.has("config.json")
    assert not await folder.has("absent.json")
    assert await folder.json("config.json") == {"a": 1}
    assert await folder.read("a b.txt") == b"spaced"
    for name, message in (
        ("list.json", "holds a list, expected an object"),
        ("bad.json", "not JSON"),
    ):
        with pytest.raises(FormatError, match=f"{name}.* {message}"):
            await folder.json(name)
    with pytest.raises(NotFoundError, match=r"absent\.json"):
        await folder.source("absent.json")


@pytest.mark.parametrize("kind", ["str", "path", "mapping", "sources"])
def test_files_by_name(folder, kind):
    sources = {name: open_source(folder / name) for name in FILES}
    location = {"str": f"{folder}/", "path": folder, "mapping": FILES, "sources": sources}[kind]
    asyncio.run(look(open_folder(location)))


@pytest.mark.parametrize("end", ["", "/", "/?token=x#part"])
def test_files_of_a_server(folder, end):
    async def work():
        async with served("/models/m", folder) as (address, asked):
            opened = open_folder(f"{address}/models/m{end}")
            await look(opened)
            await look(opened)
            return asked

    asked = asyncio.run(work())
    assert {query for _, query in asked} == {"token=x" if "?" in end else ""}
    # A file that is there is looked for once; what is not may come yet.
    assert [name for name, _ in asked].count("config.json") == 3, "its size, and two reads of it"


def test_a_hub_id_where_no_folder_has_that_name(folder, tmp_path, monkeypatch):
    async def work():
        async with served("/owner/name/resolve/main", folder) as (address, _):
            monkeypatch.setenv("HF_ENDPOINT", f"{address}/")
            await look(open_folder("owner/name"))
            (tmp_path / "owner" / "name").mkdir(parents=True)
            monkeypatch.chdir(tmp_path)
            assert not await open_folder("owner/name").has("config.json"), "the local one wins"

    asyncio.run(work())


def test_a_folder_is_its_own():
    folder = open_folder(FILES)
    assert open_folder(folder) is folder


def test_no_such_folder(folder):
    with pytest.raises(SetupError, match=r"^/no/such/folder: there is no such folder"):
        open_folder("/no/such/folder")
    with pytest.raises(SetupError, match=r"config\.json: this is a file, expected the folder"):
        open_folder(folder / "config.json")
    with pytest.raises(UnsupportedError, match="location is a int, expected a path, a URL, a map"):
        open_folder(3)


def test_what_a_mapping_lacks():
    with pytest.raises(
        NotFoundError, match=r"there is no x among a b\.txt, bad\.json, config\.json"
    ):
        asyncio.run(open_folder(FILES).source("x"))


@pytest.mark.parametrize("status", [401, 500])
def test_a_server_that_refuses_does_not_say_that_a_file_is_absent(folder, status):
    async def work():
        async with served("/m", folder, status) as (address, _):
            await open_folder(f"{address}/m").has("config.json")

    with pytest.raises(SetupError, match=f"config.json: the server answered {status}"):
        asyncio.run(work())
