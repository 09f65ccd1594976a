"""What loading a model of a real size takes in a browser tab: seconds, bytes a second, memory.

    python bench/load.py --shape llama-3.2-1b --write
    python bench/load.py --shape llama-3.2-1b --layers 2 --tokens 4      # where memory is short

Makes a checkpoint of exactly the model's shapes (random_checkpoint.py), serves it with ranges,
loads it in Chromium and generates tokens. JSON of: seconds by stage, bytes of the checkpoint and of
the GPU's buffers, and megabytes of memory before the load, at their peak in each stage, and beyond
what they were before: Python's heap (wasm memory never shrinks, so its end is its peak), the
renderer (that heap, JavaScript's own and what is on its way to the GPU) and the GPU process (on a
software adapter with the buffers in it), both as RSS sampled every 20 ms. The browser is started
without Playwright, since an inspected renderer keeps up to 200 MB of the bodies it was sent.
"""

import asyncio
import datetime as dt
import json
import os
import pickle
import re
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
from aiohttp import web
from random_checkpoint import write_checkpoint

from tensortab import chrome
from tensortab.bench.shapes import SHAPES
from tensortab.browser_run import Page

HERE = Path(__file__).parent
IN_TAB = """
import json
import pickle
import sys
import time
import js
import pyodide_js
import tensortab as tt
from tensortab import memory
from tensortab.models import sessions
from tensortab.text import load

SECONDS = {}

def timed(owner, name, stage):
    inner = getattr(owner, name)
    async def measured(*args, **kwargs):
        print(f"stage {stage}", flush=True)
        start = time.perf_counter()
        try:
            return await inner(*args, **kwargs)
        finally:
            SECONDS[stage] = SECONDS.get(stage, 0) + time.perf_counter() - start
    setattr(owner, name, measured)

def heap():
    return pyodide_js._module.HEAP8.length / 1e6

async def main(payload):
    job = pickle.loads(payload)
    timed(load.Tokenizer, "open", "tokenizer")
    timed(load, "open_checkpoint", "headers")
    timed(tt.Device, "compile", "compile")
    timed(sessions, "fill", "weights")
    device = await tt.Device.open("browser")
    before, told = heap(), [0, 0]
    print("stage folder", flush=True)
    def progress(stage, done, total):
        if stage == "weights" and done * 20 // total > told[0]:
            told[0] = done * 20 // total
            print(f"{done / 1e6:.0f} of {total / 1e6:.0f} MB, heap {heap():.0f} MB", flush=True)
    start = time.perf_counter()
    model = await tt.load(
        job["url"], quantize=job["quantize"], context=job["context"], device=device,
        progress=progress,
    )
    SECONDS["all"] = time.perf_counter() - start
    print("stage end", flush=True)
    after = heap()
    ids = model.tokenizer.encode("def add(a, b):")
    start = time.perf_counter()
    first = await model.generate_ids(ids, max_new_tokens=1, ignore_eos=True)
    middle = time.perf_counter()
    tokens = await model.generate_ids(
        [*ids, *first], max_new_tokens=job["tokens"], ignore_eos=True, temperature=0
    )
    end = time.perf_counter()
    need = memory.need([model.prompt.plan, model.decode.plan])
    return pickle.dumps({
        "device": str(device.info),
        "architecture": device.info.architecture,
        "browser": js.navigator.userAgent,
        "seconds": SECONDS,
        "python": (before, after),
        "buffers": {"weights": need.weights, "caches": need.caches, "work": need.work},
        "bits": model.bits,
        "first_token_s": middle - start,
        "tokens": len(tokens),
        "tokens_per_s": len(tokens) / (end - middle),
    })
"""


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[str]:
    """The folder on a server of this machine, with ranges, for pages of other origins."""

    async def shown(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Expose-Headers"] = "Content-Range"

    app = web.Application()
    app.on_response_prepare.append(shown)
    app.router.add_static("/", folder)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Sampled:
    """Megabytes of RSS of this process's renderers and GPU processes, now and at most."""

    KINDS = ("renderer", "gpu-process")

    def __init__(self) -> None:
        self.peaks: dict[str, dict[str, float]] = {kind: {} for kind in self.KINDS}
        self.stage = "before"
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def enter(self, stage: str) -> None:
        """A stage begins; the last one is the end."""
        if stage != "end":
            self._note()
            self.stage = stage
            return
        self.stage = stage
        self._thread.join()

    def _watch(self) -> None:
        while self.stage != "end":
            if self.stage == "before":
                for peaks in self.peaks.values():
                    peaks.clear()  # what it is at the end of it counts
            self._note()
            time.sleep(0.02)

    def _note(self) -> None:
        stage = self.stage
        for kind, size in self.now().items():
            self.peaks[kind][stage] = max(self.peaks[kind].get(stage, 0), round(size))

    def now(self) -> dict[str, float]:
        parents, kinds, sizes = {}, {}, {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                status = (folder / "status").read_text()
                line = (folder / "cmdline").read_text()
            except OSError:  # it ended meanwhile
                continue
            pid = int(folder.name)
            parents[pid] = int(re.search(r"PPid:\s*(\d+)", status)[1])
            kind = re.search(r"--type=([\w-]+)", line)
            rss = re.search(r"VmRSS:\s*(\d+) kB", status)
            if kind and rss:
                kinds[pid], sizes[pid] = kind[1], int(rss[1]) * 1024 / 1e6
        found = dict.fromkeys(self.KINDS, 0.0)
        for pid, kind in kinds.items():
            above = pid
            while above in parents and above != os.getpid():
                above = parents[above]
            if above == os.getpid() and kind in found:
                found[kind] += sizes[pid]
        return found


@asynccontextmanager
async def plain(*_: Any, **__: Any) -> AsyncIterator["Plain"]:
    """A Chromium that nobody inspects, in the place of Playwright's."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Plain(profile)
        try:
            yield browser
        finally:
            if browser.process:
                browser.process.terminate()
                await browser.process.wait()


class Plain:
    """As much of Playwright's browser and page as opening one address takes."""

    def __init__(self, profile: str) -> None:
        self.profile = profile
        self.process: asyncio.subprocess.Process | None = None

    async def new_page(self) -> "Plain":
        return self

    async def goto(self, url: str) -> None:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        self.process = await asyncio.create_subprocess_exec(
            await chrome.locate(),
            *("--headless=new", f"--user-data-dir={self.profile}", *chrome.flags(), *root, url),
            env={name: str(value) for name, value in chrome.environment().items()},
            stderr=asyncio.subprocess.DEVNULL,
        )


async def measure(folder: Path, job: dict[str, Any], source: str = IN_TAB) -> dict[str, Any]:
    """What `main` of the source gives in a tab, with its seconds rounded, and its memory."""
    memory = Sampled()
    chrome.launch = plain

    def output(_: str, data: bytes) -> None:
        for line in data.decode().splitlines():
            if line.startswith("stage "):
                memory.enter(line.removeprefix("stage "))
            elif line.strip():
                click.echo(line, err=True)

    async with served(folder) as url, Page.open() as page:
        payload = pickle.dumps(job | {"url": url})
        found = pickle.loads(await page.call(source, payload, on_output=output))
    before, after = map(round, found.pop("python"))
    found["seconds"] = {stage: round(s, 2) for stage, s in found["seconds"].items()}
    found["memory_mb"] = {
        "python": {"before": before, "peak": after, "beyond": after - before},
        **{
            kind: {**peaks, "beyond": max(peaks.values()) - peaks["before"]}
            for kind, peaks in memory.peaks.items()
        },
    }
    return found


@click.command()
@click.option("--shape", type=click.Choice([*SHAPES]), default="llama-3.2-1b", show_default=True)
@click.option("--layers", type=int, help="Fewer than the model has.")
@click.option("--quantize", default="auto", show_default=True, help="none: float32 weights.")
@click.option("--context", default=2048, show_default=True, help="Tokens the caches hold.")
@click.option("--tokens", default=32, show_default=True, help="To generate afterwards.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Keep the checkpoint here, or use it."
)
@click.option("--write", is_flag=True, help="Record the result in bench/results/.")
@click.option("--device", help="Its name in the record's; the adapter's architecture if left out.")
def main(
    shape: str,
    layers: int | None,
    quantize: str,
    context: int,
    tokens: int,
    folder: Path | None,
    write: bool,
    device: str | None,
) -> None:
    config = SHAPES[shape] | ({"num_hidden_layers": layers} if layers else {})
    job = {
        "quantize": None if quantize == "none" else quantize,
        "context": context,
        "tokens": tokens,
    }
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        write_checkpoint(place, config)
        files = [*place.glob("*.safetensors")]
        size = sum(file.stat().st_size for file in files)
        found = asyncio.run(measure(place, job))
    result = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "shape": shape,
        "layers": config["num_hidden_layers"],
        **{name: job[name] for name in ("quantize", "context")},
        "checkpoint_bytes": size,
        "files": len(files),
        **found,
        "mb_per_s": round(size / 1e6 / found["seconds"]["weights"], 1),
    }
    architecture = result.pop("architecture")
    text = json.dumps(result, indent=2)
    click.echo(text)
    if write:
        cut = f"-{layers}-layers" if layers else ""
        name = f"load-{shape}{cut}-{device or architecture}.json"
        (HERE / "results" / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
