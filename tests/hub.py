"""A stand-in for a hub of models on 127.0.0.1: the same addresses, redirects included."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

OPEN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Content-Range",
}
# Or the browser takes what it was sent a minute ago for fresh, and asks nobody.
NOT_KEPT = {"Cache-Control": "no-store"}


@dataclass
class Hub:
    """Folders by their ids, and what goes wrong with them."""

    folders: dict[str, Path] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)  # to pages of other origins
    weights_left: float = float("inf")  # how many more requests for weights are answered
    late: asyncio.Event | None = None  # those beyond wait for this; None: they get a 500
    asked: list[tuple[str, str]] = field(default_factory=list)  # weights: file and range
    address: str = ""

    @asynccontextmanager
    async def served(self) -> AsyncIterator["Hub"]:
        """On any free port, for as long as the block lasts."""
        app = web.Application()
        app.router.add_route("*", "/{owner}/{name}/resolve/main/{file}", self._resolve)
        app.router.add_route("*", "/files/{owner}/{name}/{file}", self._file)
        app.on_response_prepare.append(self._head)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield self
        await runner.cleanup()

    def works(self) -> None:
        """Nothing goes wrong from here on, and what waits goes on."""
        self.weights_left = float("inf")
        self.asked.clear()
        if self.late:
            self.late.set()
            self.late = None

    async def _head(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(NOT_KEPT)
        if _id(request) not in self.closed:
            response.headers.update(OPEN)

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        if _id(request) in self.gated:
            raise web.HTTPUnauthorized
        raise web.HTTPFound(f"/files/{_id(request)}/{request.match_info['file']}")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        file = request.match_info["file"]
        path = self.folders.get(_id(request), Path("/nowhere")) / file
        if not path.is_file():
            raise web.HTTPNotFound
        if path.suffix == ".safetensors" and request.method == "GET":
            if self.weights_left < 1 and self.late is None:
                raise web.HTTPInternalServerError
            # Noted before the wait: after it another test may be under way.
            self.asked.append((file, request.headers["Range"]))
            if self.weights_left < 1:
                await self.late.wait()
            else:
                self.weights_left -= 1
        return web.FileResponse(path)


def _id(request: web.Request) -> str:
    return "{owner}/{name}".format(**request.match_info)
