"""A text shown as it comes: in one output of a notebook's cell, or on stdout.

    shown = await tt.show(model.generate("def fib(n):"))
    shown.text

A notebook is given plain text, which it shows as it is: text from a model is never HTML.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from .. import notebook


@dataclass(frozen=True)
class Shown:
    """A text that has been shown; as the value of a cell it is not shown again."""

    text: str

    def __str__(self) -> str:
        return self.text

    def _ipython_display_(self) -> None:
        """The cell has it already."""


async def show(pieces: AsyncGenerator[str, None], *, before: str = "") -> Shown:
    """Show the pieces as they come, after a text `before` (the prompt, where that is wanted)."""
    output = notebook.Output() if notebook.here() else None
    text = before
    if not output:
        _write(before)
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                text += piece
                if output:
                    output.write({"text/plain": text}, now=False)
                else:
                    _write(piece)
    finally:  # whatever ended it, what has come is shown
        if output:
            output.write({"text/plain": text})
        else:
            _write("\n")
    return Shown(text)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
