"""Llama 2 and 3, SmolLM and others of the same form: config.json to a decoder's sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UnsupportedError
from ..quant.recipe import Format, Recipe
from .decoder import Config
from .settings import require, size

DEFAULT_RECIPE = Recipe(Format("q4gsw"))

# Longer caches than this are asked for by name: at 1B sizes one takes 32 KiB a token.
_CONTEXT = 8192


def read(config: Mapping[str, Any], context: int | None = None) -> Config:
    """Check a parsed config.json; refuses by name what is not implemented.

    `context` is how many tokens the caches hold, the model's own limit or 8192 if that is less.
    """
    require(
        config,
        {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "pretraining_tp": 1},
    )
    rope = config.get("rope_parameters") or {}  # transformers 5; before, two keys of the config
    scaling = config.get("rope_scaling") or {k: v for k, v in rope.items() if k != "rope_theta"}
    heads = size(config, "num_attention_heads")
    most = size(config, "max_position_embeddings")
    if context is not None and not 1 <= context <= most:
        raise UnsupportedError(f"context is {context}, expected 1 to {most} (config.json)")
    return Config(
        hidden=size(config, "hidden_size"),
        layers=size(config, "num_hidden_layers"),
        heads=heads,
        kv_heads=size(config, "num_key_value_heads", heads),
        head_dim=size(config, "head_dim", size(config, "hidden_size") // heads),
        intermediate=size(config, "intermediate_size"),
        vocab=size(config, "vocab_size"),
        context=context or min(most, _CONTEXT),
        theta=float(config.get("rope_theta", rope.get("rope_theta", 10000.0))),
        scaling=scaling or None,
        eps=float(config.get("rms_norm_eps", 1e-6)),
        tied=bool(config.get("tie_word_embeddings", False)),
    )
