"""Gemma 3's text: four norms a layer, GeGLU, scaled embeddings, five of six layers with a window.

Gemma team, arXiv 2503.19786. Norms' weights are stored as their distance from one. Layers with a
window turn by a rope of their own. Checkpoints that see pictures, too, have the same decoder
inside; their vision tower is not read.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ..errors import FormatError
from .common import FULL, SLIDING, layer_types, rope
from .common import read as common
from .decoder import SANDWICH_NORMS, Config, Kind, Rope
from .settings import Settings, flag, number, require, size

# What transformers 4 leaves out of a file where it is so.
_DEFAULTS: Settings = {
    "vocab_size": 262208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131072,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
    "rope_theta": 1e6,
    "rope_local_base_freq": 1e4,
}
_KNOWN: Settings = {
    "hidden_activation": "gelu_pytorch_tanh",
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "use_bidirectional_attention": False,
}


def read(config: Settings, context: int | None = None) -> Config:
    """Check a parsed config.json; refuses by name what is not implemented."""
    require(config, _KNOWN)
    known = {**_DEFAULTS, **config}
    pattern = size(known, "sliding_window_pattern")
    count = size(known, "num_hidden_layers")
    found = layer_types(known, [(i + 1) % pattern != 0 for i in range(count)])
    full, local = _ropes(known)
    window = size(known, "sliding_window")
    kinds = {FULL: Kind(full), SLIDING: Kind(local, window)}
    bias = flag(known, "attention_bias")
    return common(
        known,
        context,
        [kinds[kind] for kind in found],
        tied=True,
        scale=number(known, "query_pre_attn_scalar") ** -0.5,
        activation="gelu_tanh",
        norms=SANDWICH_NORMS,
        norm_offset=1.0,
        qk_norm=True,
        qkv_bias=bias,
        out_bias=bias,
        embedding_scale=math.sqrt(size(known, "hidden_size")),
    )


def read_multimodal(config: Settings, context: int | None = None) -> Config:
    """Check the config.json of a checkpoint with a vision tower, for the decoder in it."""
    text = config.get("text_config")
    if not isinstance(text, dict):
        raise FormatError(f"config.json: text_config is {text!r}, expected an object")
    return replace(read(text, context), prefix="language_model.")


def _ropes(config: Settings) -> tuple[Rope, Rope]:
    """Of layers that see everything and of those with a window."""
    both: dict[str, Any] = config.get("rope_parameters") or {}
    older = {"rope_theta": config["rope_theta"], **(config.get("rope_scaling") or {})}
    full = both.get(FULL) or older
    local = both.get(SLIDING) or {"rope_theta": config["rope_local_base_freq"]}
    return rope({**config, "rope_parameters": full}), rope({**config, "rope_parameters": local})
