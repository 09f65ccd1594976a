"""Mistral 7B and its kin: Llama's form, with a window over every layer in the first version.

Jiang et al., arXiv 2310.06825.
"""

from __future__ import annotations

from .common import read as common
from .common import rope
from .decoder import Config, Kind
from .settings import Settings, require, size


def read(config: Settings, context: int | None = None) -> Config:
    """Check a parsed config.json; refuses by name what is not implemented."""
    require(config, {"hidden_act": "silu"})
    known = {"sliding_window": 4096, **config}
    window = None if known["sliding_window"] is None else size(known, "sliding_window")
    return common(config, context, [Kind(rope(config), window)])
