"""The notebooks' site, as it is published and as it is served, and a Chrome to visit it with."""

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
from playwright.async_api import Browser, Page, Route

import harness
from tensortab import chrome, parts

BUILD = Path(__file__).parent.parent.parent / "lite" / "build_site.py"


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


def build_site() -> ModuleType:
    """lite/build_site.py, which is no package's."""
    spec = importlib.util.spec_from_file_location("build_site", BUILD)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def browser(loop: harness.Loop) -> Iterator[Browser]:
    launched = chrome.launch()
    yield loop.run(launched.__aenter__())
    loop.run(launched.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def lite(
    loop: harness.Loop, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lite]:
    """The site as any web server would host it."""
    site, folder = build_site(), tmp_path_factory.mktemp("lite")
    site.build(folder / "site")
    site.distribution(folder / "pyodide")
    with site.server(folder / "site") as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield Lite(loop, browser, f"http://127.0.0.1:{running.server_port}/", folder / "pyodide")
        running.shutdown()
        thread.join()


@pytest.fixture
def lite_served(loop: harness.Loop, browser: Browser, tmp_path: Path) -> Iterator[Lite]:
    """The site as `nox -s lite -- serve` serves it."""
    command = [sys.executable, BUILD, tmp_path / "site", "--serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            address = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
            yield Lite(loop, browser, address, None)
        finally:
            process.terminate()
