import json
import os
import re
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


TEMPLATE = "{% for m in messages %}{{ m.role[0] }}: {{ m.content }}\n{% endfor %}a: "
RATES = r" tokens, -?[\d.]* tokens/s \(GPU time alone: [\d.]+\)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = write_checkpoint(tmp_path_factory.mktemp("llama"))
    (made / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    (made / "generation_config.json").write_text('{"do_sample": false}')  # and without an end
    return made


def generate(*arguments, **options):
    return CliRunner().invoke(cli.main, ["generate", *map(str, arguments)], **options)


@pytest.mark.usefixtures("native", "chrome")
def test_generate_streams_the_same_text_natively_and_in_chrome(folder):
    texts = []
    for options in (["--native"], []):
        result = generate(*options, "--max-new-tokens", 12, "--model", folder, "def add(a,")
        assert result.exit_code == 0, result.stderr
        line = result.stderr.splitlines()[-1]
        assert re.search(rf": loaded in [\d.]+ s; \d+ prompt{RATES}; 12 new{RATES}$", line), line
        texts.append(result.stdout)
    assert texts[0] == texts[1]
    assert texts[0].startswith("def add(a,")
    assert texts[0].endswith("\n")


@pytest.mark.usefixtures("native", "chrome")
def test_generate_lays_a_chat_out_natively_and_in_chrome(folder):
    common = ("--model", folder, "--max-new-tokens", 9, "add")
    plain = generate("--native", *common[:-1], "s: be brief\nu: add\na: ")
    for options in (["--native"], []):
        result = generate(*options, "--system", "be brief", *common)
        assert result.exit_code == 0, result.stderr
        assert f"s: be brief\nu: add\na: {result.stdout}" == plain.stdout, "the answer alone"
    assert generate("--native", "--chat", *common).stdout != result.stdout


@pytest.mark.usefixtures("native")
def test_generate_takes_stdin_and_ends_before_a_stop_string(folder):
    whole = generate("--native", "--model", folder, "-", input="def add(a,").stdout
    assert whole.startswith("def add(a,")
    stop = whole[14:17]
    cut = generate("--native", "--model", folder, "--stop", "nowhere", "--stop", stop, "def add(a,")
    assert cut.stdout == whole[: whole.index(stop, 10)] + "\n"


@pytest.mark.usefixtures("native")
def test_generate_prints_kernel_tables_when_asked(folder):
    result = generate(
        "--native", "--profile", "--max-new-tokens", 2, "--model", folder, "def add(a,"
    )
    assert re.search(r"a prompt's chunk of \d+ tokens\nkernel +dispatches", result.stderr)
    assert re.search(r"\n\na decode step\nkernel .*\n(.+\n)*sample ", result.stderr)


@pytest.mark.usefixtures("native")
def test_generate_shows_a_prompt_that_nothing_follows(folder):
    result = generate("--native", "--max-new-tokens", 0, "--model", folder, "def add(a,")
    assert result.stdout == "def add(a,\n"
    assert " 0 new tokens, - tokens/s" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "no/such", "x"], "--model no/such: no folder, no URL, and no model of that"),
        (["--context", "2", "def add(a,"], "tokens, expected 1 to 2, the context this model was"),
        (["--context", "201", "x"], "context is 201, expected 1 to 200"),
        (["--top-p", "3", "x"], "sampling: top_p is 3.0, expected 0 to 1"),
        (["--quantize", "q3", "x"], "q3"),
        ([""], "the prompt has 0 tokens, expected at least 1"),
    ],
)
@pytest.mark.usefixtures("native")
def test_generate_says_what_is_wrong_in_a_sentence(folder, arguments, message):
    if "--model" not in arguments:
        arguments = ["--model", folder, *arguments]
    result = generate("--native", *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("chrome")
def test_generate_names_the_folder_when_it_fails_in_a_page(tmp_path):
    model = write_checkpoint(tmp_path)
    result = generate("--model", model, "--chat", "x")
    assert result.exit_code == 1
    assert f"Error: {model} has no chat template (" in result.stderr


@pytest.mark.parametrize("where", ["native", "chrome"])
def test_generate_ends_cleanly_on_ctrl_c(request, where):
    request.getfixturevalue(where)
    source = "from tensortab.cli import main; main()"
    command = [sys.executable, "-c", source, "generate", "--max-new-tokens", "1000", "def f(x):"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
    native = ["--native"] if where == "native" else []
    with subprocess.Popen([*command, *native], **options) as process:
        begun = process.stdout.read(12)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
        rest = process.stdout.read()
        assert process.wait(30) == 130
        assert b"Traceback" not in process.stderr.read()
    assert begun.startswith(b"def f(x):")
    assert rest.endswith(b"\n"), "the shell's prompt gets a line of its own"
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_embed_refuses_a_file_without_lines(tmp_path):
    file = tmp_path / "empty.txt"
    file.write_text("\n\n")
    result = CliRunner().invoke(cli.main, ["embed", "--query", "x", str(file)])
    assert result.exit_code == 1
    assert result.stderr == f"Error: {file} has no lines\n"


def test_serve_prints_an_address_that_answers_until_it_is_ended():
    command = [sys.executable, "-c", "from tensortab.cli import main; main()", "serve", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            address = process.stdout.readline().split()[3]
            assert address.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(address) as page:
                assert "default-src 'self'; " in page.headers["Content-Security-Policy"]
                assert b"<title>" in page.read()
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 130
        finally:
            process.kill()


def test_setup_finds_everything_there_and_fetches_nothing(request):
    request.getfixturevalue("chrome")
    result = CliRunner().invoke(cli.main, ["setup"])
    assert result.exit_code == 0
    assert result.stdout.startswith("ready: ")
    assert "fetching" not in result.stderr


@pytest.mark.usefixtures("native")
def test_quantize_writes_a_folder_that_generates_the_same(folder, tmp_path):
    out = tmp_path / "q4"
    result = CliRunner().invoke(cli.main, ["quantize", str(folder), str(out)])
    assert result.exit_code == 0, result.stderr
    assert re.fullmatch(rf"{out}: 0\.\d MB\n", result.stdout)
    texts = [
        generate("--native", "--max-new-tokens", 8, "--temperature", 0, "--model", place, "a = ")
        for place in (folder, out)
    ]
    assert texts[0].stdout == texts[1].stdout
    again = CliRunner().invoke(cli.main, ["quantize", str(folder), str(out)])
    assert again.exit_code == 1
    assert "q4: this is there already" in again.stderr
