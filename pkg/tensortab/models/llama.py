"""Llama 2 and 3, SmolLM and others of the same form: config.json to a decoder's Config.

Touvron et al., arXiv 2302.13971 and 2307.09288; Grattafiori et al., arXiv 2407.21783. Biases are
rare: attention_bias is of queries, keys, values and attention's output, mlp_bias of all three
feed-forward matrices.
"""

from __future__ import annotations

from .common import read as common
from .common import rope
from .decoder import Config, Kind
from .settings import Settings, flag, require


def read(config: Settings, context: int | None = None) -> Config:
    """Check a parsed config.json; refuses by name what is not implemented."""
    require(config, {"hidden_act": "silu", "pretraining_tp": 1})
    attention, mlp = flag(config, "attention_bias"), flag(config, "mlp_bias")
    biases = {"qkv_bias": attention, "out_bias": attention, "mlp_bias": mlp}
    return common(config, context, [Kind(rope(config))], **biases)
