"""Progress of what takes long: a bar wherever this runs.

    with tt.progress() as bar:
        model = await tt.load(folder, progress=bar)      # or progress=True, which is the same

In a notebook, JupyterLite's too, an output of the cell; in a terminal rich's bar on stderr, gone
when all is done; elsewhere (a log, a tab without a notebook) a line on stderr as a stage ends.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from importlib.util import find_spec
from time import perf_counter
from typing import Any, Protocol, Self

from . import notebook
from .words import listed, size

# Called with a stage, what is done and the total: "weights" in bytes read, "tensors" in tensors,
# "saving" in bytes written, and whatever a caller counts else.
Progress = Callable[[str, int, int], None]

_BYTES = {"weights", "saving"}
_PASSED_OVER = {"tensors"}  # the bytes, told right after, say more


class Bar(Protocol):
    """A `Progress` that shows what it is called with, until it is left."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


def progress() -> Bar:
    """The bar for where this runs."""
    if notebook.here():
        return Cell()
    return Terminal() if sys.stderr.isatty() and find_spec("rich") else Lines()


@contextmanager
def told(wanted: Progress | bool | None) -> Iterator[Progress | None]:
    """What `progress=` of a function means: a bar, or in a notebook None, or one's own."""
    if callable(wanted):
        yield wanted
    elif wanted or (wanted is None and notebook.here()):
        with progress() as bar:
            yield bar
    else:
        yield None


class Pace:
    """How fast stages go."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}

    def said(self, stage: str, done: int, total: int) -> str:
        """How much is done, and when the rest will be."""
        spent = perf_counter() - self._began.setdefault(stage, perf_counter())
        in_bytes = stage in _BYTES
        if total and done >= total:
            return f"{size(total) if in_bytes else f'{total:,}'} in {spent:.1f} s"
        rate = done / spent if spent else 0
        return listed(
            [
                f"{size(done)} of {size(total)}" if in_bytes else f"{done:,} of {total:,}",
                f"{size(rate)}/s" if in_bytes and rate else "",
                f"{(total - done) / rate:.0f} s left" if rate else "",
            ]
        )


class Cell:
    """A notebook's."""

    def __init__(self) -> None:
        self._output = notebook.Output()
        self._pace = Pace()
        self._rows: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._rows:
            self._write()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage in _PASSED_OVER:
            return
        name, said = escape(stage), escape(self._pace.said(stage, done, total))
        bar = f'<progress max="{max(total, 1)}" value="{done}" aria-label="{name}"></progress> '
        ended = done >= total
        self._rows[stage] = f"<div>{name} {'' if ended else bar}{said}</div>"
        self._write(now=ended)

    def _write(self, *, now: bool = True) -> None:
        rows = "".join(self._rows.values())
        html = f'<div class="tensortab">{rows}</div>'
        self._output.write({"text/html": html, "text/plain": ", ".join(self._rows)}, now=now)


class Terminal:
    """Rich's, on stderr or a console."""

    def __init__(self, console: Any = None, stage: str = "starting") -> None:
        """`stage` is shown until there is another."""
        # Pyodide has no rich.
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, TextColumn  # noqa: PLC0415
        from rich.progress import Progress as Rich  # noqa: PLC0415

        shown = console or Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}")
        self._rich = Rich(*columns, console=shown, transient=True, disable=not shown.is_terminal)
        self._task = self._rich.add_task(stage, total=None, said="")
        self._pace = Pace()

    def start(self) -> None:
        """Begin to show it."""
        self._rich.start()

    def stop(self) -> None:
        """Wipe it away."""
        self._rich.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in _PASSED_OVER:
            said = self._pace.said(stage, done, total)
            self._rich.update(self._task, description=stage, completed=done, total=total, said=said)


class Lines:
    """Lines on stderr, as stages end."""

    def __init__(self) -> None:
        self._pace = Pace()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to end."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        said = self._pace.said(stage, done, total)  # at every call: the first begins the stage
        if done >= total and stage not in _PASSED_OVER:
            sys.stderr.write(f"{stage}: {said}\n")
