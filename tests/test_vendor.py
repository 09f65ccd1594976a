import hashlib
import io
import json
import stat
import tarfile
import urllib.request
import zipfile
from dataclasses import replace

import pytest

from tensortab import parts, vendor
from tensortab.errors import SetupError

FILES = {"package/a.txt": b"a", "package/deep/b.txt": b"b", "package/unwanted": b"x" * 1000}


def tarball():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


TARBALL = tarball()
PART = parts.Part(
    what="a part",
    source="npm",
    package="@some/part",
    version="1.2.3",
    sha256=hashlib.sha256(TARBALL).hexdigest(),
    folder="vendor/part-1.2.3",
    take={"package/a.txt": "a.txt", "package/deep/b.txt": "deep/b.txt"},
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("TENSORTAB_CACHE", str(folder))
    return folder


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A program called npm that "packs" TARBALL and writes down how it was called."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (tmp_path / "part.tgz").write_bytes(TARBALL)
    calls = tmp_path / "calls"
    program = programs / "npm"
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\ncp {tmp_path}/part.tgz some-part.tgz\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return calls


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


WANTED = {"vendor/part-1.2.3/a.txt": b"a", "vendor/part-1.2.3/deep/b.txt": b"b"}


def test_takes_the_named_files_and_fetches_nothing_twice(cache, npm, capsys):
    vendor.ensure(PART)
    assert "fetching a part: npm @some/part 1.2.3" in capsys.readouterr().err
    vendor.ensure(PART)
    assert capsys.readouterr().err == ""
    assert npm.read_text() == "pack @some/part@1.2.3 --silent\n"
    assert contents(cache) == WANTED


def test_does_an_interrupted_step_again(cache, npm):
    vendor.ensure(PART)
    (cache / "vendor/part-1.2.3/deep/b.txt").unlink()
    vendor.ensure(PART)
    assert len(npm.read_text().splitlines()) == 2
    assert contents(cache) == WANTED


@pytest.mark.usefixtures("npm")
def test_refuses_another_archive_and_leaves_nothing(cache):
    other = replace(PART, sha256="0" * 64)
    with pytest.raises(SetupError, match=rf"some-part.tgz: sha256 is {PART.sha256}, expected 0000"):
        vendor.ensure(other)
    assert contents(cache) == {}
    assert not vendor.is_ready(other)


@pytest.mark.usefixtures("cache")
def test_says_what_to_install_where_npm_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SetupError, match=r"'npm' is not on the PATH\. Install Node's npm"):
        vendor.ensure(PART)


@pytest.mark.usefixtures("cache")
def test_shows_the_last_words_of_a_failing_program(npm):
    (npm.parent / "programs" / "npm").write_text("#!/bin/sh\necho no route to host >&2\nexit 7\n")
    with pytest.raises(SetupError, match=r"ended with code 7\. Install .*\nno route to host"):
        vendor.ensure(PART)


def test_takes_files_out_of_a_wheel(tmp_path):
    file = tmp_path / "a.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    vendor.unpack(file, replace(PART, source="pip"), tmp_path / "fresh")
    assert contents(tmp_path / "fresh") == {"a.txt": b"a", "deep/b.txt": b"b"}


@pytest.mark.usefixtures("cache")
def test_names_the_models_there_are():
    with pytest.raises(SetupError, match="no model is called 'gpt'; there is all-MiniLM-L6-v2"):
        vendor.model("gpt")


def test_the_lock_names_exactly_what_lies_beside_it():
    folder = vendor.pyodide() / f"pyodide-{parts.PYODIDE_VERSION}"
    packages = json.loads((folder / "pyodide-lock.json").read_text())["packages"]
    assert set(packages) == {"numpy", "micropip", "packaging"}
    for package in packages.values():
        digest = hashlib.sha256((folder / package["file_name"]).read_bytes()).hexdigest()
        assert digest == package["sha256"], package["name"]


def test_micropip_installs_the_wheel_from_its_address_without_another_network(chrome):
    source = """
import importlib.metadata, pyodide_js
async def main(address):
    await pyodide_js.loadPackage("micropip")
    import micropip
    micropip.uninstall("tensortab")
    await micropip.install(address.decode())
    return importlib.metadata.distribution("tensortab").read_text("INSTALLER").encode()
"""
    with urllib.request.urlopen(f"{chrome.page.address}boot.json") as boot:
        address = chrome.page.address + json.load(boot)["wheel"]
    assert chrome.call(source, address.encode()) == b"micropip"
