"""Qwen2 and Qwen2.5: Llama's form, with biases on queries, keys and values.

Qwen team, arXiv 2412.15115. Some layers of some sizes have a window: those from max_window_layers
on, where use_sliding_window is set.
"""

from __future__ import annotations

from .common import SLIDING, layer_types, rope
from .common import read as common
from .decoder import Config, Kind
from .settings import Settings, flag, require, size


def read(config: Settings, context: int | None = None) -> Config:
    """Check a parsed config.json; refuses by name what is not implemented."""
    require(config, {"hidden_act": "silu", "use_mrope": False})
    return common(config, context, kinds(config), qkv_bias=True)


def kinds(config: Settings) -> list[Kind]:
    """The kind of each layer of a Qwen2 or Qwen3."""
    turned, window = rope(config), None
    if flag(config, "use_sliding_window"):
        window = size(config, "sliding_window", 4096)
    first = size(config, "max_window_layers", 28)
    sliding = [window is not None and i >= first for i in range(size(config, "num_hidden_layers"))]
    found = layer_types(config, sliding)
    return [Kind(turned, window if kind == SLIDING else None) for kind in found]
