"""The peers' models, made in the cache: ONNX and GGUF files of a shape, without a download.

    peers/SHAPE/config.json              for transformers.js, whose folder this is
    peers/SHAPE/onnx/model_q4….onnx      graphs: see GRAPHS
    peers/SHAPE/onnx/model_q4.onnx_data  weights, float32 scales; model_q4f16.onnx_data: float16
    peers/SHAPE/model.gguf               for wllama, Q4_0
    peers/products/…                     MatMulNBits alone

python-16m has the embedded model's own weights in its ONNX files; all others' are random.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tensortab import vendor
from tensortab.bench.shapes import SHAPES as REAL

from . import embedded, gguf_file
from .onnx_decoder import PRODUCT, Variant, decoder, product
from .weights import Shape, layout, linear, placed, randoms, with_rope, write

CONTEXT = 16384  # positions that rope's tables have


def configs() -> dict[str, dict[str, Any]]:
    """config.json of each shape the peers can be given: Llamas."""
    llamas = {name: c for name, c in REAL.items() if c["model_type"] == "llama"}
    return llamas | {embedded.NAME: json.loads(embedded.CONFIG.read_text())}


Q4, Q4F16 = "model_q4.onnx_data", "model_q4f16.onnx_data"
GRAPHS = {
    "model_q4.onnx": Variant(Q4),
    "model_q4_captured.onnx": Variant(Q4, capture=True),
    "model_q4_rounded.onnx": Variant(Q4, accuracy=4),
    "model_q4_rounded_captured.onnx": Variant(Q4, accuracy=4, capture=True),
    "model_q4f16.onnx": Variant(Q4F16, "float16"),
    "model_q4f16_captured.onnx": Variant(Q4F16, "float16", capture=True),
}


def folder_url(name: str) -> str:
    """Where a page finds a shape's files, beneath the server's root."""
    return f"peers/{name}"


def folder(name: str) -> Path:
    return vendor.cache() / folder_url(name)


def make(name: str) -> None:
    """A shape's files: the small ones anew, those of weights where they are missing."""
    home, config = folder(name), configs()[name]
    (home / "onnx").mkdir(parents=True, exist_ok=True)
    shape = Shape.of(config)
    weights = embedded.own_weights() if name == embedded.NAME else randoms(shape.linears())
    for dtype, data in (("float32", Q4), ("float16", Q4F16)):
        stored = layout(shape, dtype, CONTEXT)
        contents = with_rope(shape, weights)
        ensure(home / "onnx" / data, partial(write, stored=stored.values(), contents=contents))
        for file, graph in GRAPHS.items():
            if graph.file == data:
                (home / "onnx" / file).write_bytes(decoder(shape, stored, graph))
    ensure(home / "model.gguf", partial(gguf_file.write, shape=shape, context=CONTEXT))
    (home / "generation_config.json").write_text('{"do_sample": false}')
    own_fields = {"transformers.js_config": {"use_external_data_format": True}}
    (home / "config.json").write_text(json.dumps(config | own_fields))


def make_product(k: int, n: int) -> None:
    """One MatMulNBits' files."""
    home = folder("products")
    home.mkdir(parents=True, exist_ok=True)
    data = home / f"{k}x{n}.onnx_data"
    stored = placed(linear(PRODUCT, n, k))
    contents = randoms([(PRODUCT, n, k)])
    ensure(data, partial(write, stored=stored.values(), contents=contents))
    (home / f"{k}x{n}.onnx").write_bytes(product(stored, data.name))


def ensure(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file unless it is there; it appears whole."""
    if not path.exists():
        part = path.with_name(f"{path.name}.part")
        write(part)
        part.replace(path)
