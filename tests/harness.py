"""Devices for tests, with a synchronous face: this machine's driver, and a browser's tab.

An event loop in a thread of its own lives as long as the test session; browsers and devices live
on it.
"""

import asyncio
import os
import pickle
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import pytest

import tensortab as tt
from tensortab import chrome, system
from tensortab.browser_run import Page
from tensortab.errors import DeviceError, SetupError

T = TypeVar("T")

# The tab keeps one device for all graphs; it hangs on the package, which outlives a call.
RUN_GRAPH = """
import pickle
import tensortab as tt

async def main(payload):
    if not hasattr(tt, "shared_device"):
        tt.shared_device = await tt.Device.open("browser")
    graph, inputs = pickle.loads(payload)
    session = await tt.shared_device.compile(graph)
    try:
        return pickle.dumps(await session.run(**inputs))
    finally:
        session.destroy()
"""

DEVICE_INFO = """
import pickle
import tensortab as tt

async def main(_):
    return pickle.dumps((await tt.Device.open("browser")).info)
"""


class Loop:
    """An event loop in a background thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Native:
    """wgpu on this machine's driver; without a GPU that is Mesa's llvmpipe."""

    name = "native"

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.device = loop.run(tt.Device.open("native"))
        self.info = self.device.info
        if not system.has_gpu():
            assert "llvmpipe" in self.info.description, f"expected llvmpipe, got {self.info}"

    def run(self, graph: tt.Graph, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        return self._loop.run(self._run(graph, inputs))

    async def _run(self, graph: tt.Graph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        session = await self.device.compile(graph)
        try:
            return await session.run(**inputs)
        finally:
            session.destroy()

    def close(self) -> None:
        """The device goes with the process."""


class Tab:
    """Pyodide in a browser's tab."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.name = name
        self._loop = loop
        self._open()
        try:
            self.info = pickle.loads(self.call(DEVICE_INFO, timeout=60))
            if name == "chrome" and chrome.adapter() == "swiftshader":
                assert self.info.architecture == "swiftshader", f"unexpected adapter {self.info}"
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self._context: AbstractAsyncContextManager[Page] = Page.open(self.name)
        self.page = self._loop.run(self._context.__aenter__())

    def _live(self) -> Page:
        """The page; a new one after a time-out or a crash, so that one test fails and not all."""
        if self.page.gone:
            self.close()
            self._open()
        return self.page

    def run(self, graph: tt.Graph, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        return pickle.loads(self.call(RUN_GRAPH, pickle.dumps((graph, inputs)), timeout=120))

    def call(
        self,
        source: str,
        payload: bytes = b"",
        timeout: float = 120,
        on_output: Callable[[str, bytes], None] = lambda _stream, _data: None,
    ) -> bytes:
        """`main(payload)` of the source, in the tab."""
        return self._loop.run(self._live().call(source, payload, timeout, on_output))

    def run_file(self, path: Path, *argv: str) -> tuple[int, str, str]:
        """A file's exit code, stdout and stderr, run in the tab."""
        written = {"stdout": b"", "stderr": b""}

        def output(stream: str, data: bytes) -> None:
            written[stream] += data

        code = self._loop.run(self._live().run(path, argv, output))
        return code, written["stdout"].decode(), written["stderr"].decode()

    def close(self) -> None:
        self._loop.run(self._context.__aexit__(None, None, None))


Device = Native | Tab


def open_device(loop: Loop, name: str) -> Device:
    """The device of that name; if it cannot be had, a skip on a laptop, a failure under CI."""
    try:
        return Native(loop) if name == "native" else Tab(loop, name)
    except (SetupError, DeviceError) as error:
        missing(f"{name}: {error}")


def missing(text: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)
