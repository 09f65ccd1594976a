"""What is run: a job for the page, and the labels of its row in the result."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .engines import BENEATH, ENGINES, ORT, TRANSFORMERS, WLLAMA
from .models import GRAPHS, folder_url
from .weights import Shape

PRODUCTS = ((2048, 2048), (2048, 8192), (8192, 2048))  # K, N
ROWS = (1, 128)  # M
UBATCH = 512  # rows of a prompt that llama.cpp computes at a time


@dataclass(frozen=True)
class Job:
    """One browser's work."""

    labels: dict[str, Any]  # engine, version, setting and sizes
    work: dict[str, Any]  # what the page is given
    needs_f16: bool = False


@dataclass(frozen=True)
class Setting:
    """A way to run onnxruntime-web."""

    name: str
    graph: str
    logits: str = "gpu"
    build: str = "webgpu"


SETTINGS = (
    Setting("logits read back", "model_q4.onnx", logits="cpu"),
    Setting("logits on the GPU", "model_q4.onnx"),
    Setting("graph capture, logits read back", "model_q4_captured.onnx", logits="cpu"),
    Setting("graph capture, logits on the GPU", "model_q4_captured.onnx"),
    Setting("graph capture, logits on the GPU, JSPI", "model_q4_captured.onnx", build="jspi"),
    Setting("activations in 8 bits, logits read back", "model_q4_rounded.onnx", logits="cpu"),
    Setting("float16, logits read back", "model_q4f16.onnx", logits="cpu"),
    Setting("float16, graph capture, logits on the GPU", "model_q4f16_captured.onnx"),
)


def decoding(name: str, shape: Shape, prompt: int, new: int, reps: int) -> Iterator[Job]:
    """Every engine's ways to continue a prompt, the peers' best known ones included."""
    sizes = {"prompt": prompt, "new": new, "reps": reps, "vocab": shape.vocab}
    sizes["capacity"] = prompt + new
    for setting in SETTINGS:
        yield _ort(name, shape, setting, sizes)
    for dtype in ("q4", "q4f16"):
        work = {"kind": "generate", "beneath": BENEATH.folder, "dtype": dtype, "shape": name}
        yield _job(TRANSFORMERS, dtype, name, work | sizes, needs_f16=dtype == "q4f16")
    for gpu in (True, False):
        work = {"kind": "complete", "gpu": gpu, "batch": UBATCH}
        work["model"] = f"{folder_url(name)}/model.gguf"
        yield _job(WLLAMA, "WebGPU" if gpu else "CPU", name, work | sizes, needs_f16=gpu)


def _ort(name: str, shape: Shape, setting: Setting, sizes: dict[str, int]) -> Job:
    graph, files = GRAPHS[setting.graph], f"{folder_url(name)}/onnx"
    work = {
        "kind": "decoder",
        "build": setting.build,
        "logits": setting.logits,
        "model": f"{files}/{setting.graph}",
        "data": f"{files}/{graph.data}",
        "dtype": graph.dtype,
        "capture": graph.capture,
        "layers": shape.layers,
        "kv_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
    }
    return _job(ORT, setting.name, name, work | sizes, needs_f16=graph.dtype == "float16")


def _job(engine: str, setting: str, name: str, work: dict[str, Any], *, needs_f16: bool) -> Job:
    part = ENGINES[engine]
    labels = {"engine": engine, "version": part.version, "setting": setting, "shape": name}
    labels |= {"prompt": work["prompt"], "new": work["new"]}
    return Job(labels, {"folder": part.folder, **work}, needs_f16)


def products(sizes: Sequence[tuple[int, int]] = PRODUCTS) -> Iterator[Job]:
    """MatMulNBits alone, timed by the GPU."""
    part = ENGINES[ORT]
    for k, n in sizes:
        for m in ROWS:
            labels = {"engine": ORT, "version": part.version, "setting": "MatMulNBits"}
            labels |= {"K": k, "N": n, "M": m}
            files = f"{folder_url('products')}/{k}x{n}"
            work = {"kind": "product", "folder": part.folder, "build": "webgpu", "reps": 20}
            work |= {"model": f"{files}.onnx", "data": f"{files}.onnx_data"}
            yield Job(labels, work | {"K": k, "N": n, "M": m})
