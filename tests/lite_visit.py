"""A visit to the notebooks' site, and what it did that it should not."""

from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import Browser, Page, Route

import harness
from tensortab import parts


@dataclass
class Lite:
    """A browser on a site, and what it did that it should not."""

    loop: harness.Loop
    browser: Browser
    address: str
    pyodide: Path | None  # what Pyodide's CDN would give; None: nothing
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    async def open(self, notebook: str) -> Page:
        """A notebook as a first visitor comes to it, its cells there; close the page's context."""
        context = await self.browser.new_context(viewport={"width": 1200, "height": 780})
        await context.route("**", self._answer)
        page = await context.new_page()
        # A kernel that failed to start shows nothing in the notebook.
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        await page.goto(self.address)
        await page.locator(f'a[href$="path={notebook}.ipynb"]').click()
        await page.locator(".jp-NotebookPanel .jp-CodeCell").first.wait_for(timeout=60_000)
        # Whoever runs a cell before the kernel has its name is asked which kernel to take.
        toolbar = page.locator(".jp-NotebookPanel-toolbar")
        await toolbar.get_by_text("Python (Pyodide)").wait_for(timeout=60_000)
        return page

    async def _answer(self, route: Route) -> None:
        """Give Pyodide's files in its CDN's place; refuse and write down what else is foreign."""
        url = route.request.url
        name = url.removeprefix(parts.CDN_PYODIDE)
        if url.startswith(self.address):
            await route.continue_()
        elif self.pyodide and name != url and (self.pyodide / name).is_file():
            everyone = {"access-control-allow-origin": "*"}
            await route.fulfill(path=self.pyodide / name, headers=everyone)
        else:
            self.foreign.append(url)
            await route.abort()
