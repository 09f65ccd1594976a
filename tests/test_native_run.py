"""`tensortab run --native`: the files that a tab would run, with the same arguments and codes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tensortab import guest

CLI = (sys.executable, "-c", "from tensortab.cli import main; main()")


def run(tmp_path: Path, source: str, *argv: str, options: tuple[str, ...] = ()) -> tuple:
    (tmp_path / "script.py").write_text(source)
    command = [*CLI, "run", "--native", *options, "script.py", *argv]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_script_sees_what_it_would_see_in_a_tab(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("ANSWER = 42")
    source = """
import asyncio, os, sys
from beside import ANSWER
await asyncio.sleep(0)
print(ANSWER, sys.argv, __name__, __file__, os.getcwd())
sys.exit(7)
"""
    expected = f"42 ['script.py', 'a', '--b'] __main__ {tmp_path}/script.py {tmp_path}\n"
    assert run(tmp_path, source, "a", "--b") == (7, expected, "")


def test_a_traceback_shows_the_files_lines(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, "print('before')\nraise ValueError('boo')\n")
    assert (code, out) == (1, "before\n")
    assert f'File "{tmp_path}/script.py", line 2, in <module>' in err
    assert err.endswith("ValueError: boo\n")
    assert guest.__file__ not in err


def test_it_gives_up_after_the_timeout(tmp_path: Path) -> None:
    began = time.monotonic()
    code, _, err = run(tmp_path, "while True: pass", options=("--timeout", "1.5"))
    assert (code, err) == (124, "Error: script.py did not end within 1.5 s (--timeout)\n")
    assert time.monotonic() - began < 30


def test_a_signal_is_128_more(tmp_path: Path) -> None:
    source = f"import os; os.kill(os.getpid(), {signal.SIGKILL:d})"
    assert run(tmp_path, source) == (137, "", "")


def test_the_script_ends_with_the_command(tmp_path: Path) -> None:
    """SIGTERM leaves nothing running."""
    script = tmp_path / "script.py"
    script.write_text("import os\nprint(os.getpid(), flush=True)\nwhile True: pass")
    command = [*CLI, "run", "--native", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        inner = int(process.stdout.readline())
        process.terminate()
        assert process.wait() == 130
    with pytest.raises(ProcessLookupError):
        os.kill(inner, 0)


def test_no_browser_for_a_browsers_options(tmp_path: Path) -> None:
    code, _, err = run(tmp_path, "", options=("--headed",))
    assert code == 2
    assert "Error: --native has no browser for --headed, --chrome and --flags" in err
