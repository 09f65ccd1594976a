"""The peers themselves: from npm, once, at pinned versions, into the cache's vendor folder."""

from tensortab import vendor
from tensortab.parts import Part

ORT = "onnxruntime-web"
TRANSFORMERS = "@huggingface/transformers"
WLLAMA = "@wllama/wllama"
WASM = "ort-wasm-simd-threaded"


def _dist(*names: str) -> dict[str, str]:
    return {f"package/dist/{name}": name for name in names}


ENGINES = {
    ORT: Part(
        what="onnxruntime-web (45 MB out of 130)",
        source="npm",
        package=ORT,
        version="1.30.0",
        sha256="d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
        folder="vendor/onnxruntime-web-1.30.0",
        take=_dist(
            *("ort.webgpu.min.mjs", f"{WASM}.asyncify.mjs", f"{WASM}.asyncify.wasm"),
            *("ort.jspi.min.mjs", f"{WASM}.jspi.mjs", f"{WASM}.jspi.wasm"),
        ),
    ),
    TRANSFORMERS: Part(
        what="transformers.js (0.6 MB)",
        source="npm",
        package=TRANSFORMERS,
        version="4.3.1",
        sha256="0325441d6bd7bc7697fccb32ee6e5febc7f89691e42402d071adc678237b8015",
        folder="vendor/transformers-4.3.1",
        take=_dist("transformers.min.js"),
    ),
    WLLAMA: Part(
        what="wllama (9 MB)",
        source="npm",
        package=WLLAMA,
        version="3.8.1",
        sha256="bbe65fcc6d128d7853aed6d1699db7541e51a0363dc0135b8b68153acbf74670",
        folder="vendor/wllama-3.8.1",
        take={
            "package/esm/index.min.js": "index.js",
            "package/esm/wasm/wllama.wasm": "wllama.wasm",
        },
    ),
}

# transformers.js bundles the JavaScript of an onnxruntime-web of its own, and loads its wasm.
BENEATH = Part(
    what="transformers.js's onnxruntime-web (27 MB)",
    source="npm",
    package=ORT,
    version="1.31.0-dev.20260914-8d85527a0",
    sha256="0de27582f3e3189dec4a2082513a0af1ea79ae7fd3039bbfe634a526e173cbe0",
    folder="vendor/onnxruntime-web-1.31.0-dev",
    take=_dist(f"{WASM}.asyncify.mjs", f"{WASM}.asyncify.wasm"),
)


def prepare() -> None:
    """Fetch what is missing."""
    for part in (*ENGINES.values(), BENEATH):
        vendor.ensure(part)
