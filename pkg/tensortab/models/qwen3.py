"""Qwen3: Llama's form, with queries and keys normed head by head; the sizes that are dense.

Qwen team, arXiv 2505.09388.
"""

from __future__ import annotations

from .common import read as common
from .decoder import Config
from .qwen2 import kinds
from .settings import Settings, flag, require


def read(config: Settings, context: int | None = None) -> Config:
    """Check a parsed config.json; refuses by name what is not implemented."""
    require(config, {"hidden_act": "silu"})
    known = {"head_dim": 128, **config}
    bias = flag(config, "attention_bias")
    own = {"qk_norm": True, "qkv_bias": bias, "out_bias": bias}
    return common(known, context, kinds(known), **own)
