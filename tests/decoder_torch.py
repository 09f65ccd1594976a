"""A Llama's logits in torch, everything recomputed: the golden of models/decoder.py."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own habit

import tensortab as tt
from tensortab.models.decoder import Config


def logits(w: Mapping[str, torch.Tensor], c: Config, ids: Sequence[int]) -> torch.Tensor:
    """Of the token after `ids`, [vocab]."""
    s = len(ids)
    rope = c.kinds[0].rope
    inverse = torch.from_numpy(tt.ops.rope_frequencies(c.head_dim, rope.theta)).double()
    angle = torch.outer(torch.arange(s).double(), inverse).repeat(1, 2).float()

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.rms_norm(x, (c.hidden,), w[f"{name}.weight"], c.eps)

    def turned(x: torch.Tensor) -> torch.Tensor:
        half = torch.cat([-x[..., c.head_dim // 2 :], x[..., : c.head_dim // 2]], -1)
        return x * angle.cos() + half * angle.sin()

    x = w["model.embed_tokens.weight"][torch.tensor(list(ids))]
    for i in range(c.layers):
        layer = f"model.layers.{i}"
        h = norm(x, f"{layer}.input_layernorm")
        q, k, v = (
            F.linear(h, w[f"{layer}.self_attn.{n}_proj.weight"])
            .view(s, -1, c.head_dim)
            .transpose(0, 1)
            for n in "qkv"
        )
        attended = F.scaled_dot_product_attention(
            turned(q)[None], turned(k)[None], v[None], is_causal=True, enable_gqa=True
        )[0]
        merged = attended.transpose(0, 1).flatten(1)
        x = x + F.linear(merged, w[f"{layer}.self_attn.o_proj.weight"])
        h = norm(x, f"{layer}.post_attention_layernorm")
        gate, up = (F.linear(h, w[f"{layer}.mlp.{n}_proj.weight"]) for n in ("gate", "up"))
        x = x + F.linear(F.silu(gate) * up, w[f"{layer}.mlp.down_proj.weight"])
    head = w["model.embed_tokens.weight" if c.tied else "lm_head.weight"]
    return F.linear(norm(x, "model.norm"), head)[-1]
