# ruff: noqa: INP001  # a file the page fetches, not part of a package
"""An editor's cell: a visitor's own Python, run in the page's worker.

The names there are `tt`, `np`, `device`, `show`, and `model`, the language model if it is loaded.
The last expression's value is shown, as a notebook does. Everything is told as it happens: (kind,
text) where kind is "text" or "picture" (SVG). What the cell compiled is freed before the next runs.

A cell that awaits can be stopped; Python that never does holds the worker, and only ending the
worker ends it.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import linecache
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

import tensortab as tt
from tensortab import display
from tensortab.errors import DeviceLostError
from tensortab.graph import Graph
from tensortab.plan import Plan
from tensortab.profile import Profile
from tensortab.quant import Comparison
from tensortab.session import Session

Emit = Callable[[str, str], None]

NAME = "<cell>"
MOST = 100_000  # characters of a cell's output
_LAST = "_last"

PICTURES: dict[type, Callable[[Any], list[str]]] = {
    Graph: lambda graph: [display.graph_svg(graph)],
    Plan: lambda plan: [display.plan_svg(plan)],
    Profile: lambda report: [display.profile_bars(report), display.profile_timeline(report)],
    Comparison: lambda found: [display.error_svg(found)],
}


class Bench(tt.Device):
    """The page's device, with a note of what a cell compiled on it."""

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


class Stream(io.TextIOBase):
    """What is printed, up to a bound."""

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self.left = MOST

    def write(self, text: str) -> int:
        """Pass it on."""
        if self.left > 0:
            self.emit("text", text[: self.left])
            self.left -= len(text)
            if self.left <= 0:
                self.emit("text", f"\n… more than {MOST:,} characters are not shown\n")
        return len(text)


@dataclass
class Cell:
    """Where cells run, one at a time."""

    device: tt.Device
    bench: Bench = field(init=False)
    task: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        self.bench = Bench(self.device)

    async def run(self, source: str, writer: Any, emit: Emit) -> dict[str, Any]:
        """Run it; {} when it came to its end, else `stopped`, or `error` and its `line`."""
        self.bench.clear()
        stream = Stream(emit)
        model = writer.model if hasattr(writer, "model") else None
        scope = {
            "__name__": "__main__",
            "tt": tt,
            "np": np,
            "device": self.bench,
            "model": model,
            "show": lambda value: show(value, stream),
        }
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            self.task = asyncio.ensure_future(_execute(source, scope, stream))
            try:
                await self.task
            except DeviceLostError:
                raise
            except asyncio.CancelledError:
                return {"stopped": True}
            except BaseException as error:  # noqa: BLE001  # whatever ended it is its author's to see
                return {"error": _told(error), "line": _line(error)}
        return {}

    def stop(self) -> None:
        """End what runs where it next awaits."""
        if self.task:
            self.task.cancel()


def show(value: Any, stream: Stream) -> None:
    """A picture of what has one; else its text."""
    if type(value) not in PICTURES:
        stream.write(f"{_text(value)}\n")
        return
    for picture in PICTURES[type(value)](value):
        stream.emit("picture", picture)


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype.name}{list(value.shape)}\n{value}"
    return str(value) if isinstance(value, str) else repr(value)


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
        show(scope[_LAST], stream)


def _frames(error: BaseException) -> list[TracebackType]:
    """The traceback from the cell's first frame on."""
    found, trail = [], error.__traceback__
    while trail is not None:
        if found or trail.tb_frame.f_code.co_filename == NAME:
            found.append(trail)
        trail = trail.tb_next
    return found


def _line(error: BaseException) -> int | None:
    """The cell's line that it came from."""
    if isinstance(error, SyntaxError) and error.filename == NAME:
        return error.lineno
    lines = [t.tb_lineno for t in _frames(error) if t.tb_frame.f_code.co_filename == NAME]
    return lines[-1] if lines else None


def _told(error: BaseException) -> str:
    """The traceback without the frames of this module."""
    frames = _frames(error)
    trimmed = error.with_traceback(frames[0] if frames else None)
    return "".join(traceback.format_exception(trimmed))
