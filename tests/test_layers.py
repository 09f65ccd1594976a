"""Imports only ever point down, and foreign modules stay where they belong."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tensortab.assets import PACKAGE

# Each layer may import from those before it; names in one tuple stand beside each other.
LAYERS = [
    ("errors", "assets", "pictured", "words", "notebook"),
    ("bars",),
    ("kernel", "dim", "target"),
    ("op",),
    ("graph",),
    ("evaluate",),
    ("device",),
    ("quant", "weights"),
    ("ops",),
    ("plan", "store", "profile", "quantizer", "widener"),
    ("memory", "live"),
    ("session",),
    ("eager",),
    ("runtime",),
    ("models", "pte"),
    ("text", "display"),  # display is looked up late by what it draws (pictured.py)
    ("__init__",),
]
FOREIGN = {
    "js": {
        "device/browser.py",
        "weights/browser.py",
        "weights/body.py",
        "text/browser.py",
        "guest.py",
    },
    "pyodide": {
        "device/browser.py",
        "weights/browser.py",
        "weights/body.py",
        "text/browser.py",
        "guest.py",
    },
    "wgpu": {"device/native.py", "device/native_readback.py", "doctor.py"},
    "IPython": {"notebook.py"},
    "jinja2": {"text/template.py"},
    "torch": set(),
}


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(file: Path) -> Iterator[str]:
    """Absolute names of what a file imports."""
    package = ("tensortab", *file.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield from (f"{module}.{a.name}" for a in node.names)


def rank(name: str) -> int | None:
    return next((i for i, layer in enumerate(LAYERS) if name in layer), None)


def test_imports_point_down() -> None:
    checked = 0
    for file in files():
        own = rank(file.relative_to(PACKAGE).with_suffix("").parts[0])
        for name in imported(file):
            parts = name.split(".")
            if parts[0] != "tensortab" or own is None:
                continue
            target = rank(parts[1])
            assert target is not None, f"{file} imports {name}, which stands in no layer"
            assert target <= own, f"{file} imports {name}, which stands above it"
            checked += 1
    assert checked > 50


def test_foreign_modules_stay_in_their_files() -> None:
    for file in files():
        place = file.relative_to(PACKAGE).as_posix()
        for name in imported(file):
            if (allowed := FOREIGN.get(name.split(".")[0])) is not None:
                assert place in allowed, f"{place} imports {name}"
