"""SmolLM3: Llama's form, with every fourth layer without positions.

Bakouch et al., "SmolLM3" (Hugging Face, 2025); such layers: Yang et al., arXiv 2501.18795.
"""

from __future__ import annotations

from ..errors import FormatError
from .common import SLIDING, layer_types, rope
from .common import read as common
from .decoder import Config, Kind
from .settings import Settings, flag, require, size


def read(config: Settings, context: int | None = None) -> Config:
    """Check a parsed config.json; refuses by name what is not implemented."""
    require(config, {"hidden_act": "silu"})
    attention, mlp = flag(config, "attention_bias"), flag(config, "mlp_bias")
    biases = {"qkv_bias": attention, "out_bias": attention, "mlp_bias": mlp}
    return common(config, context, _kinds(config), tied=True, **biases)


def _kinds(config: Settings) -> list[Kind]:
    turned, count = rope(config, 2e6), size(config, "num_hidden_layers")
    every = size(config, "no_rope_layer_interval", 4)
    turns = config.get("no_rope_layers") or [int((i + 1) % every != 0) for i in range(count)]
    if not isinstance(turns, list) or len(turns) < count or {*turns} - {0, 1}:
        raise FormatError(
            f"config.json: no_rope_layers is {turns!r}, expected a 0 or 1 for each of {count}"
            " layers, num_hidden_layers"
        )
    window = size(config, "sliding_window") if flag(config, "use_sliding_window") else None
    found = layer_types(config, [window is not None and not t for t in turns[:count]])
    return [
        Kind(turned if t else None, window if kind == SLIDING else None)
        for t, kind in zip(turns, found, strict=False)
    ]
