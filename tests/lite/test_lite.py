"""Every notebook in JupyterLite, in Chrome, without a network: from the page to its end."""

import re

import pytest
from playwright.async_api import Page, expect

from lite_visit import Lite
from tensortab import chrome

SECONDS = 240  # for a notebook; 20 are usual on two cores that do nothing else

# What a notebook shows at its end that only a run to its end shows.
SHOWN = {
    "1-hello-kernel": [r"100000 elements", r"broken\.wgsl:13:5", r"of the pixels agree"],
    "2-four-bits": [r"4 bits, group 32 +5\.00", r"group 128: 127 of the 128 weights"],
    "3-language-model": [r"·second", r'path, "rb"\) as f:', r"\d tokens a second"],
    "4-pytorch-model": [r"method forward", r"\d+ of 200 right", r"conv_tile", r"triangle"],
}


async def run_all(page: Page) -> str:
    """Run a notebook's cells; everything they show. Each has to end, none with an error."""
    await page.get_by_role("menuitem", name="Run", exact=True).click()
    await page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    cells = page.locator(".jp-NotebookPanel .jp-CodeCell")
    failed = cells.locator('[data-mime-type="application/vnd.jupyter.error"]')
    ended = cells.last.locator(".jp-InputPrompt").filter(has_text=re.compile(r"\[\d+\]"))
    # "Kernel idle" is no sign: it is said before the first cell, too.
    await expect(failed.or_(ended).first).to_be_visible(timeout=1000 * SECONDS)
    assert await failed.count() == 0, await failed.first.inner_text()
    prompts = await cells.locator(".jp-InputPrompt").all_inner_texts()
    assert [p.strip() for p in prompts] == [f"[{i + 1}]:" for i in range(len(prompts))]
    return "\n".join(await cells.locator(".jp-OutputArea-output").all_inner_texts())


def shown_by(lite: Lite, name: str) -> str:
    """Open a notebook and run it to its end; nothing foreign may be asked for on the way."""

    async def visit() -> str:
        page = await lite.open(name)
        try:
            return await run_all(page)
        finally:
            await page.context.close()

    shown = lite.loop.run(visit())
    if chrome.adapter() == "swiftshader":
        assert "google swiftshader (browser, software)" in shown
    assert lite.foreign == []
    assert lite.complaints == []
    return shown


@pytest.mark.parametrize("name", SHOWN)
def test_notebook_runs_to_its_end(lite: Lite, name: str) -> None:
    shown = shown_by(lite, name)
    for pattern in SHOWN[name]:
        assert re.search(pattern, shown), f"{pattern!r} is not in what {name} shows:\n{shown}"


def test_served_site_needs_no_cdn(lite_served: Lite) -> None:
    assert "of 200 right" in shown_by(lite_served, "4-pytorch-model")
