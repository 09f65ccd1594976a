import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import harness
from tensortab import __version__, cli
from tensortab.browser_run import Page, decode, encode
from tensortab.errors import DeviceError, DeviceLostError, SetupError, ShapeError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run(chrome, tmp_path):
    """A script's exit code, stdout and stderr, run in the shared tab."""

    def run(source, *argv):
        file = tmp_path / "script.py"
        file.write_text(source)
        return chrome.run_file(file, *argv)

    return run


def test_frames_survive():
    assert decode(encode({"type": "ü"}, b"\x00\xff")) == ({"type": "ü"}, b"\x00\xff")


def test_a_script_sees_its_arguments_its_folder_and_numpy(run, tmp_path):
    source = (
        "import os, sys, numpy\n"
        "from importlib.metadata import version\n"
        "print(sys.argv[1:], __name__, __file__, os.getcwd(), numpy.arange(3).sum())\n"
        "print(version('tensortab'))\n"
    )
    expected = f"['a', '--b'] __main__ {tmp_path}/script.py {Path.cwd()} 3\n{__version__}\n"
    assert run(source, "a", "--b") == (0, expected, "")


def test_await_works_at_top_level(run):
    source = (
        "import asyncio, js\n"
        "await asyncio.sleep(0)\n"
        "adapter = await js.navigator.gpu.requestAdapter()\n"
        "print(bool(adapter.info.vendor))\n"
    )
    assert run(source) == (0, "True\n", "")


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ("sys.exit(7)", 7, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(None)", 0, ""),
        ("sys.exit('bye')", 1, "bye\n"),
        ("raise SystemExit(True)", 1, ""),
    ],
)
def test_exit_codes(run, ending, code, said):
    assert run(f"import sys\n{ending}") == (code, "", said)


def test_a_traceback_shows_the_files_lines(run, tmp_path):
    code, out, err = run("def f():\n    raise ValueError('boo')\n\nprint('before')\nf()\n")
    assert (code, out) == (1, "before\n")
    assert err.startswith("Traceback (most recent call last):\n")
    assert f'File "{tmp_path}/script.py", line 5, in <module>\n    f()\n' in err
    assert "line 2, in f\n    raise ValueError('boo')" in err
    assert err.endswith("ValueError: boo\n")
    assert "guest.py" not in err


def test_a_syntax_error_is_told_with_its_place(run):
    code, out, err = run("print('before')\na b\n")
    assert (code, out) == (1, "")
    assert 'script.py", line 2' in err
    assert "SyntaxError" in err


def test_output_streams_before_the_script_ends(chrome, tmp_path):
    """Each piece comes when it is written, a flushed one without its newline too."""
    file = tmp_path / "slow.py"
    file.write_text(
        "import sys, time\n"
        "print('one', end='', flush=True)\n"
        "time.sleep(0.5)\n"  # the worker is busy: its page has to pass the piece on
        "print('two', file=sys.stderr)\n"
        "time.sleep(0.5)\n"
        "print('three')\n"
    )
    came = []

    def output(stream, data):
        came.append((time.monotonic(), stream, data))

    assert chrome._loop.run(chrome.page.run(file, (), output)) == 0
    first = {stream + data.decode().strip(): at for at, stream, data in reversed(came) if data}
    assert first["stderrtwo"] - first["stdoutone"] > 0.3
    assert first["stdoutthree"] - first["stderrtwo"] > 0.3


def test_a_call_brings_megabytes_both_ways(chrome):
    data = os.urandom(3_000_000)
    assert chrome.call("async def main(payload): return payload[::-1]", data) == data[::-1]


def test_a_calls_errors_come_back_as_they_were(chrome):
    source = (
        "from tensortab.errors import ShapeError\n"
        "async def main(payload):\n"
        "    raise ShapeError('linear: x is float32[3]')\n"
    )
    with pytest.raises(ShapeError, match=r"^linear: x is float32\[3\]$"):
        chrome.call(source)


def test_a_page_that_was_given_up_says_so_and_the_next_is_a_new_one(loop):
    tab = harness.open_device(loop, "chrome")  # other tests' pages are in the shared one's browser
    with pytest.raises(TimeoutError):
        tab.call("async def main(payload):\n    while True: pass", timeout=0.5)
    given_up = tab.page
    with pytest.raises(DeviceError, match="the page was given up after CancelledError"):
        loop.run(given_up.call("async def main(payload): return payload"))
    assert tab.call("async def main(payload): return payload", b"new") == b"new"
    assert tab.page is not given_up
    tab.close()


def command(*arguments):
    return [sys.executable, "-c", "from tensortab.cli import main; main()", *map(str, arguments)]


@pytest.mark.usefixtures("chrome")
def test_the_command_mounts_passes_arguments_and_exits_with_the_scripts_code(tmp_path):
    folder = tmp_path / "data" / "deep"
    folder.mkdir(parents=True)
    (folder / "a.bin").write_bytes(bytes(range(256)))
    single = tmp_path / "single.txt"
    single.write_text("ünï")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        f"assert Path({str(folder / 'a.bin')!r}).read_bytes() == bytes(range(256))\n"
        f"print(Path({str(single)!r}).read_text(), *sys.argv[1:])\n"
        "print('to stderr', file=sys.stderr)\n"
        "sys.exit(3)\n"
    )
    mounts = ("--mount", tmp_path / "data", "--mount", single)
    done = subprocess.run(
        command("run", *mounts, script, "--timeout", "x"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (3, "ünï --timeout x\n")
    assert "to stderr\n" in done.stderr


@pytest.mark.usefixtures("chrome")
@pytest.mark.parametrize("endless", ["while True: pass", "import asyncio; await asyncio.sleep(99)"])
def test_a_time_out_is_code_124(tmp_path, endless):
    script = tmp_path / "endless.py"
    script.write_text(endless)
    result = CliRunner().invoke(cli.main, ["run", "--timeout", "6", str(script)])
    assert result.exit_code == 124
    assert result.stderr.endswith(f"Error: {script} did not end within 6 s (--timeout)\n")


def test_a_missing_mount_is_named(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("")
    result = CliRunner().invoke(cli.main, ["run", "--mount", "/no/such", str(script)])
    assert result.exit_code == 1
    assert "Error: --mount /no/such: there is no such file or folder\n" in result.stderr


@pytest.mark.usefixtures("chrome")
def test_ctrl_c_leaves_no_process_behind(short_path):
    script = short_path / "wait.py"
    script.write_text("import asyncio\nprint('here')\nawait asyncio.sleep(99)\n")
    process = subprocess.Popen(
        command("run", script),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(short_path)},
    )
    with process:
        assert process.stdout.readline() == "here\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
        assert process.wait(30) == 130
        assert "Traceback" not in process.stderr.read()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert [path.name for path in short_path.iterdir()] == ["wait.py"]


WAITING = """
import asyncio, js, sys
adapter = await js.navigator.gpu.requestAdapter()
device = await adapter.requestDevice()
print("open")
if sys.argv[1] == "again":
    await device.lost
    adapter = await js.navigator.gpu.requestAdapter()
    device = await adapter.requestDevice()
    await asyncio.sleep(6)
    sys.exit(5)
await asyncio.sleep(99)
"""


def ended_by(harm, script, mode):
    """Run WAITING in a browser of its own and harm the browser once a device is open."""
    script.write_text(WAITING)

    async def work():
        async with Page.open() as page:
            opened = asyncio.Event()
            run = asyncio.create_task(page.run(script, [mode], lambda *_: opened.set()))
            await asyncio.wait_for(opened.wait(), 30)
            await harm(page.browser)
            return await asyncio.wait_for(run, 30)

    return asyncio.run(work())


async def crash_gpu(browser):
    session = await browser.new_browser_cdp_session()
    await session.send("Browser.crashGpuProcess")


async def crash_page(browser):
    session = await browser.contexts[0].new_cdp_session(browser.contexts[0].pages[0])
    # A page that crashes answers nothing.
    crash = asyncio.create_task(session.send("Page.crash"))
    await asyncio.wait([crash], timeout=1)
    crash.cancel()


@pytest.mark.usefixtures("chrome")
def test_a_gpu_crash_ends_a_script_that_waits_on(tmp_path):
    with pytest.raises(DeviceLostError, match="the GPU device was lost"):
        ended_by(crash_gpu, tmp_path / "wait.py", "on")


@pytest.mark.usefixtures("chrome")
def test_a_script_may_open_another_device_after_a_gpu_crash(tmp_path):
    assert ended_by(crash_gpu, tmp_path / "wait.py", "again") == 5


@pytest.mark.usefixtures("chrome")
def test_a_page_crash_is_told(tmp_path):
    with pytest.raises(DeviceError, match=r"^the page is gone: it crashed"):
        ended_by(crash_page, tmp_path / "wait.py", "on")


def test_a_missing_chrome_is_told(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("")
    result = CliRunner().invoke(cli.main, ["run", "--chrome", "/no/chrome", str(script)])
    assert result.exit_code == 1
    assert "Error: no program at /no/chrome" in result.stderr


def test_another_browser_is_refused():
    async def work():
        async with Page.open("netscape"):
            pass

    with pytest.raises(SetupError, match=r"'netscape', expected 'chrome' or 'firefox'"):
        asyncio.run(work())


def test_firefox_runs_a_file(firefox, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import js, sys\n"
        "adapter = await js.navigator.gpu.requestAdapter()\n"
        "print(adapter.features.has('shader-f16'), sys.argv[1])\n"
        "1 / 0\n"
    )
    code, out, err = firefox.run_file(script, "x")
    assert (code, out) == (1, "True x\n")
    assert err.endswith("ZeroDivisionError: division by zero\n")
