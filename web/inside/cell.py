# ruff: noqa: INP001  # a file the page fetches, not part of a package
"""An editor's cell: a visitor's own Python, run in the page's worker.

Each run has names of its own: `tt`, `np`, `device`, `show`, and `model`, `encoder` and `program`,
which are what the other views have open, or None. A last expression's value is shown, as a notebook
does. All is told as it comes, as (kind, text) with the kinds "text" and "picture" (SVG). What a run
compiled on `device` is freed at its end.

A run that awaits can be stopped; Python that never does holds the worker, and only the worker's end
ends it.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import linecache
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

import tensortab as tt
from tensortab import display
from tensortab.errors import DeviceLostError, TensortabError
from tensortab.graph import Graph
from tensortab.plan import Plan
from tensortab.profile import Profile
from tensortab.quant import Comparison
from tensortab.session import Session

Emit = Callable[[str, str], None]

NAME = "<cell>"
MOST = 100_000  # characters of a run's output
SECONDS = 0.05  # between two messages to the page: a print each would keep it from all else
_LAST = "_last"

PICTURES: dict[type, Callable[[Any], list[str]]] = {
    Graph: lambda graph: [display.graph_svg(graph)],
    Plan: lambda plan: [display.plan_svg(plan)],
    Session: lambda session: [display.graph_svg(session.graph), display.plan_svg(session.plan)],
    Profile: lambda report: [display.profile_bars(report), display.profile_timeline(report)],
    Comparison: lambda found: [display.error_svg(found)],
}


class Bench(tt.Device):
    """The page's device, with a note of what a run compiled on it."""

    def __init__(self, device: tt.Device) -> None:
        super().__init__(device.backend)
        self.sessions: list[Session] = []

    async def compile(self, *args: Any, **kwargs: Any) -> Session:
        """As any device; the session goes with the next `clear`."""
        session = await super().compile(*args, **kwargs)
        self.sessions.append(session)
        return session

    def clear(self) -> None:
        """Free what was compiled."""
        while self.sessions:
            self.sessions.pop().destroy()

    def close(self) -> None:
        """Do nothing: the device is the page's."""


class Stream(io.TextIOBase):
    """What is printed and shown, told in its order, up to a bound."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._text = ""
        self._left = MOST
        self._sent = perf_counter()

    def write(self, text: str) -> int:
        """Pass it on soon."""
        if self._left > 0:
            self._text += text[: self._left]
            self._left -= len(text)
            if self._left <= 0:
                self._text += f"\n… more than {MOST:,} characters are not shown\n"
        if perf_counter() - self._sent > SECONDS:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Pass it on now."""
        if self._text:
            self._emit("text", self._text)
        self._text, self._sent = "", perf_counter()

    def show(self, value: Any) -> None:
        """A picture of what has one; else its text."""
        if type(value) not in PICTURES or (isinstance(value, Profile) and not value.rows):
            self.write(f"{_text(value)}\n")
            return
        self.flush()
        for picture in PICTURES[type(value)](value):
            self._emit("picture", picture)


@dataclass
class Cell:
    """Where cells run, one at a time."""

    device: tt.Device
    task: asyncio.Future[dict[str, Any]] | None = None

    async def run(self, source: str, views: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
        """Run it; {} when it came to its end, else `stopped`, or `error`, its `line` and `trace`.

        `views` are what the views write, search and programs hold, or None.
        """
        stream = Stream(emit)
        bench = Bench(self.device)
        try:
            async with _kept(views["write"]):
                scope = {**_names(views), "device": bench, "show": stream.show}
                with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
                    self.task = asyncio.ensure_future(_run(source, scope, stream))
                    return await self.task
        except asyncio.CancelledError:
            return {"stopped": True}
        finally:
            stream.flush()
            bench.clear()

    def stop(self) -> None:
        """End what runs where it next awaits."""
        if self.task:
            self.task.cancel()


@contextlib.asynccontextmanager
async def _kept(writer: Any) -> AsyncIterator[None]:
    """The language model for a run alone; what it held is computed again afterwards."""
    if writer is None:
        yield
        return
    async with writer.turn:
        try:
            yield
        finally:
            writer.model.held = []


def _names(views: Mapping[str, Any]) -> dict[str, Any]:
    write, search, programs = (views[v] for v in ("write", "search", "programs"))
    return {
        "__name__": "__main__",
        "tt": tt,
        "np": np,
        "model": write and write.model,
        "encoder": search and search.model,
        "program": programs and programs.module,
    }


async def _run(source: str, scope: dict[str, Any], stream: Stream) -> dict[str, Any]:
    try:
        await _execute(source, scope, stream)
    except (DeviceLostError, asyncio.CancelledError):
        raise
    # SystemExit, too: an event loop would end with it.
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is its author's to see
        return _told(error)
    return {}


async def _execute(source: str, scope: dict[str, Any], stream: Stream) -> None:
    # So that tracebacks show the source's lines.
    linecache.cache[NAME] = (len(source), None, source.splitlines(keepends=True), NAME)
    tree = ast.parse(source, NAME)
    if tree.body and isinstance(last := tree.body[-1], ast.Expr):
        assigned = ast.Assign([ast.Name(_LAST, ast.Store())], last.value)
        tree.body[-1] = ast.fix_missing_locations(ast.copy_location(assigned, last))
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(tree, NAME, "exec", flags=flags, dont_inherit=True)
    done = eval(code, scope)  # noqa: S307  # running the visitor's own Python is the purpose
    if code.co_flags & inspect.CO_COROUTINE:
        await done
    if scope.get(_LAST) is not None:
        stream.show(scope[_LAST])


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype.name}{list(value.shape)}\n{value}"
    return value if isinstance(value, str) else repr(value)


def _told(error: BaseException) -> dict[str, Any]:
    """An error in words, the cell's line that it came from, and the traceback from there on."""
    while (trail := error.__traceback__) and trail.tb_frame.f_code.co_filename != NAME:
        error = error.with_traceback(trail.tb_next)
    places = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == NAME]
    line = places[-1].lineno if places else None
    if isinstance(error, SyntaxError) and error.filename == NAME:
        line = error.lineno
    if isinstance(error, TensortabError):  # of several lines, with a name that is said by `errors`
        words = f"{type(error).__name__}: {error}"
    else:
        words = traceback.format_exception_only(error)[-1].strip()
    return {
        "error": words,
        "line": line,
        "trace": "".join(traceback.format_exception(error)),
    }
