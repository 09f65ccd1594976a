"""`tensortab bench`: a GPU, its kernels and whole models measured, in Chromium or natively."""

import asyncio
import shlex
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tensortab import vendor
from tensortab.bench import sections, shapes, table
from tensortab.bench.job import SECTIONS, Job
from tensortab.bench.record import Record
from tensortab.browser_run import Page
from tensortab.cli_models import told
from tensortab.driving import drive
from tensortab.errors import SetupError, TensortabError

_CALL = "from tensortab.bench.sections import main"
_PARTS = SECTIONS[1:]  # the floor is always measured
_PROMPTS = (128, 512, 2048, 8192)
_SHAPE = "llama-3.2-1b"
_SOFTWARE = {"shapes": ("tiny",), "prompts": (128,), "new": 32, "repeats": 3}


@dataclass(frozen=True)
class Wanted:
    """What was asked for; None is what suits the adapter."""

    parts: Sequence[str]
    shapes: Sequence[str]
    prompts: Sequence[int]
    new: int | None
    profile: bool

    def jobs(self, record: Record) -> list[Job]:
        """The sections after the floor."""
        software = record.found["about"].get("software", False)
        own: dict[str, Any] = dict(_SOFTWARE) if software else {}
        shapes = self.shapes or own.get("shapes", (_SHAPE,))
        job = Job(
            "",
            record.floor,
            prompts=tuple(self.prompts) or own.get("prompts", _PROMPTS),
            new=self.new or own.get("new", 64),
            repeats=own.get("repeats", 5),
            profile=self.profile,
        )
        found = [job.on(part) for part in self.parts if part != "model"]
        return found + [job.on("model", shape=s) for s in shapes if "model" in self.parts]


class Runner:
    """Runs sections natively, or in a tab: in a new one where the last has gone."""

    def __init__(self, record: Record, native: bool, options: dict[str, Any]) -> None:
        self._record = record
        self._native = native
        self._options = options
        self._page: Page | None = None
        self._stack = AsyncExitStack()

    async def run(self, job: Job) -> None:
        """One section; an error is recorded, and the next one may still go well."""
        try:
            if self._native:
                await sections.run(job, self._record.tell)
            else:
                page = await self._live()
                await page.call(_CALL, job.encode(), on_output=told(self._record.tell))
        except SetupError:  # nothing can run here
            raise
        except (TensortabError, RuntimeError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self._record.tell("error", {"section": job.section, "error": lines[-1]})

    async def _live(self) -> Page:
        if self._page is None or self._page.gone:
            await self._stack.aclose()
            self._page = await self._stack.enter_async_context(Page.open(**self._options))
            if self._page.browser:
                self._record.found["browser"] = f"Chromium {self._page.browser.version}"
        return self._page

    async def close(self) -> None:
        await self._stack.aclose()


@click.command()
@click.argument("what", nargs=-1, type=click.Choice([*_PARTS, "all"]))
@click.option("--shape", "chosen", multiple=True, type=click.Choice([*shapes.SHAPES]),
              help="A model's sizes; repeatable.")  # fmt: skip
@click.option("--prompt", "prompts", multiple=True, type=click.IntRange(1), metavar="TOKENS",
              help="A prompt's length; repeatable.")  # fmt: skip
@click.option("--new", type=click.IntRange(2), metavar="TOKENS", help="Tokens after it.")
@click.option("--profile", is_flag=True, help="Also each kernel's time in a step and a prompt.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.json",
              help="Write everything there, too, row by row.")  # fmt: skip
@click.option("--native", is_flag=True, help="Use this machine's GPU driver, not a browser.")
@click.option("--timeout", type=float, metavar="SECONDS", help="End with what there is by then.")
@click.option("--chrome", metavar="PATH", help="The Chromium to use.")
@click.option("--flags", default="", metavar='"…"', help="More switches for it.")
def bench(
    what: Sequence[str],
    chosen: Sequence[str],
    prompts: Sequence[int],
    new: int | None,
    profile: bool,
    out: Path | None,
    native: bool,
    timeout: float | None,
    chrome: str | None,
    flags: str,
) -> None:
    """Measure kernels, attention or whole models (all of them unless said).

    First comes what the GPU does at most: the rest is told as a fraction of it. The adapter is
    TENSORTAB_ADAPTER's, as everywhere; on a software adapter everything is small and short.
    """
    parts = _PARTS if not what or "all" in what else tuple(dict.fromkeys(what))
    record = Record(" ".join(["tensortab", *sys.argv[1:]]), out)
    wanted = Wanted(parts, chosen, prompts, new, profile)

    async def work() -> None:
        if not native:
            await asyncio.to_thread(vendor.pyodide)
        runner = Runner(record, native, {"chrome": chrome, "flags": shlex.split(flags)})
        try:
            async with asyncio.timeout(timeout):
                await runner.run(Job("floor"))
                for job in wanted.jobs(record):
                    await runner.run(job)
        except TimeoutError:
            record.tell("error", {"section": "all", "error": f"not done within {timeout:g} s"})
        finally:
            await runner.close()

    drive(work())
    table.show(record.found)
    if not record.found["rows"]:
        sys.exit(1)
