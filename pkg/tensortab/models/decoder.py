"""A decoder-only language model of Llama's form: one graph for prompts, one for single tokens.

Touvron et al., arXiv 2302.13971: RMSNorm, rotary positions, grouped-query attention, SwiGLU. What
other architectures have besides or instead is data in `Config`; which has what, one small file
each says (llama.py, gemma3.py, …), and architectures.py lists them.

Both graphs share weights, caches and the live position `pos`. A run takes `rows` tokens at
positions pos … pos + rows − 1, writes their keys and values, samples the token that follows the
last row, and moves on by itself: the token into the state `token`, the flags of what was seen, and
pos += rows. So a graph with one row, fed from `token`, needs nothing from the host between steps.
Every layer's caches hold the whole context, those of layers with a window too.

    ids       int32 [1, rows]      input of the prompt's graph; the other reads the state `token`
    token     int32 [1]            output: the token sampled after the last row

A graph built for scores samples nothing: its output is the logits of every row it is fed, and the
states token, seen and sampling are none of its.

    logits    float32 [rows, vocab]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..dim import Dim
from ..graph import Graph
from ..op import Tensor
from ..ops import (
    add,
    advance,
    after,
    assign,
    attend,
    attend_chunks,
    embedding,
    mark,
    mul,
    next_token,
    reshape,
    rms_norm,
    rope_attention_factor,
    rope_frequencies,
    rope_table,
    rope_turns,
    sample,
    update_caches,
)
from ..ops.chunks import Left
from ..ops.sampling import WORDS
from ..quant.recipe import Format, Recipe
from .checkpoint import Norm, Weights

_EXACT = 64 << 20  # bytes of caches that stay float32
DEFAULT_RECIPE = Recipe(Format("q4gsw"))

# Where a layer's norms stand, by their names in checkpoints: before and after its attention, before
# and after its feed-forward part. What comes after is added to what was there before.
Norms = tuple[tuple[str, str | None], tuple[str, str | None]]
PRE_NORMS: Norms = (("input_layernorm", None), ("post_attention_layernorm", None))
SANDWICH_NORMS: Norms = (
    ("input_layernorm", "post_attention_layernorm"),
    ("pre_feedforward_layernorm", "post_feedforward_layernorm"),
)


@dataclass(frozen=True)
class Rope:
    """How queries and keys turn with the position; layers whose ropes are equal share tables."""

    theta: float = 10000.0
    scaling: Mapping[str, object] | None = None  # as rope_frequencies takes it
    width: int | None = None  # elements of a head that turn, None for all


@dataclass(frozen=True)
class Kind:
    """What a layer's attention has of its own."""

    rope: Rope | None = Rope()  # None: positions do not matter to it
    window: int | None = None  # positions a row sees, its own included; None for all


@dataclass(frozen=True)
class Config:
    """The sizes of a model, how much context its caches hold, and how its layers are built."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    context: int
    eps: float = 1e-5
    tied: bool = True  # the head is the embedding's table
    kinds: tuple[Kind, ...] = (Kind(),)  # of the layers, in order, again and again
    scale: float | None = None  # of q · kᵀ; None for 1 / √head_dim
    activation: Literal["silu", "gelu_tanh"] = "silu"
    norms: Norms = PRE_NORMS
    norm_offset: float = 0.0  # added to every norm's weight
    qk_norm: bool = False  # queries and keys are normed, head by head
    qkv_bias: bool = False
    out_bias: bool = False  # of attention
    mlp_bias: bool = False
    fused: bool = False  # qkv_proj and gate_up_proj are one tensor each
    embedding_scale: float | None = None
    prefix: str = ""  # of every tensor's name


@dataclass(frozen=True)
class _Inside:
    """What every layer of a graph needs."""

    config: Config
    weights: Weights
    pos: Tensor
    turns: list[Tensor | None]  # cos and sin of each kind of layer
    cache: str  # dtype of the caches


def build(
    config: Config,
    recipe: Recipe,
    *,
    rows: Dim = 1,
    fed: bool = False,
    scores: bool = False,
    cache: str | None = None,
    most: int = 1 << 32,
) -> tuple[Graph, Weights]:
    """The graph of `rows` tokens a run, and its weights.

    `fed` takes the tokens from the input `ids`, else the one from the state `token`. `scores`
    takes them from `ids`, too, and gives the logits of each instead of a sampled token. `cache` is
    the caches' dtype, float32 or float16; None: float16 where float32 would take over 64 MiB. No
    constant is larger than `most` bytes.
    """
    g = Graph()
    table = f"{config.prefix}model.embed_tokens.weight"
    also = {table: f"{config.prefix}lm_head.weight"} if config.tied else {}
    w = Weights(g, recipe, config.prefix, most=most, also=also)
    pos = g.symint("pos", max=config.context)
    inside = _Inside(config, w, pos, _turns(g, config), cache or _cache_dtype(config))

    token = None if scores else g.state("token", (1, 1), "int32")
    ids = g.input("ids", (1, rows), "int32") if fed or token is None else token
    x = w.embedding(ids, "model.embed_tokens", config.vocab, config.hidden)
    if config.embedding_scale is not None:
        x = mul(x, config.embedding_scale)
    for i in range(config.layers):
        x = _layer(inside, x, i)
    if token is None:
        g.output("logits", _logits(inside, reshape(x, (rows, config.hidden))))
        g.effect(advance(pos, rows))
    else:
        _sample(inside, ids, token, _logits(inside, _last_row(g, x, rows, config.hidden)))
    return g, w


def _cache_dtype(config: Config) -> str:
    """Exact where that is cheap: half the bytes of long caches are worth more than their digits."""
    rows = 2 * config.layers * config.context
    return "float16" if 4 * rows * config.kv_heads * config.head_dim > _EXACT else "float32"


def _logits(inside: _Inside, x: Tensor) -> Tensor:
    """Of each row of x [rows, hidden]."""
    c = inside.config
    head = "model.embed_tokens" if c.tied else "lm_head"
    norm = _norm(inside, "model.norm", c.hidden)
    return inside.weights.linear(x, head, c.vocab, bias=False, norm=norm)


def _sample(inside: _Inside, ids: Tensor, token: Tensor, logits: Tensor) -> None:
    """Flag what was fed, draw the next token, leave it in the state that the next step reads."""
    g, pos, rows = inside.weights.graph, inside.pos, ids.shape[1]
    seen = g.state("seen", (inside.config.vocab,), "int32")
    settings = g.state("sampling", (WORDS,), "uint32")
    if ids is token:
        chosen = next_token(token, logits, settings, pos, seen)
    else:
        flagged = mark(seen, reshape(ids, (rows,)))
        # By the last row's position, so that a seed draws the same however the prompt was cut.
        last = g.scalar(pos.dim + rows - 1)
        chosen = assign(token, sample(logits, settings, last, flagged))
        g.effect(advance(pos, rows))
    g.output("token", reshape(chosen, (1,)))


def _last_row(g: Graph, x: Tensor, rows: Dim, hidden: int) -> Tensor:
    """x[0, rows − 1, :] as [1, hidden]; only that row goes through the head."""
    if rows == 1:
        return reshape(x, (1, hidden))
    return embedding(g.scalar(rows - 1), reshape(x, (rows, hidden)))


def _turns(g: Graph, config: Config) -> list[Tensor | None]:
    """Tables of cos and sin [context, width] for each kind of layer."""
    ropes: list[Rope] = []
    tables: list[Tensor] = []
    for rope in (k.rope for k in config.kinds):
        if rope is None or rope in ropes:
            continue
        width = rope.width or config.head_dim
        inverse = rope_frequencies(width, rope.theta, rope.scaling, context=config.context)
        both = rope_table(inverse, config.context, rope_attention_factor(rope.scaling))
        tables.append(g.constant(f"rope.{len(ropes)}", rope_turns(*both)))
        ropes.append(rope)
    turned = (k.rope for k in config.kinds)
    return [None if rope is None else tables[ropes.index(rope)] for rope in turned]


def _norm(inside: _Inside, name: str, width: int) -> Norm:
    c = inside.config
    return Norm(inside.weights.vector(f"{name}.weight", width), c.eps, c.norm_offset)


def _layer(inside: _Inside, x: Tensor, i: int) -> Tensor:
    c, name = inside.config, f"model.layers.{i}"
    for part, (first, last) in zip((_attention, _mlp), c.norms, strict=True):
        before = _norm(inside, f"{name}.{first}", c.hidden)
        if last is None:
            x = part(inside, x, i, before, x)
        else:
            y, norm = part(inside, x, i, before, None), _norm(inside, f"{name}.{last}", c.hidden)
            x = add(x, rms_norm(y, norm.weight, eps=norm.eps, offset=norm.offset))
    return x


def _mlp(inside: _Inside, x: Tensor, i: int, norm: Norm, plus: Tensor | None) -> Tensor:
    """The feed-forward part of x normed, and `plus` added."""
    w, c, name = inside.weights, inside.config, f"model.layers.{i}.mlp"
    n = c.intermediate
    parts = [(f"{name}.gate_proj", n), (f"{name}.up_proj", n)]
    both = [(f"{name}.gate_up_proj", 2 * n)] if c.fused else parts
    gated = w.joined(x, both, bias=c.mlp_bias, norm=norm, act=c.activation)
    return w.linear(gated, f"{name}.down_proj", c.hidden, bias=c.mlp_bias, plus=plus)


def _attention(inside: _Inside, x: Tensor, i: int, norm: Norm, plus: Tensor | None) -> Tensor:
    """Attention of x normed, and `plus` added."""
    w, c, name = inside.weights, inside.config, f"model.layers.{i}.self_attn"
    rows, kind = x.shape[1], i % len(c.kinds)

    heads = {"q": c.heads, "k": c.kv_heads, "v": c.kv_heads}
    total = sum(heads.values())
    parts = [(f"{name}.{part}_proj", n * c.head_dim) for part, n in heads.items()]
    joined = [(f"{name}.qkv_proj", total * c.head_dim)] if c.fused else parts
    product = w.joined(x, joined, bias=c.qkv_bias, norm=norm)
    qkv = reshape(product, (1, rows, total, c.head_dim))

    shape = (1, c.context, c.kv_heads, c.head_dim)
    layer = f"model.layers.{i}"
    keys, values = (w.graph.state(f"{layer}.{n}", shape, inside.cache) for n in ("keys", "values"))
    q_norm, k_norm = (
        w.vector(f"{name}.{n}_norm.weight", c.head_dim) if c.qk_norm else None for n in ("q", "k")
    )
    given = qkv, keys, values, inside.pos, inside.turns[kind], q_norm, k_norm
    window = c.kinds[kind].window
    left = None
    if rows == 1:  # what is left in chunks is joined by the product
        left = Left(inside.pos, c.heads, window)
        attended = attend_chunks(
            *given, eps=c.eps, offset=c.norm_offset, scale=c.scale, window=window
        )
    else:
        q = update_caches(*given, eps=c.eps, offset=c.norm_offset)
        grown = after(keys, q), after(values, q)
        attended = attend(q, *grown, inside.pos, scale=c.scale, window=window)
        attended = reshape(attended, (1, rows, c.heads * c.head_dim))
    return w.linear(attended, f"{name}.o_proj", c.hidden, bias=c.out_bias, plus=plus, left=left)
