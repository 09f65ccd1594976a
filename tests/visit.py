"""A visit to the demo page, as tests of every view make it, and what it did that it should not."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import BrowserContext, ConsoleMessage, Page, Route, expect

import harness

expect.set_options(timeout=90_000)  # a software adapter, and a machine that does other things too

Do = Callable[[Coroutine[Any, Any, Any]], Any]


@dataclass
class Visit:
    """A page in a context of its own, and what it did that it should not."""

    do: Do
    address: str
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, do: Do, tab: harness.Tab, profile: BrowserContext | None = None) -> "Visit":
        """Without a profile in one of its own, with nothing in its cache.

        Without a service worker, whose answers `route` and `replace` would not see.
        """
        context = profile or do(tab.page.browser.new_context(service_workers="block"))
        visit = cls(do, tab.page.address, context, do(context.new_page()))
        do(visit._watch())
        return visit

    def on(self, event: str, note: Callable[[Any], None]) -> None:
        """Have the page's events noted."""

        async def listen() -> None:  # on the loop's own thread: `on` starts a task of its own
            self.page.on(event, note)

        self.do(listen())

    async def _watch(self) -> None:
        # On the loop's own thread, as above.
        await self.page.route(lambda url: not url.startswith(self.address), self._refuse)
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def _refuse(self, route: Route) -> None:
        self.foreign.append(route.request.url)
        await route.abort()

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def open(self, view: str, state: str) -> None:
        """The view by its address, in a page of its own; waits for the engine's state."""
        self.do(self.page.goto("about:blank"))  # another #fragment alone would not load anew
        self.do(self.page.goto(f"{self.address}#{view}"))
        self.expect("#engine").to_have_attribute("data-state", state)

    def replace(self, path: str, change: Callable[[str], str]) -> None:
        """Serve a script of the page otherwise than it is."""

        async def fulfil(route: Route) -> None:
            text = change(await (await route.fetch()).text())
            await route.fulfill(body=text, content_type="text/javascript")

        self.do(self.page.route(path, fulfil))

    def expect(self, selector: str) -> "Expect":
        return Expect(self.do, expect(self.page.locator(selector)))

    def text(self, selector: str) -> str:
        return self.do(self.page.locator(selector).first.inner_text())


@dataclass
class Expect:
    """Playwright's assertions, waited for."""

    do: Do
    assertions: Any

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self.do(getattr(self.assertions, name)(*args))
