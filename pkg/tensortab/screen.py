"""A terminal: progress on stderr, until a text begins on stdout."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import click
from rich.progress import Progress

from tensortab import system


def write(stream: str, data: bytes) -> None:
    """Pass a program's output on as it comes: "stdout" or "stderr", and the bytes."""
    out = sys.stdout if stream == "stdout" else sys.stderr
    out.buffer.write(data)
    out.flush()


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr for what is called with a stage, what is done and the total."""
    with Progress(console=system.console, transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def update(stage: str, done: int, total: int) -> None:
            if stage != "tensors":  # the bytes, told right after, say more
                progress.update(task, description=stage, completed=done, total=total)

        yield update


class Screen:
    """Shows what completion.complete tells; a text that has begun ends with its line."""

    def __init__(self, prompt: str) -> None:
        """`prompt` is shown before the text."""
        self._prompt = prompt
        shown = system.console.is_terminal
        self._progress = Progress(console=system.console, transient=True, disable=not shown)
        self._bar = self._progress.add_task("starting", total=None)
        self._begun = False

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._begun:
            click.echo()

    def tell(self, kind: str, value: Any) -> None:
        """("progress", [stage, done, total]) or ("text", piece)."""
        if kind == "progress":
            stage, done, total = value
            self._progress.update(self._bar, description=stage, completed=done, total=total)
            return
        if not self._begun:
            self._begun = True
            self._progress.stop()
            value = self._prompt + value
        write("stdout", value.encode())
