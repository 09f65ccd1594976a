"""A coroutine run as a command: ended cleanly by signals, its expected errors one line."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

from tensortab.errors import TensortabError

T = TypeVar("T")
INTERRUPTED = 130  # 128 + SIGINT, as shells say it


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; Ctrl-C and SIGTERM end it cleanly, expected errors are one line."""

    async def cancellable() -> T:
        # A handler that raises would do so in whatever runs, where an exception may be swallowed.
        task = asyncio.current_task()
        assert task
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(cancellable())
    except (TensortabError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(INTERRUPTED)
