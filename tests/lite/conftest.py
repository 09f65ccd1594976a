"""The notebooks' site as it is published, and a Chrome in which everything foreign is refused."""

import importlib.util
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route

import harness
from tensortab import chrome, parts

LITE = Path(__file__).parent.parent.parent / "lite"


def build_site():
    """lite/build_site.py, which is no package's."""
    spec = importlib.util.spec_from_file_location("build_site", LITE / "build_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Lab:
    """A browser on the served site, and what it did that it should not."""

    loop: harness.Loop
    address: str
    pyodide: Path  # what the CDN would give
    browser: Browser
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    async def answer(self, route: Route) -> None:
        """Give Pyodide's files in its CDN's place; refuse and write down what else is foreign."""
        url = route.request.url
        name = url.removeprefix(parts.CDN_PYODIDE)
        if url.startswith(self.address):
            await route.continue_()
        elif name != url and (self.pyodide / name).is_file():
            everyone = {"access-control-allow-origin": "*"}
            await route.fulfill(path=self.pyodide / name, headers=everyone)
        else:
            self.foreign.append(url)
            await route.abort()

    async def open(self, notebook: str) -> Page:
        """A notebook as a first visitor has it, its cells there; close the page's context."""
        context = await self.browser.new_context(viewport={"width": 1200, "height": 780})
        await context.route("**", self.answer)
        page = await context.new_page()
        # A kernel that failed to start shows nothing in the notebook.
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        await page.goto(f"{self.address}lab/index.html?path={notebook}")
        await page.locator(".jp-NotebookPanel .jp-CodeCell").first.wait_for(timeout=60_000)
        return page


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of the site, and a folder with what Pyodide's CDN would give."""
    site = build_site()
    folder = tmp_path_factory.mktemp("lite")
    site.build(folder / "site")
    site.distribution(folder / "pyodide")
    with site.server(folder / "site") as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/", folder / "pyodide"
        running.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def lite(loop: harness.Loop, published: tuple[str, Path]) -> Iterator[Lab]:
    launched = chrome.launch()
    yield Lab(loop, *published, loop.run(launched.__aenter__()))
    loop.run(launched.__aexit__(None, None, None))
