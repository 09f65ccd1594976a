"""The package in a page's own window, where a notebook or a small page would have it."""

import harness

BOOT = """async (source) => {
  const { boot } = await import("/boot.js");
  const pyodide = await boot();
  return await pyodide.runPythonAsync(source);
}"""

PROGRAM = """
import js
import numpy as np
import tensortab as tt

device = await tt.Device.open("browser")
g = tt.Graph()
g.output("y", tt.ops.mul(g.input("x", (3,)), 2.0))
session = await device.compile(g)
out = await session.run(x=np.arange(3))
f"{hasattr(js, 'document')} {device.info.kind} {out['y'].tolist()}"
"""


def test_a_device_in_a_window(loop: harness.Loop, chrome: harness.Tab) -> None:
    async def work() -> str:
        context = await chrome.page.browser.new_context()
        try:
            page = await context.new_page()
            await page.goto(chrome.page.address)  # under the pages' Content-Security-Policy
            return await page.evaluate(BOOT, PROGRAM)
        finally:
            await context.close()

    assert loop.run(work()) == "True browser [0.0, 2.0, 4.0]"
