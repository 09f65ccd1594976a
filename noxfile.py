"""Checks and the demo, from a bare Python.

    python3 noxfile.py                 all checks: lint, types, tests, firefox
    python3 noxfile.py -s demo         set up what is missing and serve the demo page
    python3 noxfile.py -s catalogue    make and run all of ExecuTorch's operator tests
    python3 noxfile.py -s lite         run the notebooks in JupyterLite; -- serve: serve them
    python3 noxfile.py -s bench        measure this machine in Chromium, and write the tables anew
    python3 noxfile.py -s tests -- -k permute

Without nox this file makes an environment with it under .nox/ and starts itself there; who has nox
runs `nox` as usual. Root on Debian or Ubuntu gets missing system packages through apt; others are
told what to install.
"""

import datetime as dt
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
BOOTSTRAP = ROOT / ".nox" / "bootstrap"
NOX = "nox==2026.10.20"
OLDEST = (3, 11)


def bootstrap() -> None:
    """Start this file again in an environment that has nox."""
    if sys.version_info < OLDEST:
        sys.exit(f"noxfile.py: this is Python {sys.version.split()[0]}, at least 3.11 is needed")
    python = BOOTSTRAP / "bin" / "python"
    if not (BOOTSTRAP / "ready").exists():
        print(f"noxfile.py: making {BOOTSTRAP.relative_to(ROOT)} with {NOX}", flush=True)
        make_environment()
        subprocess.run([python, "-m", "pip", "install", "--quiet", NOX], check=True)
        (BOOTSTRAP / "ready").touch()
    arguments = [python, __file__, *sys.argv[1:]]
    os.execv(python, list(map(str, arguments)))


def make_environment() -> None:
    """A virtual environment, also where Debian's python3 came without the parts for one."""
    shutil.rmtree(BOOTSTRAP, ignore_errors=True)
    command = [sys.executable, "-m", "venv", str(BOOTSTRAP)]
    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
        return
    need = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if not shutil.which("apt-get") or os.geteuid() != 0:
        sys.exit(f"noxfile.py: {' '.join(command)} failed. Debian: apt-get install {need}")
    print(f"noxfile.py: this Python cannot make environments; apt-get install {need}", flush=True)
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "install", "-y", "-qq", need], check=True)
    shutil.rmtree(BOOTSTRAP, ignore_errors=True)
    subprocess.run(command, check=True)


try:
    import nox
except ModuleNotFoundError:
    bootstrap()

nox.needs_version = ">=2024.3.2"
nox.options.sessions = ["lint", "types", "tests", "firefox"]
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = True

PYTEST = "pytest==9.2.0"
TEST_TOOLS = (
    PYTEST,
    "pytest-xdist==3.8.0",
    "torch==2.13.0",
    "hypothesis==6.170.15",
    "onnxruntime==1.32.0",
    "safetensors==0.8.0",
    "ipython==9.18.1",
    "transformers==5.23.0",
)

EXECUTORCH = ("executorch==1.5.1", "torchao==0.18.0")
# What an export imports, of the things that these two ask for: all of it is gigabytes.
EXPORT_TOOLS = (
    "torch==2.13.0",
    "flatbuffers==25.12.19",
    "mpmath==1.3.0",
    "ruamel.yaml==0.19.1",
    "tabulate==0.10.0",
)


@nox.session
def lint(session: nox.Session) -> None:
    """Style: ruff's rules and its formatting."""
    session.install("ruff==0.17.6")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Types: mypy --strict on the package."""
    session.install("-e", ".", "mypy==2.4.1")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Everything on this machine's driver and in Chrome."""
    session.install("-e", ".[native]", *TEST_TOOLS)
    session.run("tensortab", "setup", "--native")
    elsewhere = "not firefox and not lite and not gpu"  # sessions of their own
    # Each of two processes has a tab and a driver of its own, and whole files to itself.
    two = ("-n", "2", "--dist", "loadfile")
    session.run("python", "-m", "pytest", "-m", elsewhere, *two, *session.posargs)


def environment_of_tests(session: nox.Session) -> Path:
    """The programs of the session `tests`, set up: torch is a gigabyte, and one is enough."""
    nox_again = (sys.executable, "-m", "nox", "-f", __file__)
    session.run(*nox_again, "-s", "tests", "--install-only", external=True)
    return ROOT / ".nox" / "tests" / "bin"


@nox.session(venv_backend="none")
def firefox(session: nox.Session) -> None:
    """One op of each kind, the model and the page, in Firefox: naga and shader-f16."""
    programs = environment_of_tests(session)
    session.run(programs / "tensortab", "setup", "--firefox", external=True)
    pytest = (programs / "python", "-m", "pytest")
    session.run(*pytest, "-m", "firefox", *session.posargs, external=True)


@nox.session(venv_backend="none")
def gpu(session: nox.Session) -> None:
    """What needs a GPU's matrix units, in Chrome on this machine's GPU."""
    pytest = (environment_of_tests(session) / "python", "-m", "pytest", "-m", "gpu")
    session.run(*pytest, *session.posargs, env={"TENSORTAB_ADAPTER": "gpu-f16"}, external=True)


@nox.session(venv_backend="none")
def fuzz(session: nox.Session) -> None:
    """100,000 mutated ExecuTorch programs: nothing but FormatError and UnsupportedError."""
    pytest = (environment_of_tests(session) / "python", "-m", "pytest")
    many = {"TENSORTAB_MUTATIONS": "100000"}
    session.run(*pytest, "tests/pte/test_malformed.py", env=many, external=True)


@nox.session
def catalogue(session: nox.Session) -> None:
    """All operator tests that executorch's wheel carries, natively and in Chrome; made once."""
    session.install("-e", ".[native]", *EXPORT_TOOLS, PYTEST)
    session.install("--no-deps", *EXECUTORCH)
    session.run("tensortab", "setup", "--native")
    folder = ROOT / ".nox" / EXECUTORCH[0]
    if not (folder / "manifest.json").exists():  # it is written last
        session.run("python", "tools/export_catalogue.py", str(folder))
    whole = {"TENSORTAB_CATALOGUE": str(folder)}
    files = ("tests/pte/test_catalogue.py", "tests/pte/test_refused.py")
    session.run("python", "-m", "pytest", "-m", "not firefox", *files, *session.posargs, env=whole)


@nox.session
def lite(session: nox.Session) -> None:
    """The notebooks in JupyterLite: run each in Chrome; `-- serve` serves them, `-- OUT` writes."""
    session.install("-e", ".", "-r", "lite/requirements.txt", PYTEST)
    build = ("python", "lite/build_site.py")
    if session.posargs[:1] == ["serve"]:
        session.run(*build, "dist/lite", "--serve", *session.posargs[1:])
    elif session.posargs:
        session.run(*build, *session.posargs)
    else:
        session.run("python", "-m", "pytest", "-m", "lite", "tests/lite")


@nox.session
def bench(session: nox.Session) -> None:
    """Speed, in Chromium: a file in bench/results/, then the tables and the chart."""
    session.install("-e", ".")
    session.run("tensortab", "setup")
    out = ROOT / "bench" / "results" / f"bench-{dt.datetime.now(tz=dt.UTC):%Y-%m-%d-%H%M}.json"
    session.run("tensortab", "bench", *(session.posargs or ["all"]), "--out", str(out))
    session.run("python", "bench/report.py")


@nox.session
def demo(session: nox.Session) -> None:
    """The demo page at a local address."""
    session.install("-e", ".")
    session.run("tensortab", "serve", *session.posargs)


if __name__ == "__main__":
    nox.main()
