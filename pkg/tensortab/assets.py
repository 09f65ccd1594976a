"""Where the files beside the Python lie: `WGSL` (kernels) and `WEB` (pages, workers).

An installed package carries them inside itself; in a checkout they stand at the repository's root.
In a browser only `WGSL` exists: pages reach Pyodide from outside, so its wheel needs none.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def _folder(name: str) -> Path:
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent.parent / name


WGSL = _folder("wgsl")
WEB = _folder("web")
EMBEDDED = (
    WEB / "models" / "python-16m"
)  # a language model of Python source, there without a network
