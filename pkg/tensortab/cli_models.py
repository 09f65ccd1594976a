"""The commands that run models: `tensortab embed | generate | quantize`."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TextIO

import click

import tensortab as tt
from tensortab import assets, completion, ranking, system, vendor
from tensortab.bars import Progress, Terminal
from tensortab.browser_run import Page
from tensortab.driving import drive
from tensortab.errors import SetupError, TensortabError
from tensortab.screen import Screen, write
from tensortab.text.request import OVERFLOWS
from tensortab.weights.output import check_free
from tensortab.weights.source import is_url

Work = Callable[[str, dict[str, Any], Screen], Coroutine[Any, Any, dict[str, Any]]]


@click.command()
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
    await asyncio.to_thread(vendor.model, model)
    async with Page.open() as page:
        task = {"model": f"{page.address}models/{model}", **job}
        source = "from tensortab.ranking import main"
        answer = await page.call(source, json.dumps(task).encode(), on_output=told(progress))
    found: list[tuple[float, str]] = json.loads(answer)
    return found


@click.command()
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
    model = find_model(name)
    await asyncio.to_thread(vendor.pyodide)
    async with Page.open(share=None if is_url(model) else model) as page:
        task = {**job, "model": model if is_url(model) else page.shared}
        source = "from tensortab.completion import main"
        try:
            answer = await page.call(source, json.dumps(task).encode(), on_output=told(screen.tell))
        except TensortabError as error:  # the person knows the folder, not its address
            raise type(error)(str(error).replace(page.shared, model)) from error
    report: dict[str, Any] = json.loads(answer)
    return report


def told(tell: Callable[..., None]) -> Callable[[str, bytes], None]:
    """What takes a tab's output: `tell` is called with each line of stdout, a JSON list."""
    rest = b""

    def output(stream: str, data: bytes) -> None:
        nonlocal rest
        if stream == "stderr":
            write(stream, data)
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            tell(*json.loads(line))

    return output


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


@click.command()
@click.argument("model", metavar="FOLDER")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--quantize",
    "choice",
    default="auto",
    show_default=True,
    metavar="auto|q4gsw|q8gsw",
    help="The format of the weights; auto is the architecture's own.",
)
def quantize(model: str, out: Path, choice: str) -> None:
    """Write FOLDER's model (a path, a URL or a name) to OUT, quantized, to host or to keep."""

    async def work(progress: Progress) -> None:
        check_free(out)
        found = find_model(model)
        opened = await tt.load(found, quantize=choice, context=1, progress=progress)
        await tt.save(opened, out, progress=progress)

    with Terminal(system.console) as bar:
        drive(work(bar))
    size = sum(file.stat().st_size for file in out.iterdir())
    click.echo(f"{out}: {size / 1e6:.1f} MB")
