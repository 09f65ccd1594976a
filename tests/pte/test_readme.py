"""The README's five lines, in Chrome and natively, with another program of the same input."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import catalogue
import harness

README = Path(__file__).parents[2] / "README.md"
MODEL = catalogue.cases()["mlp_fp32"].pte
PUT = """
from pathlib import Path

async def main(payload):
    Path(FOLDER).mkdir(parents=True, exist_ok=True)
    (Path(FOLDER) / "model.pte").write_bytes(payload)
    return b""
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """run.py in a folder of its own, which is the working folder."""
    (lines,) = re.findall(r"```python\n(# run\.py\n.*?)```", README.read_text(), re.DOTALL)
    assert len([line for line in lines.splitlines() if line]) == 6  # with the file's name
    (tmp_path / "run.py").write_text(lines)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run.py"


def check(printed: str) -> None:
    assert printed.startswith("(array([[")
    assert "dtype=float32),)\nkernel " in printed
    assert re.search(r"^matmul\w* +\d+ .*%$", printed, re.MULTILINE)
    assert re.search(r"^all +5 ", printed, re.MULTILINE)


def test_natively(script: Path) -> None:
    script.with_name("model.pte").write_bytes(MODEL)
    command = [sys.executable, "-m", "tensortab.native_run", "run.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    check(done.stdout)


def test_in_chrome(chrome: harness.Tab, script: Path) -> None:
    chrome.call(PUT.replace("FOLDER", repr(str(script.parent))), MODEL)
    code, printed, said = chrome.run_file(script)
    assert (code, said) == (0, "")
    check(printed)
