"""Peer engines and tensortab side by side: the same shapes, in the same browser, in one run.

    python bench/peers/run.py --prepare        # fetches the engines, once
    python bench/peers/run.py --shape llama-3.2-1b --prompt 128 --prompt 2048 --new 128 --out FILE

README.md beside this says what is measured and how. A job that fails is a row with its error.
"""

import asyncio
import datetime as dt
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from aiohttp import web
from playwright.async_api import Error

sys.path.append(str(Path(__file__).parents[1]))  # bench/, where `peers` is

from peers import embedded, engines, models
from peers.jobs import PRODUCTS, Job, decoding, products
from peers.weights import Shape

from tensortab import __version__, chrome, server, vendor
from tensortab.bench.job import rounded
from tensortab.bench.record import write_whole
from tensortab.errors import SetupError

PAGE = Path(__file__).parent / "page"
OURS = "tensortab"
RATES = ("prefill_tok_s", "decode_tok_s")
ISOLATED = {  # threads in wasm want it
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def application() -> web.Application:
    """The page, the engines and the models."""

    async def isolate(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(ISOLATED)

    app = web.Application()
    app.on_response_prepare.append(isolate)
    app.router.add_static("/page", PAGE)
    for folder in ("vendor", "peers"):
        app.router.add_static(f"/{folder}", vendor.cache() / folder)
    return app


async def in_browser(url: str, work: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What a job gives, in a browser of its own."""
    async with chrome.launch() as browser:
        page = await browser.new_page()
        console: list[str] = []
        page.on("console", lambda message: console.append(message.text))
        await page.goto(f"{url}page/index.html")
        await page.wait_for_function("() => globalThis.run !== undefined")
        try:
            async with asyncio.timeout(seconds):
                found: dict[str, Any] = await page.evaluate("work => run(work)", work)
        except TimeoutError:
            raise TimeoutError(f"no result in {seconds:.0f} s") from None
        except Error as error:
            said = [line for line in console if "rror" in line][-3:]
            raise RuntimeError("; ".join([error.message.splitlines()[0], *said])) from error
        return found | {"browser": f"Chromium {browser.version}"}


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """A row's: the median of the repetitions, and each."""
    found.pop("browser")
    if "kernels" in found:
        kernels = {name: statistics.median(us) for name, us in found["kernels"].items()}
        return {"gpu_us": sum(kernels.values()), "kernels": kernels}
    reps = [{what: rounded(rate) for what, rate in rep.items()} for rep in found.pop("reps")]
    middle = {what: statistics.median(rep[what] for rep in reps) for what in RATES}
    return {what: rounded(rate) for what, rate in middle.items()} | {"reps": reps, **found}


class Record:
    """The result; the file, where one is wanted, is whole after every row."""

    def __init__(self, out: Path | None) -> None:
        self.out = out
        self.found: dict[str, Any] = {
            "command": shlex.join(["python", "bench/peers/run.py", *sys.argv[1:]]),
            "date": dt.datetime.now(dt.UTC).date().isoformat(),
            "adapter": chrome.adapter(),
            "rows": [],
        }

    def add(self, row: dict[str, Any]) -> None:
        self.found["rows"].append(row)
        self.found["times_the_peers"] = against(self.found["rows"])
        self.write()
        click.echo(json.dumps({k: v for k, v in row.items() if k != "reps"}), err=True)

    def write(self) -> None:
        if self.out:
            write_whole(self.out, self.found)


def against(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many times as fast tensortab is as each engine's best setting, by prompt."""
    best: dict[tuple[int, str, str], float] = {}
    for row in rows:
        for rate in RATES:
            key = (row.get("prompt", 0), row["engine"], rate)
            best[key] = max(best.get(key, 0.0), row.get(rate, 0.0))
    return [
        {"prompt": prompt, "engine": engine, "rate": rate, "times": rounded(own / theirs)}
        for (prompt, engine, rate), theirs in best.items()
        if engine != OURS and theirs and (own := best.get((prompt, OURS, rate)))
    ]


def ours(name: str, prompts: Sequence[int], new: int) -> dict[str, Any]:
    """What `tensortab bench model` records of the same shape, in the same browser."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "ours.json")
        lengths = [option for prompt in prompts for option in ("--prompt", str(prompt))]
        shape = {embedded.NAME: "tiny"}.get(name, name)
        own = ["bench", "model", "--shape", shape, *lengths, "--new", str(new), "--out", str(out)]
        command = [sys.executable, "-c", "from tensortab.cli import main; main()", *own]
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        if not out.exists():
            raise RuntimeError(f"tensortab {' '.join(own[:-2])} ended with {done.returncode}")
        found: dict[str, Any] = json.loads(out.read_text())
    return found


def add_ours(record: Record, name: str, prompts: Sequence[int], new: int) -> None:
    labels = {"engine": OURS, "version": __version__, "shape": name}
    try:
        found = ours(name, prompts, new)
    except RuntimeError as error:
        record.add(labels | {"error": str(error)})
        return
    record.found |= {key: found[key] for key in ("machine", "floor") if key in found}
    for row in found["rows"]:
        if row.get("section") == "model":
            record.add(labels | row | labels)
    for failed in found["errors"]:
        record.add(labels | failed)


def wanted(name: str, prompts: Sequence[int], new: int, reps: int) -> Iterator[Job]:
    shape = Shape.of(models.configs()[name])
    for prompt in prompts:
        yield from decoding(name, shape, prompt, new, reps)
    yield from products()


def suits(job: Job, *, f16: bool) -> bool:
    """Whether this adapter can do it, and is the kind it is meant for."""
    software = chrome.adapter() == "swiftshader"
    return {"": True, "f16": f16, "gpu": not software, "software": software}[job.needs]


async def measure(jobs: Sequence[Job], record: Record, seconds: float) -> None:
    """A row for every job that this adapter can do."""
    async with server.serve(application()) as url:
        about = await in_browser(url, {"kind": "about"}, seconds)
        record.found |= about
        for job in jobs:
            if not suits(job, f16=about["f16"]):
                continue
            try:
                row = figures(await in_browser(url, job.work, seconds))
            except (RuntimeError, TimeoutError, Error, SetupError) as error:
                row = {"error": str(error)}
            record.add(job.labels | row)


@click.command()
@click.option("--prepare", is_flag=True, help="Fetch the engines into the cache, and end.")
@click.option("--shape", type=click.Choice([*models.configs()]), default="llama-3.2-1b")
@click.option("--prompt", "prompts", multiple=True, type=click.IntRange(2), default=(128, 2048),
              help="Its length; repeatable.")  # fmt: skip
@click.option(
    "--new", type=click.IntRange(2), default=128, show_default=True, help="Tokens after the prompt."
)
@click.option("--reps", default=3, show_default=True)
@click.option("--only", multiple=True, help="Part of an engine's or a setting's name; repeatable.")
@click.option("--seconds", default=300.0, show_default=True, help="A job may take.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False))
def main(
    prepare: bool,
    shape: str,
    prompts: Sequence[int],
    new: int,
    reps: int,
    only: Sequence[str],
    seconds: float,
    out: Path | None,
) -> None:
    engines.prepare()
    if prepare:
        return
    models.make(shape)
    for sizes in PRODUCTS:
        models.make_product(*sizes)

    def chosen(label: str) -> bool:
        return not only or any(part in label for part in only)

    jobs = wanted(shape, prompts, new, reps)
    picked = [job for job in jobs if chosen(f"{job.labels['engine']}: {job.labels['setting']}")]
    record = Record(out)
    asyncio.run(measure(picked, record, seconds))
    if chosen(OURS):
        add_ours(record, shape, prompts, new)
    if not out:
        click.echo(json.dumps(record.found, indent=1))


if __name__ == "__main__":
    main()
