"""A decoder-only language model of the Llama family: one graph for prompts, one for single tokens.

Touvron et al., arXiv 2302.13971: RMSNorm, rotary positions, grouped-query attention, SwiGLU.

Both graphs share weights, caches and the live position `pos`. A run takes `rows` tokens at
positions pos … pos + rows − 1, writes their keys and values, samples the token that follows the
last row, and moves on by itself: the token into the state `token`, the flags of what was seen, and
pos += rows. So a graph with one row, fed from `token`, needs nothing from the host between steps.

    ids       int32 [1, rows]      input of the prompt's graph; the other reads the state `token`
    token     int32 [1]            output: the token sampled after the last row

A graph built for scores samples nothing: its output is the logits of every row it is fed, and the
states token, seen and sampling are none of its.

    logits    float32 [rows, vocab]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..dim import Dim
from ..graph import Graph
from ..op import Tensor
from ..ops import (
    add,
    advance,
    apply_rotary_emb,
    assign,
    embedding,
    mark,
    narrow,
    permute,
    reshape,
    rms_norm,
    rope_frequencies,
    rope_table,
    sample,
    sdpa_with_kv_cache,
    swiglu,
)
from ..ops.sampling import WORDS
from ..quant.recipe import Recipe
from .checkpoint import Weights


@dataclass(frozen=True)
class Config:
    """The sizes of a model and how much context its caches hold."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    context: int
    theta: float = 10000.0
    scaling: Mapping[str, object] | None = None  # of rope, as rope_frequencies takes it
    eps: float = 1e-5
    tied: bool = True  # the head is the embedding's table


@dataclass(frozen=True)
class _Inside:
    """What every layer of a graph needs."""

    config: Config
    weights: Weights
    pos: Tensor
    rope: tuple[Tensor, Tensor]
    cache: str  # dtype of the caches


def build(
    config: Config,
    recipe: Recipe,
    *,
    rows: Dim = 1,
    fed: bool = False,
    scores: bool = False,
    cache: str = "float16",
    most: int = 1 << 32,
) -> tuple[Graph, Weights]:
    """The graph of `rows` tokens a run, and its weights.

    `fed` takes the tokens from the input `ids`, else the one from the state `token`. `scores`
    takes them from `ids`, too, and gives the logits of each instead of a sampled token. `cache` is
    the caches' dtype, float32 or float16. No constant is larger than `most` bytes.
    """
    g = Graph()
    also = {"model.embed_tokens.weight": "lm_head.weight"} if config.tied else {}
    w = Weights(g, recipe, most=most, also=also)
    pos = g.symint("pos", max=config.context)
    inverse = rope_frequencies(config.head_dim, config.theta, config.scaling)
    table = rope_table(inverse, config.context)
    cos, sin = (g.constant(n, a) for n, a in zip(("rope.cos", "rope.sin"), table, strict=True))
    inside = _Inside(config, w, pos, (cos, sin), cache)

    token = None if scores else g.state("token", (1, 1), "int32")
    ids = g.input("ids", (1, rows), "int32") if fed or token is None else token
    x = w.embedding(ids, "model.embed_tokens", config.vocab, config.hidden)
    for i in range(config.layers):
        x = _layer(inside, x, f"model.layers.{i}")
    if token is None:
        g.output("logits", _logits(inside, reshape(x, (rows, config.hidden))))
    else:
        _sample(inside, ids, token, _logits(inside, _last_row(g, x, rows, config.hidden)))
    g.effect(advance(pos, rows))
    return g, w


def _logits(inside: _Inside, x: Tensor) -> Tensor:
    """Of each row of x [rows, hidden]."""
    c = inside.config
    head = "model.embed_tokens" if c.tied else "lm_head"
    return inside.weights.linear(_norm(inside, x, "model.norm"), head, c.vocab, bias=False)


def _sample(inside: _Inside, ids: Tensor, token: Tensor, logits: Tensor) -> None:
    """Flag what was fed, draw the next token, leave it in the state that the next step reads."""
    g, rows = inside.weights.graph, ids.shape[1]
    seen = g.state("seen", (inside.config.vocab,), "int32")
    settings = g.state("sampling", (WORDS,), "uint32")
    flagged = mark(seen, reshape(ids, (rows,)))
    # By the last row's position, so that a seed draws the same however the prompt was cut.
    chosen = sample(logits, settings, g.scalar(inside.pos.dim + rows - 1), flagged)
    g.output("token", permute(chosen, (0,)))
    g.effect(assign(token, chosen))


def _last_row(g: Graph, x: Tensor, rows: Dim, hidden: int) -> Tensor:
    """x[0, rows − 1, :] as [1, hidden]; only that row goes through the head."""
    if rows == 1:
        return reshape(x, (1, hidden))
    return embedding(g.scalar(rows - 1), reshape(x, (rows, hidden)))


def _norm(inside: _Inside, x: Tensor, name: str) -> Tensor:
    weight = inside.weights.vector(f"{name}.weight", inside.config.hidden)
    return rms_norm(x, weight, eps=inside.config.eps)


def _layer(inside: _Inside, x: Tensor, name: str) -> Tensor:
    w, c = inside.weights, inside.config
    x = add(x, _attention(inside, _norm(inside, x, f"{name}.input_layernorm"), name))
    h = _norm(inside, x, f"{name}.post_attention_layernorm")
    parts = [(f"{name}.mlp.{part}_proj", c.intermediate) for part in ("gate", "up")]
    both = w.joined(h, parts, bias=False)
    gate, up = (narrow(both, -1, i * c.intermediate, c.intermediate) for i in range(2))
    return add(x, w.linear(swiglu(gate, up), f"{name}.mlp.down_proj", c.hidden, bias=False))


def _attention(inside: _Inside, x: Tensor, name: str) -> Tensor:
    w, c, pos = inside.weights, inside.config, inside.pos
    rows = x.shape[1]

    counts = {"q": c.heads, "k": c.kv_heads, "v": c.kv_heads}
    parts = [(f"{name}.self_attn.{part}_proj", n * c.head_dim) for part, n in counts.items()]
    joined = w.joined(x, parts, bias=False)
    qkv = reshape(joined, (1, rows, c.heads + 2 * c.kv_heads, c.head_dim))

    q = apply_rotary_emb(narrow(qkv, 2, 0, c.heads), *inside.rope, pos)
    k = apply_rotary_emb(narrow(qkv, 2, c.heads, c.kv_heads), *inside.rope, pos)
    v = narrow(qkv, 2, c.heads + c.kv_heads, c.kv_heads)
    shape = (1, c.context, c.kv_heads, c.head_dim)
    keys, values = (w.graph.state(f"{name}.{n}", shape, inside.cache) for n in ("keys", "values"))
    attended = sdpa_with_kv_cache(q, k, v, keys, values, pos)
    merged = reshape(attended, (1, rows, c.heads * c.head_dim))
    return w.linear(merged, f"{name}.self_attn.o_proj", c.hidden, bias=False)
