"""A Llama in plain torch, its weights stacked by kind: what training, export and check share.

    x = embed[ids];  every layer:  x += o · attention(rope(q), rope(k), v)
                                   x += down · (silu(gate) · up),  behind an RMSNorm each
    logits = norm(x) · embedᵀ

    stacked   q [layers, heads·head_dim, width] …; `named` gives Hugging Face's names, one a layer
    rope      half-split: element i turns with i + head_dim/2 by position · theta^(-2i/head_dim)

`fake_quantize` is q4gsw with a search for its float16 scales, in torch: the forward value is what
four bits keep, the gradient passes as if nothing had happened. The search is the one the model was
trained with; tensortab.quant's goes over other candidates and leaves the same error within 0.1 %.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F  # noqa: N812  # its name everywhere
from torch import Tensor

GROUP = 32
_CANDIDATES = tuple(d / 2 for d in (*range(-20, -12), *range(11, 18)))


@dataclass(frozen=True)
class Shape:
    """The sizes of a model."""

    vocabulary: int = 8192
    width: int = 384
    layers: int = 8
    heads: int = 6
    kv_heads: int = 2
    head_dim: int = 64
    hidden: int = 1024
    context: int = 1024
    theta: float = 10000.0
    epsilon: float = 1e-5

    def matrices(self) -> dict[str, tuple[int, ...]]:
        """The quantized weights: the embedding, and those of all layers stacked."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        sizes = {
            "self_attn.q_proj": (queries, self.width),
            "self_attn.k_proj": (keys, self.width),
            "self_attn.v_proj": (keys, self.width),
            "self_attn.o_proj": (self.width, queries),
            "mlp.gate_proj": (self.hidden, self.width),
            "mlp.up_proj": (self.hidden, self.width),
            "mlp.down_proj": (self.width, self.hidden),
        }
        stacked = {name: (self.layers, *size) for name, size in sizes.items()}
        return {"embed_tokens": (self.vocabulary, self.width), **stacked}

    def norms(self) -> dict[str, tuple[int, ...]]:
        """The float32 weights."""
        each = (self.layers, self.width)
        return {"input_layernorm": each, "post_attention_layernorm": each, "norm": (self.width,)}

    def config(self) -> dict[str, object]:
        """config.json as transformers writes it."""
        sizes = asdict(self)
        return {
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": 0,
            "dtype": "float32",
            "eos_token_id": 0,
            "head_dim": sizes["head_dim"],
            "hidden_act": "silu",
            "hidden_size": sizes["width"],
            "initializer_range": 0.02,
            "intermediate_size": sizes["hidden"],
            "max_position_embeddings": sizes["context"],
            "mlp_bias": False,
            "model_type": "llama",
            "num_attention_heads": sizes["heads"],
            "num_hidden_layers": sizes["layers"],
            "num_key_value_heads": sizes["kv_heads"],
            "pretraining_tp": 1,
            "rms_norm_eps": sizes["epsilon"],
            "rope_scaling": None,
            "rope_theta": sizes["theta"],
            "tie_word_embeddings": True,
            "use_cache": True,
            "vocab_size": sizes["vocabulary"],
            "quantization_config": {
                "quant_method": "tensortab",
                "format": "q4gsw",
                "group": GROUP,
                "scales": "float16",
            },
        }


def named(shape: Shape, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Hugging Face's names, one matrix a layer."""
    result = {}
    for name, weight in weights.items():
        if name in {"embed_tokens", "norm"}:
            result[f"model.{name}.weight"] = weight
            continue
        for i in range(shape.layers):
            result[f"model.layers.{i}.{name}.weight"] = weight[i]
    return result


def stacked(shape: Shape, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `named`."""
    result = {}
    for name in (*shape.matrices(), *shape.norms()):
        if name in {"embed_tokens", "norm"}:
            result[name] = tensors[f"model.{name}.weight"]
        else:
            each = [tensors[f"model.layers.{i}.{name}.weight"] for i in range(shape.layers)]
            result[name] = torch.stack(each)
    return result


def initial(shape: Shape, device: str) -> dict[str, Tensor]:
    """Random weights; what a layer adds to the residual starts at zero."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, size in shape.matrices().items():
        deviation = 0.02 if name == "embed_tokens" else 0.5 * size[-1] ** -0.5
        zero = name in {"self_attn.o_proj", "mlp.down_proj"}
        weights[name] = torch.randn(size, generator=generator) * (0.0 if zero else deviation)
    for name, size in shape.norms().items():
        weights[name] = torch.ones(size)
    return {name: weight.to(device) for name, weight in weights.items()}


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon) * weight).to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rope, half-split; x [batch, heads, length, head_dim]."""
    a, b = x.float().chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)


def turns(shape: Shape, length: int, device: str | torch.device) -> tuple[Tensor, Tensor]:
    """Rope's cos and sin [length, head_dim/2]."""
    exponents = torch.arange(0, shape.head_dim, 2, device=device) / shape.head_dim
    angles = torch.outer(torch.arange(length, device=device), shape.theta**-exponents)
    return angles.cos(), angles.sin()


def block(
    shape: Shape,
    x: Tensor,
    qkv: Tensor,
    o: Tensor,
    gate_up: Tensor,
    down: Tensor,
    norms: tuple[Tensor, Tensor],
    cos: Tensor,
    sin: Tensor,
) -> Tensor:
    """One layer; x [batch, length, width]."""
    batch, length, _ = x.shape
    h = F.linear(rms_norm(x, norms[0], shape.epsilon), qkv)
    heads = h.view(batch, length, -1, shape.head_dim).transpose(1, 2)
    q, k, v = heads.split([shape.heads, shape.kv_heads, shape.kv_heads], 1)
    share = shape.heads // shape.kv_heads
    k = rotate(k, cos, sin).repeat_interleave(share, 1)
    v = v.repeat_interleave(share, 1)
    h = F.scaled_dot_product_attention(rotate(q, cos, sin), k, v, is_causal=True)
    x = x + F.linear(h.transpose(1, 2).reshape(batch, length, -1), o)
    gate, up = F.linear(rms_norm(x, norms[1], shape.epsilon), gate_up).chunk(2, -1)
    return x + F.linear(F.silu(gate) * up, down)


def states(
    shape: Shape, weights: dict[str, Tensor], ids: Tensor, layer: Callable[..., Tensor] = block
) -> Tensor:
    """The normed states before the head [batch, length, width], in the embedding's dtype."""
    w = weights
    cos, sin = turns(shape, ids.shape[1], ids.device)
    qkv = torch.cat([w["self_attn.q_proj"], w["self_attn.k_proj"], w["self_attn.v_proj"]], 1)
    gate_up = torch.cat([w["mlp.gate_proj"], w["mlp.up_proj"]], 1)
    norms = zip(w["input_layernorm"].unbind(), w["post_attention_layernorm"].unbind(), strict=True)
    stacks = (qkv, w["self_attn.o_proj"], gate_up, w["mlp.down_proj"])
    x = F.embedding(ids, w["embed_tokens"])
    for *parts, pair in zip(*(s.unbind() for s in stacks), norms, strict=True):
        x = layer(shape, x, *parts, pair, cos, sin)
    return rms_norm(x, w["norm"], shape.epsilon)


def fake_quantize(weight: Tensor, share: Tensor) -> Tensor:
    """`weight` as four bits keep it where `share` is 1, itself where it is 0."""
    with torch.no_grad():
        w = weight.detach().reshape(-1, GROUP)
        high, low = w.amax(-1, keepdim=True), w.amin(-1, keepdim=True)
        extreme = torch.where(high >= -low, high, low)
        plain = (extreme.abs() / 7).half().float()
        u = w / torch.where(extreme == 0, 1.0, extreme)
        best = torch.zeros_like(extreme)
        ratio = torch.zeros_like(extreme)
        for d in _CANDIDATES:
            codes = (u * d).round().clamp(-8, 7)
            dot = (u * codes).sum(-1, keepdim=True)
            norm = codes.square().sum(-1, keepdim=True).clamp_min(1)
            score = dot * dot / norm
            ratio = torch.where(score > best, dot / norm, ratio)
            best = torch.maximum(score, best)
        found = _kept(w, (extreme * ratio).half().float())
        rounded = _kept(w, plain)
        closer = (found - w).square().sum(-1, keepdim=True) < (rounded - w).square().sum(
            -1, keepdim=True
        )
        change = (torch.where(closer, found, rounded) - w).reshape(weight.shape)
    return weight + share * change


def _kept(w: Tensor, scale: Tensor) -> Tensor:
    return (w / torch.where(scale == 0, 1.0, scale)).round().clamp(-8, 7) * scale
