"""What a tab unpacks of this environment, built in memory: the running package, and jinja2.

The package's wheel holds the Python, the JavaScript beside it and the kernels; pages (`web/`) reach
Pyodide from outside. What a tab runs is always what runs here, in a checkout too, with no build
step between. So it is with jinja2, for chat templates: its own Python and that of MarkupSafe, whose
compiled half it does without, as they are installed here.
"""

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from tensortab import __version__, assets

JINJA = ("jinja2", "markupsafe")


def name() -> str:
    """The wheel's file name."""
    return f"tensortab-{__version__}-py3-none-any.whl"


def build(also: Mapping[str, Path] | None = None) -> bytes:
    """The wheel's bytes; `also` are further files by their path in it."""
    info = f"tensortab-{__version__}.dist-info"
    entries = {path: file.read_bytes() for path, file in (*_files(), *(also or {}).items())}
    entries[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: tensortab\nVersion: {__version__}\n"
        "Requires-Python: >=3.11\nRequires-Dist: numpy\n"
    ).encode()
    entries[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: tensortab\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    entries[f"{info}/RECORD"] = _record(entries, f"{info}/RECORD").encode()
    return _zipped(entries)


@cache
def build_jinja() -> bytes:
    """A zip of jinja2 and MarkupSafe, their Python and their licences, for site-packages."""
    entries = {}
    for package in JINJA:
        for file in metadata.files(package) or ():
            if file.suffix == ".py" or "licenses" in file.parts or file.name == "METADATA":
                entries[file.as_posix()] = Path(str(file.locate())).read_bytes()
    return _zipped(entries)


def _zipped(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in entries.items():
            # Left alone, writestr writes down the time: the same files would be another wheel.
            info = zipfile.ZipInfo(path)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()


def _files() -> Iterator[tuple[str, Path]]:
    for pattern in ("*.py", "*.js", "py.typed"):
        for file in sorted(assets.PACKAGE.rglob(pattern)):
            relative = file.relative_to(assets.PACKAGE)
            if relative.parts[0] not in ("wgsl", "web"):
                yield f"tensortab/{relative.as_posix()}", file
    for file in sorted(assets.WGSL.glob("*.wgsl")):
        yield f"tensortab/wgsl/{file.name}", file


def _record(entries: dict[str, bytes], own: str) -> str:
    rows = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in entries.items()]
    return "\n".join([*rows, f"{own},,", ""])


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
