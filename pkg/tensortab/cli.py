"""The command line: `tensortab run | serve | site | embed | generate | inspect | …`."""

import asyncio
import json
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from tensortab import assets, completion, native_run, pte, ranking, server, system, vendor
from tensortab import chrome as chromium
from tensortab import doctor as checks
from tensortab import firefox as gecko
from tensortab.bars import Progress, Terminal
from tensortab.browser_run import Page
from tensortab.errors import SetupError, TensortabError
from tensortab.screen import Screen, write
from tensortab.site import SEARCH, Site
from tensortab.text.request import OVERFLOWS
from tensortab.weights.source import is_url

T = TypeVar("T")
Work = Callable[[str, dict[str, Any], Screen], Coroutine[Any, Any, dict[str, Any]]]
TIMED_OUT = 124  # as timeout(1)
INTERRUPTED = 130  # 128 + SIGINT, as shells say it


@click.group()
def main() -> None:
    """Neural networks in a browser tab, from Python."""


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; Ctrl-C and SIGTERM end it cleanly, expected errors are one line."""

    async def cancellable() -> T:
        # A handler that raises would do so in whatever runs, where an exception may be swallowed.
        task = asyncio.current_task()
        assert task
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(cancellable())
    except (TensortabError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(INTERRUPTED)


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
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--query", required=True, help="What to look for.")
@click.option("--top", default=10, show_default=True, help="How many lines to print.")
@click.option("--model", default="all-MiniLM-L6-v2", show_default=True)
@click.option("--native", is_flag=True, help="Use this machine's GPU driver, not a browser.")
def embed(file: TextIO, query: str, top: int, model: str, native: bool) -> None:
    """Rank the lines of FILE (- for stdin) by meaning: score and line, best first."""
    lines = [line for line in map(str.strip, file) if line]
    if not lines:
        raise click.ClickException(f"{file.name} has no lines")
    job = {"query": query, "lines": lines, "top": top}
    with Terminal(system.console) as bar:
        work = _rank_natively if native else _rank_in_page
        found = drive(work(model, job, bar))
    for score, line in found:
        click.echo(f"{score:.3f}  {line}")


async def _rank_natively(
    model: str, job: dict[str, Any], progress: Progress
) -> list[tuple[float, str]]:
    return await ranking.rank(str(vendor.model(model)), progress=progress, **job)


async def _rank_in_page(
    model: str, job: dict[str, Any], progress: Progress
) -> list[tuple[float, str]]:
    def output(stream: str, data: bytes) -> None:
        if stream == "stderr":
            write(stream, data)
            return
        for line in data.decode().splitlines():
            progress(*json.loads(line))

    await asyncio.to_thread(vendor.model, model)
    async with Page.open() as page:
        task = {"model": f"{page.address}models/{model}", **job}
        source = "from tensortab.ranking import main"
        answer = await page.call(source, json.dumps(task).encode(), on_output=output)
    found: list[tuple[float, str]] = json.loads(answer)
    return found


@main.command()
@click.argument("prompt")
@click.option(
    "--model",
    default=assets.EMBEDDED.name,
    show_default=True,
    metavar="PATH|URL|NAME",
    help="A checkpoint's folder, or the name of a model that is here.",
)
@click.option("--native", is_flag=True, help="Use this machine's GPU driver, not a browser.")
@click.option("--chat", is_flag=True, help="PROMPT is a message: use the model's chat template.")
@click.option("--system", metavar="TEXT", help="A system message before it; implies --chat.")
@click.option("--max-new-tokens", type=click.IntRange(0), default=128, show_default=True)
@click.option("--stop", multiple=True, metavar="TEXT", help="End before this text; repeatable.")
@click.option("--temperature", type=float, help="0 takes the likeliest token.")
@click.option("--top-k", type=int)
@click.option("--top-p", type=float)
@click.option("--min-p", type=float)
@click.option("--repetition-penalty", type=float)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--context", type=click.IntRange(1), metavar="N", help="Tokens to hold, prompt and answer."
)
@click.option(
    "--overflow",
    type=click.Choice(OVERFLOWS),
    default=OVERFLOWS[0],
    show_default=True,
    help="What to do with a prompt longer than that.",
)
@click.option(
    "--quantize",
    default="auto",
    show_default=True,
    metavar="auto|none|q4gsw|q8gsw",
    help="The format of the weights on the GPU.",
)
@click.option("--profile", is_flag=True, help="Print what each kernel takes.")
def generate(
    prompt: str,
    model: str,
    native: bool,
    chat: bool,
    system: str | None,
    context: int | None,
    quantize: str,
    profile: bool,
    **options: Any,
) -> None:
    """Continue PROMPT (- for stdin) with a language model; stdout is the text alone."""
    text = sys.stdin.read() if prompt == "-" else prompt
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages += [{"role": "user", "content": text}] if chat or messages else []
    job = {
        "load": {"context": context, "quantize": None if quantize == "none" else quantize},
        "prompt": messages or text,
        "options": {name: value for name, value in options.items() if value is not None},
        "profile": profile,
    }
    with Screen("" if messages else text) as screen:
        work: Work = _complete_natively if native else _complete_in_page
        report = drive(work(model, job, screen))
        screen.tell("text", "")  # a prompt that nothing follows is shown, too
    click.echo(completion.summary(report), err=True)
    if profile:
        click.echo(completion.profile(report), err=True)


async def _complete_natively(name: str, job: dict[str, Any], screen: Screen) -> dict[str, Any]:
    return await completion.complete({**job, "model": find_model(name)}, screen.tell)


async def _complete_in_page(name: str, job: dict[str, Any], screen: Screen) -> dict[str, Any]:
    rest = b""

    def output(stream: str, data: bytes) -> None:
        nonlocal rest
        if stream == "stderr":
            write(stream, data)
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            screen.tell(*json.loads(line))

    model = find_model(name)
    await asyncio.to_thread(vendor.pyodide)
    async with Page.open(share=None if is_url(model) else model) as page:
        task = {**job, "model": model if is_url(model) else page.shared}
        source = "from tensortab.completion import main"
        try:
            answer = await page.call(source, json.dumps(task).encode(), on_output=output)
        except TensortabError as error:  # the person knows the folder, not its address
            raise type(error)(str(error).replace(page.shared, model)) from error
    report: dict[str, Any] = json.loads(answer)
    return report


def find_model(name: str) -> str:
    """A model's folder, for its path or the name of one that is here; a URL as it is."""
    places = [Path(name), assets.EMBEDDED.parent / name, vendor.cache() / "models" / name]
    found = name if is_url(name) else next((str(p.resolve()) for p in places if p.is_dir()), None)
    if found is None:
        raise SetupError(
            f"--model {name}: no folder, no URL, and no model of that name is here;"
            f" {assets.EMBEDDED.name} always is"
        )
    return found


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
def inspect(file: str) -> None:
    """Print what an ExecuTorch program FILE (.pte) holds, and what would run where."""
    click.echo(drive(pte.inspect(file)))


@main.command()
@click.option("--port", default=8000, show_default=True, help="0: any free one.")
def serve(port: int) -> None:
    """Serve the demo page on this machine, setting up first what is missing."""

    async def work() -> None:
        try:
            await asyncio.to_thread(vendor.pyodide)
        except SetupError as error:
            system.say(f"{error}\nPages will take Pyodide from its CDN instead.")
        async with server.serve(server.application(), port) as address:
            click.echo(f"tensortab is at {address} (Ctrl-C ends it)")
            await asyncio.Event().wait()

    drive(work())


@main.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--with-search", is_flag=True, help="Also the model that searches (91 MB).")
def site(out: Path, with_search: bool) -> None:
    """Write the demo page to OUT, for any web server to serve, under a path too."""

    async def work() -> int:
        await asyncio.to_thread(vendor.pyodide)
        if with_search:
            await asyncio.to_thread(vendor.model, SEARCH)
        return await asyncio.to_thread(Site.build(search=with_search).write, out)

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
