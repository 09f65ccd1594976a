"""The notebook this runs in, if it does: outputs of a cell that are rewritten as things go on.

Jupyter's kernels and JupyterLite's are IPython shells; what is published there with a display id
can be replaced. No widgets are needed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from time import perf_counter
from typing import Any

EVERY = 0.05  # s between two rewritings: more are not seen, and a page has other things to do


def here() -> bool:
    """Whether there are cells that show HTML, as there are none in IPython's terminal."""
    ipython = sys.modules.get("IPython")  # a kernel has it long since
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and type(shell).__name__ != "TerminalInteractiveShell"


class Output:
    """One output of the cell that runs; made when it is first written."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._written = 0.0

    def write(self, bundle: Mapping[str, str], *, now: bool = True) -> None:
        """Replace what it shows, by MIME type; unless `now`, only if that is some time ago."""
        if not now and perf_counter() - self._written < EVERY:
            return
        if self._handle is None:
            from IPython.display import display  # noqa: PLC0415  # only a notebook has it

            self._handle = display(dict(bundle), raw=True, display_id=True)
        else:
            self._handle.update(dict(bundle), raw=True)
        self._written = perf_counter()
