"""A browser page that runs Python: `Page` opens one, runs files in it and calls functions in it.

One websocket to this process carries everything, in frames described in web/run_worker.js, and
works in Chrome and Firefox alike. Its closing says that the page is gone, whatever became of it.
Errors: SetupError (no browser), DeviceLostError (the GPU went away and nobody opened another
device), DeviceError (the page went away), TimeoutError; what a call raised, see guest.result_of.
"""

import asyncio
import json
import secrets
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web
from playwright.async_api import Browser

from tensortab import chrome as chromium
from tensortab import firefox, guest, server, vendor
from tensortab.errors import DeviceError, DeviceLostError, SetupError

OnOutput = Callable[[str, bytes], None]  # "stdout" or "stderr", and what was written

BOOT_SECONDS = 120.0
# A program whose device is lost may end by itself, or open another device and go on.
LOST_SECONDS = 5.0


def ignore(_stream: str, _data: bytes) -> None:
    """Drop output."""


@dataclass
class Page:
    """A tab with Pyodide, numpy and this package; one run or call at a time."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    browser: Browser | None = None  # Playwright's, for Chrome
    gone: str = ""  # why nothing can be run any more
    address: str = ""  # of the local server, ending in a slash
    shared: str = ""  # where a shared folder lies, without a slash
    _files: list[Path] = field(default_factory=list)
    _frames: asyncio.Queue[tuple[dict[str, Any], bytes]] = field(default_factory=asyncio.Queue)
    _socket: web.WebSocketResponse | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        browser: str = "chrome",
        *,
        chrome: str | None = None,
        flags: Sequence[str] = (),
        headed: bool = False,
        mounts: Iterable[str | Path] = (),
        share: str | Path | None = None,
        timeout: float = BOOT_SECONDS,  # noqa: ASYNC109  # a public limit in seconds, as in call()
    ) -> AsyncIterator["Page"]:
        """Start a browser on a page of the local server, and wait until Python stands in it.

        `mounts` are copied into the tab's file system. `share` is a folder that the page may read
        at the address `shared`, by ranges: how weights come in without being copied first.
        """
        if browser not in ("chrome", "firefox"):
            raise SetupError(f"browser is {browser!r}, expected 'chrome' or 'firefox'")
        if not vendor.is_vendored():
            await asyncio.to_thread(vendor.pyodide)
        page = cls()
        async with AsyncExitStack() as stack:
            app = server.application()
            app.router.add_get("/bridge", page._bridge)
            app.router.add_get(f"/mount/{page.token}/{{index}}", page._mounted)
            if share is not None:
                app.router.add_static(f"/shared/{page.token}", share, follow_symlinks=True)
            page.address = await stack.enter_async_context(server.serve(app))
            page.shared = f"{page.address}shared/{page.token}"
            url = f"{page.address}run.html?{page.token}"
            try:
                async with asyncio.timeout(timeout):
                    if browser == "chrome":
                        launched = chromium.launch(chrome, flags, headed=headed)
                        page.browser = await stack.enter_async_context(launched)
                        await (await page.browser.new_page()).goto(url)
                    else:
                        await stack.enter_async_context(firefox.launch(url, headed=headed))
                    await page._mount(mounts)
            except TimeoutError as error:
                raise DeviceError(f"{browser}'s page did not start in {timeout:g} s") from error
            yield page

    async def run(
        self, path: str | Path, argv: Sequence[str] = (), on_output: OnOutput = ignore
    ) -> int:
        """Run a Python file with sys.argv = [path, *argv]; its exit code."""
        file = Path(path).absolute()  # noqa: ASYNC240  # a local file, in no time
        head = {
            "type": "run",
            "path": str(file),
            "argv": [str(path), *argv],
            "folder": str(Path.cwd()),
        }
        answer, _ = await self._ask(head, file.read_bytes(), "exit", on_output)
        code: int = answer["code"]
        return code

    async def call(
        self,
        source: str,
        payload: bytes = b"",
        timeout: float | None = None,  # noqa: ASYNC109  # the caller's limit; it ends the page too
        on_output: OnOutput = ignore,
    ) -> bytes:
        """Run source that defines `async def main(payload: bytes) -> bytes`; what main returned."""
        async with asyncio.timeout(timeout):
            head = {"type": "call", "source": source}
            _, result = await self._ask(head, payload, "result", on_output)
        return guest.result_of(result)

    async def _mount(self, mounts: Iterable[str | Path]) -> None:
        """Tell the worker what to put where, and wait for its start."""
        folders: set[Path] = set()
        for mount in map(Path, mounts):
            top = mount.absolute()
            if not top.exists():
                raise FileNotFoundError(f"--mount {mount}: there is no such file or folder")
            found = [top, *top.rglob("*")]
            self._files += [path for path in found if path.is_file()]
            folders |= {path for path in found if path.is_dir()} | {top.parent}
        head = {
            "type": "open",
            "mounts": [[str(p), f"mount/{self.token}/{i}"] for i, p in enumerate(self._files)],
            "folders": sorted(map(str, folders)),
        }
        await self._next()  # the socket's opening
        await self._ask(head, b"", "ready", ignore)

    async def _ask(
        self, head: dict[str, Any], payload: bytes, until: str, on_output: OnOutput
    ) -> tuple[dict[str, Any], bytes]:
        """Send one frame and pass output on until the frame that answers it."""
        async with self._turn:
            if self.gone:
                raise DeviceError(self.gone)
            assert self._socket is not None, "the page is not open"
            try:
                await self._socket.send_bytes(encode(head, payload))
                return await self._answer(until, on_output)
            except BaseException as error:
                # Whatever runs there still runs: its answer would be taken for the next one's.
                self.gone = self.gone or f"the page was given up after {type(error).__name__}"
                raise

    async def _answer(self, until: str, on_output: OnOutput) -> tuple[dict[str, Any], bytes]:
        patience: float | None = None
        lost = ""
        while True:
            try:
                async with asyncio.timeout(patience):
                    head, payload = await self._next()
            except TimeoutError as error:
                if lost:
                    raise DeviceLostError(lost) from error
                raise
            kind = head["type"]
            if kind == until:
                return head, payload
            if kind in ("stdout", "stderr"):
                on_output(kind, payload)
            elif kind == "lost":
                patience = LOST_SECONDS
                lost = f"the GPU device was lost (its process or driver crashed): {head['text']}"
            elif kind == "device":
                patience, lost = None, ""
            elif kind in ("gone", "failed"):
                self.gone = head["text"]
                raise DeviceError(self.gone)

    async def _next(self) -> tuple[dict[str, Any], bytes]:
        return await self._frames.get()

    async def _bridge(self, request: web.Request) -> web.WebSocketResponse:
        """The websocket's end in this process."""
        if request.query_string != self.token:
            raise web.HTTPForbidden
        socket = web.WebSocketResponse(max_msg_size=0, compress=False)
        await socket.prepare(request)
        self._socket = socket
        self._frames.put_nowait(({"type": "opened"}, b""))
        while (message := await socket.receive()).type is WSMsgType.BINARY:
            self._frames.put_nowait(decode(message.data))
        reason = message.extra or "it crashed, ran out of memory, or the browser was closed"
        self._frames.put_nowait(({"type": "gone", "text": f"the page is gone: {reason}"}, b""))
        return socket

    async def _mounted(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(self._files[int(request.match_info["index"])])


def encode(head: dict[str, Any], payload: bytes) -> bytes:
    """A frame: u32 length of the JSON, the JSON, the payload."""
    text = json.dumps(head).encode()
    return struct.pack("<I", len(text)) + text + payload


def decode(frame: bytes) -> tuple[dict[str, Any], bytes]:
    """A frame's JSON and payload."""
    (size,) = struct.unpack_from("<I", frame)
    return json.loads(frame[4 : 4 + size]), frame[4 + size :]
