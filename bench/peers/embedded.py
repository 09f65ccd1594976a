"""The embedded model's own weights, in the order and layout of onnxruntime's file."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from tensortab import assets

from .weights import Contents, Stored

NAME = assets.EMBEDDED.name
CONFIG = assets.EMBEDDED / "config.json"

TYPES = {"F32": "<f4", "F16": "<f2", "U8": "u1"}
CALLED = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate": ("mlp.gate_proj",),
    "up": ("mlp.up_proj",),
    "down": ("mlp.down_proj",),
    "norm1": ("input_layernorm",),
    "norm2": ("post_attention_layernorm",),
    "norm": ("norm",),
    "head": ("embed_tokens",),
}


def own_weights() -> Contents:
    """What the file of weights holds of a tensor."""
    data = (assets.EMBEDDED / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])

    def tensor(name: str) -> "np.ndarray[Any, np.dtype[Any]]":
        entry = header[f"model.{name}"]
        start, end = (8 + length + at for at in entry["data_offsets"])
        return np.frombuffer(data[start:end], TYPES[entry["dtype"]]).reshape(entry["shape"])

    def get(stored: Stored) -> Iterator[bytes]:
        layer = stored.name.split(".")
        part = layer.pop() if layer[-1] in ("codes", "scales") else ""
        for called in CALLED[layer.pop()]:
            path = ".".join((*layer, called, "weight"))
            if part == "codes":
                yield tensor(f"{path}.packed").tobytes()
            elif part == "scales":
                yield tensor(f"{path}.scales").T.astype(stored.dtype).tobytes()
            else:
                yield tensor(path).astype(stored.dtype).tobytes()

    return get
