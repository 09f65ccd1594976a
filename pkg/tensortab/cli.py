"""The command line: `tensortab run | serve | site | embed | generate | quantize | bench | …`."""

import asyncio
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tensortab import chrome as chromium
from tensortab import cli_bench, cli_models, native_run, pte, server, system, vendor
from tensortab import doctor as checks
from tensortab import firefox as gecko
from tensortab.browser_run import Page
from tensortab.driving import drive
from tensortab.errors import SetupError
from tensortab.screen import write
from tensortab.site import SEARCH, Site

TIMED_OUT = 124  # as timeout(1)


@click.group()
def main() -> None:
    """Neural networks in a browser tab, from Python."""


for command in (
    cli_bench.bench,
    cli_models.embed,
    cli_models.generate,
    cli_models.quantize,
):
    main.add_command(command)


@main.command(context_settings={"allow_interspersed_args": False})
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.argument("args", nargs=-1)
@click.option(
    "--mount",
    "mounts",
    multiple=True,
    metavar="PATH",
    help="A file or folder to have in the tab at its absolute path; repeatable.",
)
@click.option("--timeout", type=float, metavar="SECONDS", help="Give up after so long (code 124).")
@click.option("--native", is_flag=True, help="Use this machine's GPU driver, not a browser.")
@click.option("--headed", is_flag=True, help="Show the browser.")
@click.option("--chrome", metavar="PATH", help="The Chromium to use.")
@click.option("--flags", default="", metavar='"…"', help="More switches for it.")
def run(
    file: str,
    args: Sequence[str],
    mounts: Sequence[str],
    timeout: float | None,
    native: bool,
    headed: bool,
    chrome: str | None,
    flags: str,
) -> None:
    """Run FILE, a Python file, in a browser tab with WebGPU; its exit code is this one's."""
    if native and (headed or chrome or flags):
        raise click.UsageError("--native has no browser for --headed, --chrome and --flags")

    async def work() -> int:
        if native:
            async with asyncio.timeout(timeout):
                return await native_run.run(file, args)
        await asyncio.to_thread(vendor.pyodide)  # set-up is not on the program's time
        async with (
            asyncio.timeout(timeout),
            Page.open(
                chrome=chrome, flags=shlex.split(flags), headed=headed, mounts=mounts
            ) as page,
        ):
            return await page.run(file, args, write)

    try:
        code = drive(work())
    except TimeoutError:
        click.echo(f"Error: {file} did not end within {timeout:g} s (--timeout)", err=True)
        code = TIMED_OUT
    sys.exit(code)


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
def inspect(file: str) -> None:
    """Print what an ExecuTorch program FILE (.pte) holds, and what would run where."""
    click.echo(drive(pte.inspect(file)))


@main.command()
@click.option("--port", default=8000, show_default=True, help="0: any free one.")
@click.option("--hub", metavar="URL", help="Where hub ids are looked for; else HF_ENDPOINT says.")
def serve(port: int, hub: str | None) -> None:
    """Serve the demo page on this machine, setting up first what is missing."""

    async def work() -> None:
        try:
            await asyncio.to_thread(vendor.pyodide)
        except SetupError as error:
            system.say(f"{error}\nPages will take Pyodide from its CDN instead.")
        async with server.serve(server.application(hub), port) as address:
            click.echo(f"tensortab is at {address} (Ctrl-C ends it)")
            await asyncio.Event().wait()

    drive(work())


@main.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--with-search", is_flag=True, help="Also the model that searches (91 MB).")
@click.option("--hub", metavar="URL", help="Where hub ids are looked for; else HF_ENDPOINT says.")
def site(out: Path, with_search: bool, hub: str | None) -> None:
    """Write the demo page to OUT, for any web server to serve, under a path too."""

    async def work() -> int:
        await asyncio.to_thread(vendor.pyodide)
        if with_search:
            await asyncio.to_thread(vendor.model, SEARCH)
        return await asyncio.to_thread(Site.build(search=with_search, hub=hub).write, out)

    size = drive(work())
    click.echo(f"{out}: {size / 1e6:.1f} MB")


@main.command()
@click.option("--native", is_flag=True, help="Also a Vulkan driver, for wgpu.")
@click.option("--firefox", is_flag=True, help="Also Firefox and a Vulkan driver.")
def setup(native: bool, firefox: bool) -> None:
    """Fetch what pages need, and find or install a Chromium."""

    async def work() -> Path:
        await asyncio.to_thread(vendor.setup)
        if firefox:
            gecko.find()
        if (native or firefox) and not system.has_vulkan_driver():
            system.apt("mesa-vulkan-drivers", "a Vulkan driver")
        return await chromium.locate()

    click.echo(f"ready: {vendor.cache()}, {drive(work())}")


@main.command()
def doctor() -> None:
    """Print what this machine has and lacks; code 0 if pages can run here."""
    sys.exit(0 if drive(checks.report()) else 1)
