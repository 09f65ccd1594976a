"""The local server: pages, vendored parts, models and the package's own wheel, on 127.0.0.1 only.

    /                       the page's site (site.py), with web/ as it is at the moment
    /vendor/…               the cache folder's
    /models/…               the cache folder's or those of web/models, with HTTP ranges; a known
                            model that is missing is fetched then: 202 until it is there, 503 and
                            the reason where it cannot be had
    /run.html               what `tensortab run` opens

Pages get a Content-Security-Policy that lets nothing out of the machine. An address that holds a
version or a hash names the same bytes for ever, so browsers keep it without asking; of everything
else they ask again, and an unchanged file answers 304.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tensortab import assets, parts, vendor, wheel
from tensortab.errors import SetupError
from tensortab.site import LISTING, PAGE, Site, policy

TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".json": "application/json",
    ".wasm": "application/wasm",  # or streaming compilation is refused
    ".wgsl": "text/wgsl; charset=utf-8",
    ".whl": "application/octet-stream",
    ".zip": "application/zip",
    ".safetensors": "application/octet-stream",
}
# The lock beside Pyodide's own files is this package's, and may change under the same version.
LASTING = re.compile(r"/wheel/|/vendor/[^/]+-[\d.]+/(?!pyodide-lock\.json)")
FOR_EVER = "public, max-age=31536000, immutable"
FETCHES = web.AppKey("FETCHES", dict[str, asyncio.Task[Path]])  # models on their way
# These run a person's own Python, which may reach where it likes, as any script of theirs.
UNRESTRICTED = ("/run.html", "/run_worker.js")


def application() -> web.Application:
    """The routes; a caller may add its own before serving."""
    app = web.Application()
    app[FETCHES] = {}
    site = Site.build()
    config = site.config
    csp = policy(config)

    async def boot(_: web.Request) -> web.Response:
        return web.json_response(dict(config))

    async def own_wheel(_: web.Request) -> web.Response:
        return web.Response(body=site.package)

    async def jinja(_: web.Request) -> web.Response:
        return web.Response(body=await asyncio.to_thread(wheel.build_jinja))

    async def replay(_: web.Request) -> web.FileResponse:
        return web.FileResponse(assets.PACKAGE / "device" / "replay.js")

    async def page(_: web.Request) -> web.Response:
        body = await asyncio.to_thread(site.page)
        return web.Response(body=body, content_type="text/html", charset="utf-8")

    async def listing(_: web.Request) -> web.Response:
        return web.Response(body=await asyncio.to_thread(site.listing))

    async def headers(request: web.Request, response: web.StreamResponse) -> None:
        suffix = Path(request.path).suffix
        if response.status < 300 and suffix in TYPES:
            response.headers["Content-Type"] = TYPES[suffix]
        response.headers["X-Content-Type-Options"] = "nosniff"
        lasting = response.status < 300 and LASTING.match(request.path)
        response.headers["Cache-Control"] = FOR_EVER if lasting else "no-cache"
        if request.path not in UNRESTRICTED:
            response.headers["Content-Security-Policy"] = csp

    app.on_response_prepare.append(headers)
    app.router.add_get("/", page)
    app.router.add_get(f"/{PAGE}", page)
    app.router.add_get(f"/{LISTING}", listing)
    app.router.add_get("/boot.json", boot)
    app.router.add_get("/replay.js", replay)
    app.router.add_get(f"/{config['wheel']}", own_wheel)
    app.router.add_get(f"/{config['jinja']}", jinja)
    folder = vendor.cache() / "vendor"
    folder.mkdir(parents=True, exist_ok=True)
    app.router.add_static("/vendor", folder)
    app.router.add_get("/models/{path:.+}", model_file)
    return app


async def model_file(request: web.Request) -> web.StreamResponse:
    """A file of a model: fetched, embedded, or yet to be fetched."""
    asked = request.match_info["path"]
    for folder in (vendor.cache() / "models", assets.WEB / "models"):
        path = (folder / asked).resolve()
        if path.is_relative_to(folder.resolve()) and path.is_file():
            return web.FileResponse(path)
    name, _, file = asked.partition("/")
    if name in parts.MODELS and file in parts.MODELS[name].take.values():
        return await fetch(request.app[FETCHES], name)
    raise web.HTTPNotFound


async def fetch(under_way: dict[str, asyncio.Task[Path]], name: str) -> web.Response:
    """Start fetching a model, or tell how that stands."""
    if name not in under_way:
        under_way[name] = asyncio.create_task(asyncio.to_thread(vendor.model, name))
    if not under_way[name].done():
        return web.Response(status=202, text=f"fetching {parts.MODELS[name].what}")
    try:
        await under_way.pop(name)  # whoever asks next starts anew
    except SetupError as error:
        return web.Response(status=503, text=str(error))
    return web.Response(status=202, text="fetched")


@asynccontextmanager
async def serve(app: web.Application, port: int = 0) -> AsyncIterator[str]:
    """Serve on 127.0.0.1 (0: any free port) and yield the address, ending in a slash."""
    app.router.add_static("/", assets.WEB)  # last: it would swallow every other route
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        except OSError as error:
            raise SetupError(f"port {port} of 127.0.0.1: {error.strerror}") from error
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
