import os
import signal
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

from tensortab import cli
from tiny_llama import write_checkpoint

LINES = """The cat sleeps on the warm windowsill.

Interest rates were raised by the central bank.
Bake the bread for forty minutes.
"""


@pytest.mark.parametrize("where", ["native", "chrome"])
def test_embed_prints_the_nearest_lines_best_first(request, tmp_path, where):
    request.getfixturevalue(where)
    file = tmp_path / "lines.txt"
    file.write_text(LINES)
    options = ["--native"] if where == "native" else []
    arguments = ["embed", *options, "--top", "2", "--query", "monetary policy", str(file)]
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert first.endswith("  Interest rates were raised by the central bank.")
    assert 1 >= float(first.split()[0]) > float(second.split()[0])


@pytest.mark.usefixtures("native", "chrome")
def test_generate_streams_the_same_text_natively_and_in_chrome(tmp_path):
    folder = str(write_checkpoint(tmp_path))
    texts = []
    for options in (["--native"], []):
        arguments = [
            "generate",
            *options,
            "--max-new-tokens",
            "12",
            "--model",
            folder,
            "def add(a,",
        ]
        result = CliRunner().invoke(cli.main, arguments)
        assert result.exit_code == 0, result.stderr
        assert "12 tokens, " in result.stderr
        texts.append(result.stdout)
    assert texts[0] == texts[1]
    assert texts[0].startswith("def add(a,")


def test_embed_refuses_a_file_without_lines(tmp_path):
    file = tmp_path / "empty.txt"
    file.write_text("\n\n")
    result = CliRunner().invoke(cli.main, ["embed", "--query", "x", str(file)])
    assert result.exit_code == 1
    assert result.stderr == f"Error: {file} has no lines\n"


def test_serve_prints_an_address_that_answers_until_it_is_ended():
    command = [sys.executable, "-c", "from tensortab.cli import main; main()", "serve", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        address = process.stdout.readline().split()[3]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as page:
            assert "default-src 'self'; " in page.headers["Content-Security-Policy"]
            assert b"<title>" in page.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 130


def test_setup_finds_everything_there_and_fetches_nothing(request):
    request.getfixturevalue("chrome")
    result = CliRunner().invoke(cli.main, ["setup"])
    assert result.exit_code == 0
    assert result.stdout.startswith("ready: ")
    assert "fetching" not in result.stderr
