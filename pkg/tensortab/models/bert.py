"""BERT encoders that turn a sentence into a vector (all-MiniLM-L6-v2 and its kin).

Devlin et al., arXiv 1810.04805; sentence vectors as sentence-transformers makes them: the mean of
the last layer over the tokens, made unit length (Reimers & Gurevych, arXiv 1908.10084).

    ids, types  int32 [B, S]
    positions   int32 [S], 0 … S−1
    mask        float32 [B, S], 1 where a token is, 0 where padding is
    vectors     float32 [B, hidden], unit length
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..dim import Dim
from ..errors import FormatError
from ..graph import Graph
from ..op import Tensor
from ..ops import add, embedding, gelu, l2_normalize, layer_norm, mean_pool, mul, reshape, sdpa
from ..quant.recipe import Format, Recipe
from .checkpoint import Weights
from .settings import require, size

_MASKED = -1e9  # added to a score, it leaves exp(score) = 0 in float32


@dataclass(frozen=True)
class Config:
    """What the graph needs of a config.json."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocab: int
    positions: int
    types: int
    eps: float

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Config:
        """Check a parsed config.json; refuses by name what is not implemented."""
        require(
            config,
            {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"},
        )
        made = cls(
            size(config, "hidden_size"),
            size(config, "num_hidden_layers"),
            size(config, "num_attention_heads"),
            size(config, "intermediate_size"),
            size(config, "vocab_size"),
            size(config, "max_position_embeddings"),
            size(config, "type_vocab_size"),
            float(config.get("layer_norm_eps", 1e-12)),
        )
        if made.hidden % made.heads:
            raise FormatError(
                f"config.json: hidden_size {made.hidden} is no multiple of num_attention_heads,"
                f" {made.heads}"
            )
        return made


def default_recipe(config: Config) -> Recipe:
    """Four bits, and eight where they help most.

    That is values, attention outputs and the later layers' first feed-forward matrix; queries and
    keys hardly notice four. bench/quality.py has the measurements.
    """
    later = "|".join(map(str, range(config.layers // 2, config.layers)))
    sensitive = rf"self\.value|attention\.output|layer\.({later})\.intermediate"
    return Recipe(Format("q4gsw"), ((sensitive, Format("q8gsw", group=128)),))


def build(config: Config, recipe: Recipe, *, batch: Dim, length: Dim) -> tuple[Graph, Weights]:
    """The graph from token ids to unit vectors, and its weights."""
    g = Graph()
    w = Weights(g, recipe)
    ids = g.input("ids", (batch, length), "int32")
    types = g.input("types", (batch, length), "int32")
    positions = g.input("positions", (length,), "int32")
    mask = g.input("mask", (batch, length))

    def table(name: str, rows: int) -> Tensor:
        return w.vector(f"embeddings.{name}_embeddings.weight", rows, config.hidden)

    x = add(
        add(
            embedding(ids, table("word", config.vocab)),
            embedding(types, table("token_type", config.types)),
        ),
        embedding(positions, table("position", config.positions)),
    )
    x = _norm(w, x, "embeddings.LayerNorm", config)
    masked = mul(add(reshape(mask, (batch, 1, 1, length)), -1.0), -_MASKED)
    for i in range(config.layers):
        x = _layer(w, x, masked, f"encoder.layer.{i}", config)
    g.output("vectors", l2_normalize(mean_pool(x, mask)))
    return g, w


def _norm(w: Weights, x: Tensor, name: str, config: Config) -> Tensor:
    weight, bias = (w.vector(f"{name}.{part}", config.hidden) for part in ("weight", "bias"))
    return layer_norm(x, weight, bias, eps=config.eps)


def _layer(w: Weights, x: Tensor, masked: Tensor, name: str, config: Config) -> Tensor:
    batch, length, hidden = x.shape

    def heads(part: str) -> Tensor:
        projected = w.linear(x, f"{name}.attention.self.{part}", config.hidden)
        split = (batch, length, config.heads, config.hidden // config.heads)
        return reshape(projected, split)

    attended = sdpa(heads("query"), heads("key"), heads("value"), masked, layout="bshd")
    merged = reshape(attended, (batch, length, hidden))
    projected = w.linear(merged, f"{name}.attention.output.dense", config.hidden)
    x = _norm(w, add(projected, x), f"{name}.attention.output.LayerNorm", config)
    inner = gelu(w.linear(x, f"{name}.intermediate.dense", config.intermediate))
    outer = w.linear(inner, f"{name}.output.dense", config.hidden)
    return _norm(w, add(outer, x), f"{name}.output.LayerNorm", config)
