"""`tensortab run --native`: a Python file in a process of its own, on this machine's GPU driver.

The file may `await` at top level, and sees the arguments and the folder that it would see in a tab.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from tensortab import guest


async def run(file: str, args: Sequence[str]) -> int:
    """Run a Python file with sys.argv = [file, *args]; its exit code.

    It writes to this process's own streams, and ends if this coroutine is cancelled. The code of a
    process that a signal ended is 128 + the signal's number, as shells say it.
    """
    command = (sys.executable, "-m", __name__, file, *args)
    process = await asyncio.create_subprocess_exec(*command)
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return code if code >= 0 else 128 - code


def main() -> int:
    """Do it, in the new process."""
    argv = sys.argv[1:]
    file = Path(argv[0]).absolute()
    source = file.read_text(encoding="utf-8")
    return asyncio.run(guest.run_file(str(file), source, argv, str(Path.cwd())))


if __name__ == "__main__":
    sys.exit(main())
