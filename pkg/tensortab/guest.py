"""The half of `tensortab run` that lives in the page: runs files and calls, tells how they ended.

It needs nothing of the browser (top-level await is CPython's own compile flag), so that it is
tested natively.
"""

import ast
import builtins
import importlib
import inspect
import linecache
import os
import pickle
import sys
import traceback
import types
from collections.abc import Awaitable
from pathlib import Path

from tensortab.errors import TensortabError


def stream_lines() -> None:
    """Let output out line by line: it is no terminal, so Python would hold it back."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


async def run_file(path: str, source: str, argv: list[str], folder: str) -> int:
    """Run a Python file's source as `__main__` in the working folder `folder`; its exit code."""
    os.chdir(folder)
    sys.argv = argv
    sys.path.insert(0, str(Path(path).parent))
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=builtins)
    sys.modules["__main__"] = main
    try:
        await _execute(source, path, main.__dict__)
    except SystemExit as end:
        return _exit_code(end.code)
    except BaseException as error:  # noqa: BLE001  # whatever ended the script is told and is code 1
        _print(error)
        return 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    return 0


async def call(source: str, payload: bytes | memoryview) -> bytes:
    """Run source that defines `async def main(payload: bytes) -> bytes`; its result, pickled.

    The pickle is (True, bytes), or (False, module, class name, text, traceback).
    """
    name = f"<call {abs(hash(source)):x}>"
    # So that tracebacks show the source's lines.
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        scope: dict[str, object] = {"__name__": name}
        await _execute(source, name, scope)
        main = scope.get("main")
        assert callable(main), "the source defines no main"
        result = (True, bytes(await main(bytes(payload))))
    except BaseException as error:  # noqa: BLE001  # every end of the call goes back to the caller
        kind = type(error)
        told = "".join(traceback.format_exception(_trimmed(error)))
        return pickle.dumps((False, kind.__module__, kind.__name__, str(error), told))
    return pickle.dumps(result)


def result_of(pickled: bytes) -> bytes:
    """What `call` returned or raised: this package's errors as they were, else RuntimeError."""
    done, *rest = pickle.loads(pickled)  # noqa: S301  # from a page this process opened
    if done:
        data: bytes = rest[0]
        return data
    module, name, text, told = rest
    kind = getattr(importlib.import_module(module), name) if module == "tensortab.errors" else None
    if kind is not None and issubclass(kind, TensortabError):
        raise kind(text) from RuntimeError(told)
    raise RuntimeError(f"in the browser:\n{told}")


async def _execute(source: str, name: str, scope: dict[str, object]) -> None:
    code = compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    done: Awaitable[None] | None = eval(code, scope)  # noqa: S307  # running it is the purpose
    if code.co_flags & inspect.CO_COROUTINE and done is not None:
        await done


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    print(code, file=sys.stderr)  # noqa: T201  # as Python does for sys.exit("text")
    return 1


def _trimmed(error: BaseException) -> BaseException:
    """The error without this module's frames at the head of its traceback."""
    trail = error.__traceback__
    while trail is not None and trail.tb_frame.f_code.co_filename == __file__:
        trail = trail.tb_next
    return error.with_traceback(trail)


def _print(error: BaseException) -> None:
    traceback.print_exception(_trimmed(error))
