"""How long the demo page takes: to be used, to write its first token, and its tokens a second.

    python bench/warm.py [--chrome PATH] [--rounds 3] [--json bench/results/warm-swiftshader.json]

Opens the page in headless Chromium as a person would, once with nothing in the browser's cache
(cold) and then twice again in the same profile (second, warm), presses Run at once, and reads the
page: seconds from the navigation's start until views switch and text can be typed (interactive), to
the model's readiness and to the first text, and the page's own rate. The second visit comes after
the page has kept its snapshot of Python. Of the rounds, each with a browser and a profile of its
own, the best counts: whatever else a machine does only adds.

The longest task is how long the page's own thread was blocked at most, in all rounds: 0 where no
task took over 50 ms, of which alone a browser tells; since the navigation, and while text came.
TENSORTAB_CHROME and TENSORTAB_ADAPTER choose as ever.
"""

import argparse
import asyncio
import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from tensortab import chrome, server, vendor

PROMPT = "def fibonacci(n):"
TOKENS = 64
SEED = 3  # which does not end before as many tokens
PATIENCE = 120_000  # ms
# Performance entries of the page: what a person waits for, in ms since the navigation's start.
MARKS = """() => Object.fromEntries(
  performance.getEntriesByType("mark").map(({ name, startTime }) => [name, startTime]))"""
# Tasks of the page's thread that took over 50 ms: when they began, and how long they took.
WATCH = """
globalThis.longTasks = [];
new PerformanceObserver((list) => {
  for (const { startTime, duration } of list.getEntries()) longTasks.push([startTime, duration]);
}).observe({ type: "longtask", buffered: true });
"""
KEPT = """async () => {
  while (!(await caches.has("tensortab-python"))) await new Promise((r) => setTimeout(r, 100));
}"""


async def visit(page: Page, address: str) -> dict[str, float]:
    """One navigation, and Run pressed as soon as it is there."""
    await page.goto(address)
    await page.fill("#prompt", PROMPT)
    for name, value in {"max_new_tokens": TOKENS, "seed": SEED}.items():
        await page.fill(f"[name={name}]", str(value))
    await page.press("#prompt", "Control+Enter")
    summary = page.locator("#write-summary")
    await expect(summary).to_contain_text("of prompt", timeout=PATIENCE)
    marks = await page.evaluate(MARKS)
    tasks = await page.evaluate("longTasks")
    text = await summary.inner_text()
    found = re.search(r"(\d+) tokens .* · ([\d,.]+) tokens/s", text)
    assert found, text
    writing = [took for began, took in tasks if began >= marks["first text"]]
    return {
        "interactive_s": marks["interactive"] / 1000,
        "ready_s": marks["ready"] / 1000,
        "first_token_s": marks["first text"] / 1000,
        "tokens_per_s": float(found[2].replace(",", "")),
        "longest_task_ms": max((took for _, took in tasks), default=0),
        "longest_task_writing_ms": max(writing, default=0),
    }


async def measure(path: str | None) -> tuple[str, str, list[dict[str, float]]]:
    """The adapter, the browser's version, and a cold and two warm visits."""
    async with server.serve(server.application()) as address, chrome.launch(path) as browser:
        context = await browser.new_context()
        await context.add_init_script(WATCH)
        page = await context.new_page()
        cold = await visit(page, address)
        adapter = await page.locator("#fact-adapter").inner_text()
        await page.evaluate(KEPT)
        # Chromium keeps compiled code from the second visit on.
        second, warm = await visit(page, address), await visit(page, address)
        return adapter, browser.version, [cold, second, warm]


def best(visits: list[dict[str, float]]) -> dict[str, float]:
    """Of each figure: the fewest seconds, the most tokens, the longest task."""
    choose = dict.fromkeys(("tokens_per_s", "longest_task_ms", "longest_task_writing_ms"), max)
    return {k: round(choose.get(k, min)(v[k] for v in visits), 2) for k in visits[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chrome", help="the Chromium to use")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the result there")
    options = parser.parse_args()
    vendor.pyodide()
    rounds = [asyncio.run(measure(options.chrome)) for _ in range(options.rounds)]
    adapter, version, _ = rounds[0]
    result: dict[str, Any] = {
        "command": "python bench/warm.py",
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "adapter": adapter,
        "chromium": version,
        "rounds": options.rounds,
        "prompt": PROMPT,
        "new_tokens": TOKENS,
        "cold": best([visits[0] for *_, visits in rounds]),
        "second": best([visits[1] for *_, visits in rounds]),
        "warm": best([visits[2] for *_, visits in rounds]),
    }
    text = json.dumps(result, indent=1) + "\n"
    print(text, end="")
    if options.json:
        options.json.write_text(text)


if __name__ == "__main__":
    main()
