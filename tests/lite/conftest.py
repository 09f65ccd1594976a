"""The notebooks' site, as it is published and as it is served, and a Chrome to visit it with."""

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from playwright.async_api import Browser

import harness
from lite_visit import Lite
from tensortab import chrome

BUILD = Path(__file__).parent.parent.parent / "lite" / "build_site.py"


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
