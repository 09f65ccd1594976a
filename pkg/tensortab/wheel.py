"""The running package as a wheel for Pyodide, built in memory.

It holds the Python, the JavaScript beside it and the kernels; pages (`web/`) reach Pyodide from
outside. What a tab runs is always what runs here, in a checkout too, with no build step between.
"""

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tensortab import __version__, assets


def name() -> str:
    """The wheel's file name."""
    return f"tensortab-{__version__}-py3-none-any.whl"


def build() -> bytes:
    """The wheel's bytes."""
    info = f"tensortab-{__version__}.dist-info"
    entries = {path: file.read_bytes() for path, file in _files()}
    entries[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: tensortab\nVersion: {__version__}\nRequires-Dist: numpy\n"
    ).encode()
    entries[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: tensortab\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    entries[f"{info}/RECORD"] = _record(entries, f"{info}/RECORD").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in entries.items():
            archive.writestr(path, data)
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
