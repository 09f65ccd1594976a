"""The page itself in Firefox: the views that write and search, on naga's WebGPU."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import harness
import tensortab as tt
from bidi import ENTER, FirefoxPage
from tensortab import assets, server, vendor
from tensortab.errors import SetupError

pytestmark = pytest.mark.firefox

PROMPT = "def fibonacci(n):"
NOTES = """# Ferries

The ferry stops running when the harbour freezes over.

- Knead the dough for ten minutes, then let it rest.
- The central bank raised interest rates again.
"""


@pytest.fixture(scope="module")
def page(loop: harness.Loop) -> Iterator[FirefoxPage]:
    async def start() -> tuple[FirefoxPage, AsyncExitStack]:
        await asyncio.to_thread(vendor.pyodide)
        stack = AsyncExitStack()
        address = await stack.enter_async_context(server.serve(server.application()))
        return await stack.enter_async_context(FirefoxPage.open(f"{address}#write")), stack

    try:
        page, stack = loop.run(start())
    except SetupError as error:
        harness.missing(f"firefox: {error}")
    yield page
    loop.run(stack.aclose())


def test_writes_what_the_model_writes_natively(
    loop: harness.Loop, page: FirefoxPage, native: harness.Native
) -> None:
    async def natively() -> str:
        model = await tt.load(str(assets.EMBEDDED), device=native.device)
        pieces = [p async for p in model.generate(PROMPT, temperature=0, max_new_tokens=12)]
        model.destroy()
        return "".join(pieces)

    async def work() -> None:
        await page.until("#engine[data-state=ready]")
        assert await page.text("#fact-model") == "python-16m"
        assert "No WebGPU" not in await page.text("#engine-notice")
        await page.fill("[name=temperature]", "0")
        await page.fill("[name=max_new_tokens]", "12")
        await page.fill("#prompt", PROMPT)
        await page.click("#run")
        await page.until("#write-summary", "12 tokens after 10 of prompt")
        written = await page.evaluate("document.querySelector('#written').textContent")
        assert written["value"] == await natively()

    loop.run(work())


def test_searches(loop: harness.Loop, page: FirefoxPage, tmp_path: Path) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text(NOTES)

    async def work() -> None:
        await page.click("nav a[href='#search']")
        await page.until("#search:not([hidden]) #documents li")
        await page.open_files("#file", notes)
        await page.fill("#query", "my mortgage gets more expensive")
        await page.press(ENTER)
        await page.until("#summary", "4 passages ranked.")
        assert await page.text("#ranking .text") == "The central bank raised interest rates again."
        assert float(await page.text("#ranking .value")) > 0.2
        await page.click("#ranking .place")
        assert await page.text("mark") == "- The central bank raised interest rates again."
        assert page.complaints == []

    loop.run(work())


def test_finds_its_texts_and_vectors_again(loop: harness.Loop, page: FirefoxPage) -> None:
    async def work() -> None:
        await page.send("browsingContext.reload", context=page.context, wait="complete")
        await page.until("#documents li")
        assert (await page.text("#documents .name")) == "notes.md"
        await page.evaluate("document.querySelector('#query').focus()")
        await page.press(ENTER)
        await page.until("#summary", "; all 4 remembered.")

    loop.run(work())
