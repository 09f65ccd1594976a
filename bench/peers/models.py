"""The peers' models, made in the cache: ONNX and GGUF files of a shape, without a download.

    peers/SHAPE/config.json              for transformers.js, whose folder this is
    peers/SHAPE/onnx/model_q4….onnx      graphs: see GRAPHS
    peers/SHAPE/onnx/model_q4.onnx_data  weights, float32 scales; model_q4f16.onnx_data: float16
    peers/SHAPE/model.gguf               for wllama, Q4_0
    peers/products/…                     MatMulNBits alone

python-16m has the embedded model's own weights in its ONNX files; all others' are random.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapes import SHAPES as REAL

from tensortab import vendor

from . import gguf_file
from .embedded import CONFIG, EMBEDDED, own_weights
from .onnx_decoder import PRODUCT, decoder, product
from .weights import Shape, layout, linear, placed, randoms, with_rope, write

CONTEXT = 8192


def configs() -> dict[str, dict[str, Any]]:
    """config.json of each shape the peers can be given: Llamas."""
    llamas = {name: c for name, c in REAL.items() if c["model_type"] == "llama"}
    return llamas | {EMBEDDED: json.loads(CONFIG.read_text())}


@dataclass(frozen=True)
class Variant:
    """A graph: its weights' file and how it computes."""

    data: str
    dtype: str = "float32"
    accuracy: int = 0
    capture: bool = False


Q4, Q4F16 = "model_q4.onnx_data", "model_q4f16.onnx_data"
GRAPHS = {
    "model_q4.onnx": Variant(Q4),
    "model_q4_captured.onnx": Variant(Q4, capture=True),
    "model_q4_rounded.onnx": Variant(Q4, accuracy=4),
    "model_q4f16.onnx": Variant(Q4F16, "float16"),
    "model_q4f16_captured.onnx": Variant(Q4F16, "float16", capture=True),
}


def folder_url(name: str) -> str:
    """Where a page finds a shape's files, beneath the server's root."""
    return f"peers/{name}"


def folder(name: str) -> Path:
    return vendor.cache() / folder_url(name)


def make(name: str) -> None:
    """All files of a shape that are missing; config.json comes last."""
    home, config = folder(name), configs()[name]
    if (home / "config.json").exists():
        return
    (home / "onnx").mkdir(parents=True, exist_ok=True)
    shape = Shape.of(config)
    weights = own_weights() if name == EMBEDDED else randoms(shape.linears())
    for dtype, data in (("float32", Q4), ("float16", Q4F16)):
        stored = layout(shape, dtype, CONTEXT)
        write(home / "onnx" / data, stored.values(), with_rope(shape, weights))
        for file, graph in GRAPHS.items():
            if graph.data == data:
                how = {"accuracy": graph.accuracy, "capture": graph.capture}
                model = decoder(shape, stored, dtype=dtype, file=data, **how)
                (home / "onnx" / file).write_bytes(model)
    gguf_file.write(home / "model.gguf", shape, CONTEXT)
    (home / "generation_config.json").write_text('{"do_sample": false}')
    own_fields = {"transformers.js_config": {"use_external_data_format": True}}
    (home / "config.json").write_text(json.dumps(config | own_fields))


def make_product(k: int, n: int) -> None:
    """One MatMulNBits' files, if they are missing."""
    home = folder("products")
    graph, data = home / f"{k}x{n}.onnx", home / f"{k}x{n}.onnx_data"
    if graph.exists():
        return
    home.mkdir(parents=True, exist_ok=True)
    stored = placed(linear(PRODUCT, n, k))
    write(data, stored.values(), randoms([(PRODUCT, n, k)]))
    graph.write_bytes(product(stored, data.name))
