"""Every notebook in JupyterLite, in Chrome, without a network: from the page to its end."""

import re

import pytest
from playwright.async_api import Page, expect

from conftest import Lab
from tensortab import chrome

SECONDS = 120  # for a notebook; 25 are usual on two cores

# What a notebook shows at its end that only a run to its end shows.
SHOWN = {
    "1-hello-kernel": [r"100000 elements, largest difference to numpy \d", r"of the pixels agree"],
    "2-four-bits": [r"4 bits, group 32 +5\.00", r"group 128: \d+ of the 128 weights of row 0"],
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


@pytest.mark.parametrize("name", SHOWN)
def test_notebook_runs_to_its_end(lite: Lab, name: str) -> None:
    async def visit() -> str:
        page = await lite.open(f"{name}.ipynb")
        try:
            return await run_all(page)
        finally:
            await page.context.close()

    shown = lite.loop.run(visit())
    for pattern in SHOWN[name]:
        assert re.search(pattern, shown), f"{pattern!r} is not in what {name} shows:\n{shown}"
    if chrome.adapter() == "swiftshader":
        assert "google swiftshader (browser, software)" in shown
    assert lite.foreign == []
    assert lite.complaints == []
