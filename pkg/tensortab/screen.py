"""A terminal: progress on stderr, until a text begins on stdout."""

import sys
from typing import Any, Self

import click

from tensortab import system
from tensortab.bars import Terminal


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
        self._bar = Terminal(system.console)
        self._begun = False

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._begun:
            click.echo()

    def tell(self, kind: str, value: Any) -> None:
        """("progress", [stage, done, total]) or ("text", piece)."""
        if kind == "progress":
            self._bar(*value)
            return
        if not self._begun:
            self._begun = True
            self._bar.stop()
            value = self._prompt + value
        write("stdout", value.encode())
