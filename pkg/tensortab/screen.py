"""A terminal: progress on stderr, until a text begins on stdout."""

import sys
from typing import Any, Self

import click
from rich.progress import Progress

from tensortab import system


def write(stream: str, data: bytes) -> None:
    """Pass a program's output on as it comes: "stdout" or "stderr", and the bytes."""
    out = sys.stdout if stream == "stdout" else sys.stderr
    out.buffer.write(data)
    out.flush()


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
