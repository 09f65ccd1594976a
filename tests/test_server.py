import asyncio
import hashlib
import threading
import zipfile
from contextlib import asynccontextmanager
from io import BytesIO

import aiohttp
import pytest
from aiohttp import web

from tensortab import __version__, assets, chrome, parts, server, site, vendor, wheel
from tensortab.errors import SetupError

# A page as strict as the demo: a module worker boots Pyodide, the page shows how it went.
PAGE = '<!doctype html><link rel="icon" href="data:,"><output></output>'
PAGE += '<script type="module" src="strict.js"></script>'
SCRIPT = """
const worker = new Worker("strict_worker.js", { type: "module" });
worker.onmessage = ({ data }) => { document.querySelector("output").textContent = data; };
"""
WORKER = """
import { boot } from "./boot.js";
const stages = [];
boot({ progress: (stage, done, total) => stages.push(`${stage} ${done}/${total}`) })
  .then((pyodide) => {
    const sum = pyodide.runPython("import numpy, tensortab; int(numpy.arange(5).sum())");
    postMessage(`sum ${sum}; ${stages.join(", ")}; ${Object.keys(globalThis.tensortab)}`);
  }, (error) => postMessage(`failed: ${error}`));
"""


@asynccontextmanager
async def served(tmp_path, monkeypatch, extra=None):
    monkeypatch.setattr(vendor, "cache", lambda: tmp_path)
    app = server.application()
    for path, (text, kind) in (extra or {}).items():
        app.router.add_get(path, answering(text, kind))
    async with server.serve(app) as address, aiohttp.ClientSession(address) as client:
        yield client


def answering(text, kind):
    async def answer(_):
        return web.Response(text=text, content_type=kind)

    return answer


def test_answers_ranges_of_a_models_files(tmp_path, monkeypatch):
    file = tmp_path / "models" / "tiny" / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(range(100)))

    async def check():
        async with served(tmp_path, monkeypatch) as client:
            headers = {"Range": "bytes=10-19"}
            answer = await client.get("/models/tiny/model.safetensors", headers=headers)
            assert answer.status == 206
            assert answer.headers["Content-Range"] == "bytes 10-19/100"
            assert await answer.read() == bytes(range(10, 20))
            headers = {"Range": "bytes=100-"}
            answer = await client.get("/models/tiny/model.safetensors", headers=headers)
            assert answer.status == 416

    asyncio.run(check())


def test_gives_files_the_types_browsers_insist_on(tmp_path, monkeypatch):
    names = ("a.mjs", "a.js", "a.wasm", "a.whl", "a.wgsl", "a.json")
    (tmp_path / "vendor").mkdir()
    for name in names:
        (tmp_path / "vendor" / name).write_text("")

    async def types():
        async with served(tmp_path, monkeypatch) as client:
            answers = [await client.get(f"/vendor/{name}") for name in names]
            return [answer.headers["Content-Type"] for answer in answers]

    assert asyncio.run(types()) == [
        "text/javascript",
        "text/javascript",
        "application/wasm",
        "application/octet-stream",
        "text/wgsl; charset=utf-8",
        "application/json",
    ]


@pytest.mark.parametrize(
    "path", ["/vendor/../secret", "/vendor/%2e%2e/secret", "/models/..%2fsecret"]
)
def test_keeps_to_its_folders(tmp_path, monkeypatch, path):
    (tmp_path / "secret").write_text("secret")

    async def status():
        async with served(tmp_path, monkeypatch) as client:
            return (await client.get(path)).status

    assert asyncio.run(status()) in (403, 404)


def test_gives_the_embedded_model_beside_fetched_ones(tmp_path, monkeypatch):
    async def status():
        async with served(tmp_path, monkeypatch) as client:
            answer = await client.get("/models/python-16m/config.json")
            return answer.status, await answer.read()

    assert asyncio.run(status()) == (200, (assets.EMBEDDED / "config.json").read_bytes())


def test_fetches_a_known_model_when_it_is_asked_for(tmp_path, monkeypatch):
    go, fetched = threading.Event(), []

    def fetch(name):
        assert go.wait(10)
        fetched.append(name)
        if len(fetched) == 1:
            raise SetupError("pip: no network")
        file = tmp_path / "models" / name / "config.json"
        file.parent.mkdir(parents=True)
        file.write_text("{}")

    async def answers():
        async with served(tmp_path, monkeypatch) as client:

            async def ask(path):
                answer = await client.get(f"/models/{path}")
                return answer.status, await answer.text()

            async def other_than(status, path):
                async with asyncio.timeout(10):
                    while (got := await ask(path))[0] == status:
                        pass  # asking takes its time
                return got

            name = "all-MiniLM-L6-v2"
            assert (await ask(f"{name}/secret.json"))[0] == 404
            assert (await ask("other/config.json"))[0] == 404
            status, text = await ask(f"{name}/config.json")
            assert (status, text) == (202, f"fetching {parts.MODELS[name].what}")
            assert (await ask(f"{name}/config.json"))[0] == 202
            assert fetched == []
            go.set()
            failed = await other_than(202, f"{name}/config.json")
            return failed, await other_than(202, f"{name}/config.json")

    monkeypatch.setattr(vendor, "model", fetch)
    assert asyncio.run(answers()) == ((503, "pip: no network"), (200, "{}"))
    assert len(fetched) == 2


def test_lets_browsers_keep_what_never_changes(tmp_path, monkeypatch):
    folder = tmp_path / parts.PYODIDE
    folder.mkdir(parents=True)
    for name in ("pyodide.asm.wasm", "pyodide-lock.json"):
        (folder / name).write_text("{}")

    async def kept(*paths):
        async with served(tmp_path, monkeypatch) as client:
            config = await (await client.get("/boot.json")).json()
            asked = [await client.get(f"/{path}") for path in (config["wheel"], *paths)]
            return [(answer.status, answer.headers["Cache-Control"]) for answer in asked]

    for_ever, ask_again = "public, max-age=31536000, immutable", "no-cache"
    assert asyncio.run(
        kept(
            f"{parts.PYODIDE}/pyodide.asm.wasm",
            f"{parts.PYODIDE}/pyodide-lock.json",
            f"{parts.PYODIDE}/missing.json",
            "app.js",
            "boot.json",
        )
    ) == [
        (200, for_ever),
        (200, for_ever),
        (200, ask_again),
        (404, ask_again),
        (200, ask_again),
        (200, ask_again),
    ]


def test_serves_a_wheel_with_kernels_and_without_pages(tmp_path, monkeypatch):
    async def fetch():
        async with served(tmp_path, monkeypatch) as client:
            config = await (await client.get("/boot.json")).json()
            return await (await client.get(f"/{config['wheel']}")).read()

    archive = zipfile.ZipFile(BytesIO(asyncio.run(fetch())))
    names = set(archive.namelist())
    kernels = {f"tensortab/wgsl/{file.name}" for file in assets.WGSL.glob("*.wgsl")}
    assert kernels
    assert kernels | {"tensortab/errors.py", "tensortab/device/replay.js"} <= names
    assert not any(name.startswith("tensortab/web") for name in names)
    info = f"tensortab-{__version__}.dist-info"
    assert b"Requires-Dist: numpy\n" in archive.read(f"{info}/METADATA")
    recorded = {row.split(b",")[0].decode() for row in archive.read(f"{info}/RECORD").split(b"\n")}
    assert names == recorded - {""}


def test_serves_jinja_without_its_compiled_half(tmp_path, monkeypatch):
    async def fetch():
        async with served(tmp_path, monkeypatch) as client:
            return await (await client.get("/jinja.zip")).read()

    names = zipfile.ZipFile(BytesIO(asyncio.run(fetch()))).namelist()
    assert {"jinja2/sandbox.py", "markupsafe/_native.py"} <= set(names)
    assert any("licenses/LICENSE" in name for name in names), "they ask for it"
    assert not any(name.endswith((".so", ".pyd", ".pyc")) for name in names)


def test_points_to_the_cdn_where_nothing_is_vendored(tmp_path, monkeypatch):
    monkeypatch.setattr(vendor, "cache", lambda: tmp_path)
    config = site.boot_config(b"")
    assert config["pyodide"] == parts.CDN_PYODIDE
    assert config["wheel"] == f"wheel/{hashlib.sha256(b'').hexdigest()[:16]}/{wheel.name()}"
    policy = site.policy(config)
    assert "default-src 'self' https://cdn.jsdelivr.net;" in policy
    assert "script-src 'self' https://cdn.jsdelivr.net 'wasm-unsafe-eval';" in policy


def test_lets_nothing_out_where_everything_is_vendored():
    policy = site.policy({"pyodide": "vendor/pyodide/", "wheel": "wheel/a.whl"})
    assert policy.startswith("default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; ")


def test_says_which_port_is_taken(tmp_path, monkeypatch):
    async def twice():
        async with served(tmp_path, monkeypatch) as client:
            port = client._base_url.port
            with pytest.raises(SetupError, match=f"port {port} of 127.0.0.1: .*in use"):
                async with server.serve(server.application(), port):
                    pass

    asyncio.run(twice())


@pytest.mark.usefixtures("chrome")
def test_boots_under_the_strict_policy_without_a_foreign_request():
    extra = {
        "/strict.html": (PAGE, "text/html"),
        "/strict.js": (SCRIPT, "text/javascript"),
        "/strict_worker.js": (WORKER, "text/javascript"),
    }

    async def shown_text():
        app = server.application()
        for path, (text, kind) in extra.items():
            app.router.add_get(path, answering(text, kind))
        async with server.serve(app) as address, chrome.launch() as browser:
            page = await browser.new_page()
            requests, said = [], []
            page.on("request", lambda request: requests.append(request.url))
            page.on("console", lambda message: said.append(message.text))
            await page.goto(f"{address}strict.html")
            text = await page.locator("output:not(:empty)").text_content(timeout=60_000)
            assert all(url.startswith(address) for url in requests), requests
            assert not said
            return text

    assert asyncio.run(shown_text()) == (
        "sum 10; python 0/3, packages 1/3, tensortab 2/3; tokenizers,replay,jinja"
    )


def test_boot_json_names_files_that_are_served(tmp_path, monkeypatch):
    async def statuses():
        async with served(tmp_path, monkeypatch) as client:
            config = await (await client.get("/boot.json")).json()
            local = [path for path in config.values() if not path.startswith("https:")]
            return [(await client.get(f"/{path}")).status for path in local]

    assert asyncio.run(statuses()) == [200, 200, 200]


def test_builds_the_same_wheel_twice():
    first, second = wheel.build(), wheel.build()
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()


def test_wheel_takes_more_files_along(tmp_path):
    (tmp_path / "x").write_text("more")
    archive = zipfile.ZipFile(BytesIO(wheel.build({"tensortab/text/x.mjs": tmp_path / "x"})))
    info = f"tensortab-{__version__}.dist-info"
    assert archive.read("tensortab/text/x.mjs") == b"more"
    assert "tensortab/text/x.mjs,sha256=" in archive.read(f"{info}/RECORD").decode()
    assert "Requires-Python: >=" in archive.read(f"{info}/METADATA").decode()
