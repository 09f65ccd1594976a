"""Phi-3-mini and Phi-4-mini: Llama's form, with q, k, v in one tensor and gate, up in another.

Abdin et al., arXiv 2404.14219; Phi-4-mini: arXiv 2503.01743. Phi-4-mini turns three quarters of a
head; models of a long context have longrope, and those of 4k a window over every layer.
"""

from __future__ import annotations

from ..errors import UnsupportedError
from .common import read as common
from .common import rope
from .decoder import Config, Kind
from .settings import Settings, require, size


def read(config: Settings, context: int | None = None) -> Config:
    """Check a parsed config.json; refuses by name what is not implemented."""
    known = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
    require(config, known | {"lm_head_bias": False})
    turned = rope(config)
    kind = (turned.scaling or {}).get("rope_type", "longrope")
    if kind != "longrope":  # early files say yarn and mean longrope
        raise UnsupportedError(
            f"config.json: rope_type is {kind!r}, expected 'default' or 'longrope'"
        )
    found = config.get("sliding_window")
    window = None if found is None else size(config, "sliding_window")
    return common(config, context, [Kind(turned, window)], eps=1e-5, fused=True)
