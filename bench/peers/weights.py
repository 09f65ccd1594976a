"""A decoder's weights in onnxruntime's layout: which tensors, where in the file, with what in them.

4-bit codes lie as this package has them (quant/q4gsw.py: low nibble = even k, code + 8), scales as
[N, K/32], both after the other tensors of the decoder, which are norms and rope's tables. Contents
are random (one block over and over, so that a billion weights take seconds) or a checkpoint's own.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from tensortab.ops import rope_frequencies

GROUP = 32
ALIGN = 64
# No multiple of a row, so that rows differ.
BLOCK = (4 << 20) + 4093
CODE_STD = 4.32  # of codes -7 … 7
ROPE = {"cos": np.cos, "sin": np.sin}


@dataclass(frozen=True)
class Shape:
    """What of a config.json shapes a Llama."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    eps: float
    theta: float
    scaling: dict[str, Any] | None
    tied: bool

    @classmethod
    def of(cls, config: dict[str, Any]) -> "Shape":
        return cls(
            hidden=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            kv_heads=config["num_key_value_heads"],
            head_dim=config["head_dim"],
            intermediate=config["intermediate_size"],
            vocab=config["vocab_size"],
            eps=config["rms_norm_eps"],
            theta=float(config["rope_theta"]),
            scaling=config.get("rope_scaling"),
            tied=config["tie_word_embeddings"],
        )

    @property
    def q(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv(self) -> int:
        return self.kv_heads * self.head_dim

    def linears(self) -> Iterator[tuple[str, int, int]]:
        """Name, N, K of each linear; q, k and v are one, as exporters of ONNX have them."""
        for i in range(self.layers):
            yield f"layers.{i}.qkv", self.q + 2 * self.kv, self.hidden
            yield f"layers.{i}.o", self.hidden, self.q
            yield f"layers.{i}.gate", self.intermediate, self.hidden
            yield f"layers.{i}.up", self.intermediate, self.hidden
            yield f"layers.{i}.down", self.hidden, self.intermediate
        yield "head", self.vocab, self.hidden
        if not self.tied:
            yield "embed", self.vocab, self.hidden

    def norms(self) -> Iterator[str]:
        for i in range(self.layers):
            yield f"layers.{i}.norm1"
            yield f"layers.{i}.norm2"
        yield "norm"


@dataclass(frozen=True)
class Stored:
    """A tensor of the file."""

    name: str
    dtype: str
    dims: tuple[int, ...]
    at: int

    @property
    def nbytes(self) -> int:
        return np.dtype(self.dtype).itemsize * prod(self.dims)


Wanted = tuple[str, str, tuple[int, ...]]  # a tensor that has no place yet
Contents = Callable[[Stored], Iterable[bytes]]


def layout(shape: Shape, dtype: str, context: int) -> dict[str, Stored]:
    """A decoder's tensors by name; float ones are of `dtype`."""
    tables = [(name, dtype, (context, shape.head_dim // 2)) for name in ROPE]
    norms = [(name, dtype, (shape.hidden,)) for name in shape.norms()]
    linears = [tensor for sizes in shape.linears() for tensor in linear(*sizes, dtype)]
    return placed([*tables, *norms, *linears])


def linear(name: str, n: int, k: int, dtype: str = "float32") -> list[Wanted]:
    codes = (n, k // GROUP, GROUP // 2)
    return [(f"{name}.codes", "uint8", codes), (f"{name}.scales", dtype, codes[:2])]


def placed(wanted: Iterable[Wanted]) -> dict[str, Stored]:
    found, at = {}, 0
    for name, dtype, dims in wanted:
        found[name] = Stored(name, dtype, dims, at)
        at += -(-found[name].nbytes // ALIGN) * ALIGN
    return found


def write(path: Path, stored: Iterable[Stored], contents: Contents) -> None:
    with path.open("wb") as out:
        for tensor in stored:
            out.write(bytes(tensor.at - out.tell()))
            for piece in contents(tensor):
                out.write(piece)


def with_rope(shape: Shape, others: Contents) -> Contents:
    """Rope's tables; whatever else there is comes of `others`."""
    frequencies = rope_frequencies(shape.head_dim, shape.theta, shape.scaling).astype(np.float64)

    def contents(tensor: Stored) -> Iterable[bytes]:
        if tensor.name not in ROPE:
            return others(tensor)
        angles = np.outer(np.arange(tensor.dims[0]), frequencies)
        return [ROPE[tensor.name](angles).astype(tensor.dtype).tobytes()]

    return contents


def randoms(linears: Iterable[tuple[str, int, int]]) -> Contents:
    """Codes at random, scales that keep activations in range, and ones elsewhere."""
    codes = random_codes()
    inputs = {name: k for name, _, k in linears}

    def contents(tensor: Stored) -> Iterable[bytes]:
        name, _, part = tensor.name.rpartition(".")
        if part == "codes":
            return repeated(codes, tensor.nbytes)
        value = 1 / (CODE_STD * sqrt(inputs[name])) if part == "scales" else 1.0
        return [np.full(tensor.dims, value, tensor.dtype).tobytes()]

    return contents


def random_codes() -> bytes:
    """A block of pairs of codes from -7 to 7."""
    low, high = np.random.default_rng(7).integers(1, 16, (2, BLOCK), np.uint8)
    return (low | high << 4).tobytes()


def repeated(block: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, size, len(block)):
        yield block[: size - at]
