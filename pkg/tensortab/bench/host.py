"""What the host spends: Python's heap, and calls through Pyodide's FFI."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..session import Session

_BESIDE = 2  # of a submission: the bytes to write go to JavaScript, those read come back


class Crossings:
    """Stands before a recording's JavaScript and counts what is asked of it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        return getattr(self.inner, name)


@contextmanager
def counted(session: Session, submissions: int) -> Iterator[dict[str, float]]:
    """Fills in the calls through the FFI of a submission, of so many made inside; natively none."""
    found: dict[str, float] = {}
    recording: Any = session._recording  # noqa: SLF001  # nobody else knows when it is called
    if not hasattr(recording, "_js"):
        yield found
        return
    crossings = Crossings(recording._js)  # noqa: SLF001  # the same
    recording._js = crossings  # noqa: SLF001
    try:
        yield found
    finally:
        recording._js = crossings.inner  # noqa: SLF001
    found["ffi_calls_a_burst"] = round(crossings.calls / submissions + _BESIDE, 2)


def heap() -> float:
    """Megabytes of Python's heap in a tab, which never shrinks; natively the process's most."""
    if sys.platform == "emscripten":
        import pyodide_js  # noqa: PLC0415  # exists only there

        return round(int(pyodide_js._module.HEAP8.length) / 1e6, 1)  # noqa: SLF001  # Emscripten's
    import resource  # noqa: PLC0415  # not on Windows, and not there

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1)
