"""A page in Firefox, driven as a person would: WebDriver BiDi over Firefox's own websocket.

Playwright drives Chromium alone here. Source: https://w3c.github.io/webdriver-bidi/
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tensortab import firefox

START = 60.0  # seconds until Firefox listens
PATIENCE = 120.0  # for the page to become something; a software adapter, and two cores
ADDRESS = "WebDriverBiDiServer.json"  # Firefox writes it into its profile
ENTER = "\ue006"


@dataclass
class FirefoxPage:
    """The one tab of a Firefox."""

    socket: aiohttp.ClientWebSocketResponse
    context: str = ""
    complaints: list[str] = field(default_factory=list)  # errors on its console
    _ids: count = field(default_factory=count)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator["FirefoxPage"]:
        """A Firefox of its own on that page."""
        async with (
            firefox.launch("about:blank", options=("--remote-debugging-port", "0")) as profile,
            aiohttp.ClientSession() as client,
            client.ws_connect(await listening(profile), max_msg_size=0) as socket,
        ):
            page = cls(socket)
            await page.send("session.new", capabilities={})
            await page.send("session.subscribe", events=["log.entryAdded"])
            tree = await page.send("browsingContext.getTree")
            page.context = tree["contexts"][0]["context"]
            await page.goto(url)
            yield page

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """A command's result; events that come before it are noted."""
        number = next(self._ids)
        await self.socket.send_json({"id": number, "method": method, "params": params})
        while True:
            answer = await self.socket.receive_json(timeout=PATIENCE)
            if answer.get("method") == "log.entryAdded" and answer["params"]["level"] == "error":
                self.complaints.append(answer["params"]["text"])
            if answer.get("id") == number:
                assert answer["type"] == "success", f"{method}: {answer}"
                return answer["result"]

    async def goto(self, url: str) -> None:
        await self.send("browsingContext.navigate", context=self.context, url=url, wait="complete")

    async def evaluate(self, expression: str) -> dict[str, Any]:
        """What JavaScript gave, as the protocol says it: type, value, sharedId."""
        where = {"context": self.context}
        answer = await self.send(
            "script.evaluate", expression=expression, target=where, awaitPromise=True
        )
        assert answer["type"] == "success", f"{expression}: {answer}"
        return answer["result"]

    async def text(self, selector: str) -> str:
        """What a person reads there; nothing where there is no such element."""
        found = f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"
        return (await self.evaluate(found))["value"]

    async def until(self, selector: str, text: str = "") -> None:
        """Wait for an element, and for what it has to say."""
        found = f"document.querySelector({json.dumps(selector)})"
        asked = f"Boolean({found}?.textContent.includes({json.dumps(text)}))"
        async with asyncio.timeout(PATIENCE):
            while not (await self.evaluate(asked))["value"]:  # noqa: ASYNC110  # another process's
                await asyncio.sleep(0.2)

    async def fill(self, selector: str, text: str) -> None:
        """Type over what a field holds, key by key, and leave the focus there."""
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        await self.press(*text)

    async def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        await self.send("input.performActions", context=self.context, actions=[source])

    async def click(self, selector: str) -> None:
        """Scroll there, and click its middle."""
        origin = {"type": "element", "element": await self._element(selector)}
        actions = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        source = {"type": "pointer", "id": "mouse", "actions": actions}
        await self.send("input.performActions", context=self.context, actions=[source])

    async def open_files(self, selector: str, *files: Path) -> None:
        """Choose files for an input."""
        element = await self._element(selector)
        paths = [str(file) for file in files]
        await self.send("input.setFiles", context=self.context, element=element, files=paths)

    async def _element(self, selector: str) -> dict[str, str]:
        found = f"document.querySelector({json.dumps(selector)})"
        scrolled = f"{found}.scrollIntoView({{block: 'center'}}), {found}"
        return {"sharedId": (await self.evaluate(scrolled))["sharedId"]}


async def listening(profile: Path) -> str:
    """The address at which a Firefox that just started listens."""
    async with asyncio.timeout(START):
        while True:
            try:
                at = json.loads(await asyncio.to_thread((profile / ADDRESS).read_text))
            except (FileNotFoundError, json.JSONDecodeError):  # not yet, or not whole yet
                await asyncio.sleep(0.1)
            else:
                return f"ws://{at['ws_host']}:{at['ws_port']}/session"
