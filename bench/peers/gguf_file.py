"""A Llama as GGUF, version 3: Q4_0 linears and embedding, float32 norms, random weights.

Q4_0, blocks of 32: float16 scale, then 16 bytes, of weights i (low nibble) and i + 16; code + 8.
Tokens are the 256 bytes, as GPT-2 spells them, and fillers; there are no merges, so that every
letter of a prompt is a token. Names and types: ggml's docs/gguf.md and llama.cpp's llama-arch.cpp.
"""

import struct
from collections.abc import Iterator, Sequence
from math import prod, sqrt
from pathlib import Path

import numpy as np

from .weights import CODE_STD, GROUP, Shape, random_codes, repeated

ALIGN = 32  # GGUF's default
UINT32, FLOAT32, STRING, ARRAY = 4, 6, 8, 9
INT32 = 5
F32, Q4_0 = 0, 2
FILE_OF_Q4_0 = 2
NORMAL = 1  # a token's kind
Value = int | float | str | Sequence[str] | Sequence[int]
Tensor = tuple[str, tuple[int, ...], int]  # name, dimensions with the innermost first, type


def tensors(shape: Shape) -> Iterator[Tensor]:
    yield "token_embd.weight", (shape.hidden, shape.vocab), Q4_0
    for i in range(shape.layers):
        for name, k, n in (
            ("attn_q", shape.hidden, shape.q),
            ("attn_k", shape.hidden, shape.kv),
            ("attn_v", shape.hidden, shape.kv),
            ("attn_output", shape.q, shape.hidden),
            ("ffn_gate", shape.hidden, shape.intermediate),
            ("ffn_up", shape.hidden, shape.intermediate),
            ("ffn_down", shape.intermediate, shape.hidden),
        ):
            yield f"blk.{i}.{name}.weight", (k, n), Q4_0
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{i}.{name}.weight", (shape.hidden,), F32
    yield "output_norm.weight", (shape.hidden,), F32
    if not shape.tied:
        yield "output.weight", (shape.hidden, shape.vocab), Q4_0


def fields(shape: Shape, context: int) -> dict[str, Value]:
    return {
        "general.architecture": "llama",
        "general.file_type": FILE_OF_Q4_0,
        "llama.block_count": shape.layers,
        "llama.context_length": context,
        "llama.embedding_length": shape.hidden,
        "llama.feed_forward_length": shape.intermediate,
        "llama.attention.head_count": shape.heads,
        "llama.attention.head_count_kv": shape.kv_heads,
        "llama.attention.key_length": shape.head_dim,
        "llama.attention.value_length": shape.head_dim,
        "llama.attention.layer_norm_rms_epsilon": shape.eps,
        "llama.rope.dimension_count": shape.head_dim,
        "llama.rope.freq_base": shape.theta,
        "llama.vocab_size": shape.vocab,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [*_bytes(), *(f"<{i}>" for i in range(256, shape.vocab))],
        "tokenizer.ggml.token_type": [NORMAL] * shape.vocab,
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.eos_token_id": shape.vocab - 1,
    }


def _bytes() -> list[str]:
    """Each byte's letter in GPT-2's vocabularies."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(b) if b in visible else chr(next(others)) for b in range(256)]


def header(shape: Shape, context: int) -> bytes:
    """Everything before the tensors' data, padding included."""
    held, given = [*tensors(shape)], fields(shape, context)
    out = b"GGUF" + struct.pack("<IQQ", 3, len(held), len(given))
    for name, value in given.items():
        out += _string(name) + _value(value)
    at = 0
    for name, dims, kind in held:
        out += _string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, at)
        at += _padded(nbytes(dims, kind))
    return out.ljust(_padded(len(out)), b"\0")


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Value) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value)
    if isinstance(value, float):
        return struct.pack("<If", FLOAT32, value)
    if isinstance(value, int):
        return struct.pack("<II", UINT32, value)
    numbers = bool(value) and isinstance(value[0], int)
    start = struct.pack("<IIQ", ARRAY, INT32 if numbers else STRING, len(value))
    if numbers:
        return start + np.array(value, "<i4").tobytes()
    return start + b"".join(map(_string, map(str, value)))


def nbytes(dims: Sequence[int], kind: int) -> int:
    count = prod(dims)
    return count * 4 if kind == F32 else count // GROUP * (2 + GROUP // 2)


def _padded(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


def write(path: Path, shape: Shape, context: int) -> None:
    blocks: dict[int, bytes] = {}  # by K
    with path.open("wb") as out:
        out.write(header(shape, context))
        for _, dims, kind in tensors(shape):
            size = nbytes(dims, kind)
            if kind == F32:
                out.write(np.ones(dims, "<f4").tobytes())
            else:
                block = blocks.setdefault(dims[0], _quantized(dims[0]))
                for piece in repeated(block, size):
                    out.write(piece)
            out.write(bytes(_padded(size) - size))


def _quantized(k: int) -> bytes:
    """Some blocks of Q4_0, for an input of K."""
    codes = np.frombuffer(random_codes(), np.uint8)
    count = len(codes) // (GROUP // 2)
    out = np.empty((count, 2 + GROUP // 2), np.uint8)
    scale = np.array([1 / (CODE_STD * sqrt(k))], "<f2")
    out[:, :2] = scale.view(np.uint8)
    out[:, 2:] = codes[: count * (GROUP // 2)].reshape(count, -1)
    return out.tobytes()
