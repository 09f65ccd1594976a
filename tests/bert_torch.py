"""BERT's sentence vectors in torch, written out: the golden of models/bert.py."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # torch's own habit


def encode(
    w: Mapping[str, torch.Tensor], ids: np.ndarray, mask: np.ndarray, *, heads: int, layers: int
) -> np.ndarray:
    """Unit vectors [B, hidden] of token ids [B, S]."""

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        weight = w[f"{name}.weight"]
        return F.layer_norm(x, weight.shape, weight, w[f"{name}.bias"], 1e-12)

    b, s = ids.shape
    real = torch.from_numpy(mask).bool()
    table = {n: w[f"embeddings.{n}_embeddings.weight"] for n in ("word", "token_type", "position")}
    x = table["word"][torch.from_numpy(ids).long()] + table["token_type"][0] + table["position"][:s]
    x = norm(x, "embeddings.LayerNorm")
    for i in range(layers):
        layer = f"encoder.layer.{i}"
        q, k, v = (
            linear(x, f"{layer}.attention.self.{n}").view(b, s, heads, -1).transpose(1, 2)
            for n in ("query", "key", "value")
        )
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None])
        attended = linear(attended.transpose(1, 2).flatten(2), f"{layer}.attention.output.dense")
        x = norm(attended + x, f"{layer}.attention.output.LayerNorm")
        inner = F.gelu(linear(x, f"{layer}.intermediate.dense"))
        x = norm(linear(inner, f"{layer}.output.dense") + x, f"{layer}.output.LayerNorm")
    weight = real[..., None].float()
    return F.normalize((x * weight).sum(1) / weight.sum(1), dim=-1).numpy()
