"""What is run: a job for the page, and the labels of its row in the result."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .engines import BENEATH, ENGINES, ORT, TRANSFORMERS, WLLAMA
from .models import GRAPHS, folder_url
from .weights import Shape

PRODUCTS = ((2048, 2048), (2048, 8192), (8192, 2048))  # K, N
ROWS = (1, 128)  # M
SLACK = 64  # tokens that llama.cpp's context holds beyond those asked for
UBATCH = 512  # rows of a prompt that llama.cpp computes at a time

Needs = Literal["", "f16", "gpu", "software"]  # of the adapter
Work = dict[str, Any]
TRANSFORMERS_DTYPES: dict[str, Needs] = {"q4": "", "q4f16": "f16"}
WLLAMA_PLACES: dict[str, Needs] = {"WebGPU": "f16", "CPU": "software"}


@dataclass(frozen=True)
class Job:
    """One browser's work."""

    labels: Work  # engine, version, setting and sizes
    work: Work  # what the page is given
    needs: Needs = ""


@dataclass(frozen=True)
class Setting:
    """A way to run onnxruntime-web."""

    name: str
    graph: str
    logits: str = "gpu"
    build: str = "webgpu"


BACK, STAY = "logits read back", "logits on the GPU"
SETTINGS = (
    Setting(BACK, "model_q4.onnx", logits="cpu"),
    Setting(STAY, "model_q4.onnx"),
    Setting(f"graph capture, {BACK}", "model_q4_captured.onnx", logits="cpu"),
    Setting(f"graph capture, {STAY}", "model_q4_captured.onnx"),
    Setting(f"graph capture, {STAY}, JSPI", "model_q4_captured.onnx", build="jspi"),
    Setting(f"8-bit activations, {BACK}", "model_q4_rounded.onnx", logits="cpu"),
    Setting(
        f"8-bit activations, graph capture, {STAY}, JSPI",
        "model_q4_rounded_captured.onnx",
        build="jspi",
    ),
    Setting(f"float16, {BACK}", "model_q4f16.onnx", logits="cpu"),
    Setting(f"float16, graph capture, {STAY}, JSPI", "model_q4f16_captured.onnx", build="jspi"),
)


def decoding(name: str, shape: Shape, prompt: int, new: int, reps: int) -> Iterator[Job]:
    """Every engine's ways to continue a prompt, the peers' best known ones included."""
    sizes: Work = {"prompt": prompt, "new": new, "reps": reps, "vocab": shape.vocab}
    sizes["capacity"] = prompt + new
    for setting in SETTINGS:
        yield _ort(name, shape, setting, sizes)
    for dtype, needs in TRANSFORMERS_DTYPES.items():
        work: Work = {"kind": "generate", "beneath": BENEATH.folder, "dtype": dtype, "shape": name}
        yield _job(TRANSFORMERS, dtype, name, work | sizes, needs)
    for place, needs in WLLAMA_PLACES.items():
        work = {"kind": "complete", "gpu": place == "WebGPU", "batch": UBATCH}
        work |= {"model": f"{folder_url(name)}/model.gguf", "capacity": prompt + new + SLACK}
        yield _job(WLLAMA, place, name, sizes | work, needs)


def _ort(name: str, shape: Shape, setting: Setting, sizes: Work) -> Job:
    graph, files = GRAPHS[setting.graph], f"{folder_url(name)}/onnx"
    work: Work = {
        "kind": "decoder",
        "build": setting.build,
        "logits": setting.logits,
        "model": f"{files}/{setting.graph}",
        "data": f"{files}/{graph.file}",
        "dtype": graph.dtype,
        "capture": graph.capture,
        "layers": shape.layers,
        "kv_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
    }
    needs: Needs = "f16" if graph.dtype == "float16" else ""
    return _job(ORT, setting.name, name, work | sizes, needs)


def _job(engine: str, setting: str, name: str, work: Work, needs: Needs) -> Job:
    part = ENGINES[engine]
    labels = {"engine": engine, "version": part.version, "setting": setting, "shape": name}
    labels |= {"prompt": work["prompt"], "new": work["new"]}
    return Job(labels, {"folder": part.folder, **work}, needs)


def products(sizes: Sequence[tuple[int, int]] = PRODUCTS) -> Iterator[Job]:
    """MatMulNBits alone, timed by the GPU."""
    part = ENGINES[ORT]
    for k, n in sizes:
        for m in ROWS:
            labels: Work = {"engine": ORT, "version": part.version, "setting": "MatMulNBits"}
            labels |= {"K": k, "N": n, "M": m}
            files = f"{folder_url('products')}/{k}x{n}"
            work: Work = {"kind": "product", "folder": part.folder, "build": "webgpu", "reps": 20}
            work |= {"model": f"{files}.onnx", "data": f"{files}.onnx_data"}
            yield Job(labels, work | {"K": k, "N": n, "M": m}, "gpu")
