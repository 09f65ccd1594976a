"""Chromium's compiler without Chromium and without a GPU, for what only some GPUs have.

Dawn for Node, from npm, with its null backend: modules are parsed, checked and analysed as
Chromium does, but nothing becomes a pipeline.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tensortab import vendor
from tensortab.kernel import Kernel
from tensortab.parts import Part

_ARCH = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower(), "")
_PLACE = "darwin-universal" if sys.platform == "darwin" else f"{sys.platform}-{_ARCH}"
DAWN = Part(
    what="Dawn for Node (51 MB, for tests)",
    source="npm",
    package="webgpu",
    version="0.6.2",
    sha256="77a6be6513b9f7c2e94425620ce603efb38cdc5d0393e1b31a1b0c8479330ffd",
    folder="vendor/webgpu-0.6.2",
    take={f"package/dist/{_PLACE}/dawn.node": "dawn.node"},
)


def refused(kernels: Iterable[Kernel]) -> dict[str, str]:
    """The messages for those that Tint refuses, by name and knobs."""
    vendor.ensure(DAWN)
    dawn = vendor.cache() / DAWN.folder / "dawn.node"
    sources = [(f"{k.name} {dict(k.knobs)}", k.source) for k in kernels]
    told = subprocess.run(
        ["node", Path(__file__).with_suffix(".mjs"), dawn],
        input=json.dumps(sources),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    found: dict[str, str] = json.loads(told.stdout)
    return found
