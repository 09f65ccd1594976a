"""The local server: pages, vendored parts, models and the package's own wheel, on 127.0.0.1 only.

    /                       web/ (the demo page and what it loads)
    /boot.json              where a page finds Pyodide, the wheel and the tokenizer
    /replay.js              the package's own JavaScript, which a page without eval imports itself
    /vendor/…  /models/…    the cache folder's, with HTTP ranges
    /wheel/tensortab-…whl   the running package, zipped when the server starts
    /wheel/jinja.zip        jinja2, zipped when a page first renders a chat template

Pages get a Content-Security-Policy that lets nothing out of the machine.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from tensortab import assets, parts, vendor, wheel
from tensortab.errors import SetupError

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
# These run a person's own Python, which may reach where it likes, as any script of theirs.
UNRESTRICTED = ("/run.html", "/run_worker.js")


def boot_config() -> dict[str, str]:
    """What boot.js reads: addresses under the site's root, or the CDN's if nothing is vendored."""
    local = vendor.is_vendored()
    return {
        "pyodide": f"{parts.PYODIDE}/" if local else parts.CDN_PYODIDE,
        "tokenizers": f"{parts.TOKENIZERS}/tokenizers.mjs" if local else parts.CDN_TOKENIZERS,
        "wheel": f"wheel/{wheel.name()}",
        "replay": "replay.js",
        "jinja": "wheel/jinja.zip",
    }


def policy(config: dict[str, str]) -> str:
    """The Content-Security-Policy of a page that boots from `config`."""
    urls = map(urlsplit, config.values())
    sources = " ".join(sorted({"'self'", *(f"https://{url.netloc}" for url in urls if url.netloc)}))
    return "; ".join(
        [
            f"default-src {sources}",
            f"script-src {sources} 'wasm-unsafe-eval'",
            "img-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def application() -> web.Application:
    """The routes; a caller may add its own before serving."""
    app = web.Application()
    config, package = boot_config(), wheel.build()
    csp = policy(config)

    async def boot(_: web.Request) -> web.Response:
        return web.json_response(config)

    async def own_wheel(_: web.Request) -> web.Response:
        return web.Response(body=package)

    async def jinja(_: web.Request) -> web.Response:
        return web.Response(body=await asyncio.to_thread(wheel.build_jinja))

    async def replay(_: web.Request) -> web.FileResponse:
        return web.FileResponse(assets.PACKAGE / "device" / "replay.js")

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(assets.WEB / "index.html")

    async def headers(request: web.Request, response: web.StreamResponse) -> None:
        suffix = Path(request.path).suffix
        if response.status < 300 and suffix in TYPES:
            response.headers["Content-Type"] = TYPES[suffix]
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-cache"  # ask again; an unchanged file answers 304
        if request.path not in UNRESTRICTED:
            response.headers["Content-Security-Policy"] = csp

    app.on_response_prepare.append(headers)
    app.router.add_get("/", index)
    app.router.add_get("/boot.json", boot)
    app.router.add_get("/replay.js", replay)
    app.router.add_get(f"/wheel/{wheel.name()}", own_wheel)
    app.router.add_get(f"/{config['jinja']}", jinja)
    for name in ("vendor", "models"):
        folder = vendor.cache() / name
        folder.mkdir(parents=True, exist_ok=True)
        app.router.add_static(f"/{name}", folder)
    return app


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
