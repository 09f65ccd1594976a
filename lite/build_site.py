"""Build the notebooks' site: JupyterLite, this package's wheel, the notebooks and their model.

    python lite/build_site.py OUT              as it is published: Pyodide comes from its CDN
    python lite/build_site.py OUT --offline    with a Pyodide of its own: no network is needed
    python lite/build_site.py OUT --serve      that, and serves it on 127.0.0.1 (--port)

The site is static files; any web server can host them, below any path.
"""

import argparse
import hashlib
import http.server
import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tensortab import assets, parts, system, vendor, wheel
from tensortab.errors import TensortabError

LITE = Path(__file__).resolve().parent
NOTEBOOKS = LITE.parent / "notebooks"
KERNEL = LITE / "kernel.txt"
SETTINGS = ("jupyter_lite_config.json", "jupyter-lite.json", "overrides.json")
FOLDER = f"vendor/notebook-{hashlib.sha256(KERNEL.read_bytes()).hexdigest()[:8]}"
COMM = "comm-"
SQLITE = "sqlite3-1.0.0-py3-none-any.whl"
NOT_CONTENT = ("__pycache__", ".*")

# The kernel is a classic worker, which takes the script and not the module that pages import.
SCRIPT = parts.Part(
    what="Pyodide's script for classic workers",
    source="npm",
    package="pyodide",
    version=parts.PYODIDE_VERSION,
    sha256=next(p.sha256 for p in parts.PARTS if p.package == "pyodide"),
    folder=FOLDER,
    take={"package/pyodide.js": "pyodide.js"},
)


def fetched() -> list[Path]:
    """The wheels of kernel.txt, fetched once; pip checks their hashes."""
    folder = vendor.cache() / FOLDER / "wheels"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        system.say("fetching what the notebook's kernel loads (4 MB)")
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            options = ["--no-deps", "--only-binary=:all:", "--python-version=3.13", "--quiet"]
            wanted = ["--require-hashes", "--requirement", KERNEL, "--dest", Path(fresh, "wheels")]
            command = [sys.executable, "-m", "pip", "download", *options, *wanted]
            system.run(command, "the notebook's kernel", vendor.PIP_ADVICE)
            Path(fresh, "wheels").rename(folder)
    return sorted(folder.glob("*.whl"))


def kernel_wheels() -> list[Path]:
    """Those that Pyodide's distribution has, too."""
    return [file for file in fetched() if not file.name.startswith(COMM)]


def distribution(folder: Path) -> None:
    """Write a Pyodide that starts the kernel without a network: what its CDN gives, trimmed."""
    vendor.pyodide()
    vendor.ensure(SCRIPT)
    shutil.copytree(vendor.cache() / parts.PYODIDE, folder)
    shutil.copy2(vendor.cache() / FOLDER / "pyodide.js", folder)
    for file in kernel_wheels():
        shutil.copy2(file, folder)
    # No registry has sqlite3 as a wheel, and the kernel insists on installing it. With an empty one
    # `import sqlite3` fails as it should, and IPython keeps no history, which a tab has none of.
    with zipfile.ZipFile(folder / SQLITE, "w") as archive:
        archive.writestr("sqlite3-1.0.0.dist-info/METADATA", "Name: sqlite3\nVersion: 1.0.0\n")
    lock = vendor.lock_file()
    lock["packages"] |= {entry["name"]: entry for entry in kernel_entries(folder)}
    (folder / "pyodide-lock.json").write_text(json.dumps(lock))


def kernel_entries(folder: Path) -> Iterator[dict[str, object]]:
    """What the lock says of the kernel's wheels."""
    files = [SQLITE, *(file.name for file in kernel_wheels())]
    names = [file.split("-")[0].replace("_", "-") for file in files]
    needs = {"ipython": [name for name in names if name != "ipython"], "jedi": ["parso"]}
    for name, file in zip(names, files, strict=True):
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        yield vendor.locked(name, file.split("-")[1], file, digest, needs.get(name, ()))


def build(out: Path, *, offline: bool = False) -> None:
    """Write the site; whatever was at `out` is gone."""
    vendor.pyodide()
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder)
        for name in SETTINGS:
            shutil.copy2(LITE / name, stage)
        write_content(stage / "content")
        write_wheels(stage / "pypi")
        if offline:
            # Where jupyterlite-pyodide-kernel looks for one to take along and to point to.
            distribution(stage / "static" / "pyodide")
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        jupyter = [sys.executable, "-m", "jupyterlite_core", "build", "--output-dir"]
        advice = "Its packages: pip install -r lite/requirements.txt."
        system.run([*jupyter, out.resolve()], "jupyter lite build", advice, cwd=stage)
    shutil.copy2(LITE / "index.html", out)  # in the place of one that only leads to the lab


def write_content(folder: Path) -> None:
    """The notebooks, the files they read, and the embedded model."""
    shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns(*NOT_CONTENT))
    shutil.copytree(assets.EMBEDDED, folder / "models" / assets.EMBEDDED.name)


def write_wheels(folder: Path) -> None:
    """What `%pip install tensortab` finds: this package, with a tokenizer; and comm."""
    folder.mkdir()
    tokenizers = vendor.cache() / parts.TOKENIZERS
    also = {f"tensortab/text/{name}": tokenizers / name for name in ("tokenizers.mjs", "LICENSE")}
    (folder / wheel.name()).write_bytes(wheel.build(also))
    (comm,) = (file for file in fetched() if file.name.startswith(COMM))
    shutil.copy2(comm, folder)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Static files; a rebuilt site is seen at once, and nothing is told of single requests."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


def server(site: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A server of the site on 127.0.0.1 (0: any free port)."""
    return http.server.ThreadingHTTPServer(
        ("127.0.0.1", port), partial(Handler, directory=str(site))
    )


def main() -> None:
    about = __doc__.partition("\n")[0]
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("out", type=Path, help="the site's folder, replaced")
    parser.add_argument("--offline", action="store_true", help="take a Pyodide along")
    parser.add_argument("--serve", action="store_true", help="the same, and serve it")
    parser.add_argument("--port", type=int, default=8000, help="0: any free one")
    options = parser.parse_args()
    try:
        build(options.out, offline=options.offline or options.serve)
        if not options.serve:
            return
        with server(options.out, options.port) as running:
            address = f"http://127.0.0.1:{running.server_port}/"
            print(f"the notebooks are at {address} (Ctrl-C ends it)", flush=True)
            running.serve_forever()
    except (TensortabError, OSError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
