"""What the config.json files of decoders have in common, as transformers 4 and 5 write them.

                   transformers 4                        transformers 5
rope               rope_theta, rope_scaling,             rope_parameters, with rope_theta and
                   partial_rotary_factor                 partial_rotary_factor in it
layers' kinds      sliding_window_pattern and others     layer_types
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import FormatError, UnsupportedError
from ..ops import rope_attention_factor, rope_frequencies
from ..ops.rope_scaling import rope_type
from .decoder import Config, Kind, Rope
from .settings import Settings, flag, number, size

FULL, SLIDING = "full_attention", "sliding_attention"

# Longer caches than this are asked for by name: at 1B sizes one takes 32 KiB a token.
_CONTEXT = 8192
_STRETCHED = ("llama3", "yarn", "longrope")  # from original_max_position_embeddings on


def read(
    config: Settings,
    context: int | None,
    kinds: Sequence[Kind],
    *,
    tied: bool = False,
    eps: float = 1e-6,
    **own: Any,
) -> Config:
    """A decoder's Config: the sizes from `config`, what the architecture has of its `own`.

    `tied` and `eps` hold where the file says nothing. `context` is how many tokens the caches
    hold: the model's own limit where it is None, but not over 8192, nor over what a model with
    longrope was trained on before it was stretched, as its long factors cost short prompts some
    quality. UnsupportedError for a context over the model's limit.
    """
    heads = size(config, "num_attention_heads")
    length = _context(config, context, kinds)
    reached = (k.window is not None and k.window < length for k in kinds)
    return Config(
        hidden=size(config, "hidden_size"),
        layers=size(config, "num_hidden_layers"),
        heads=heads,
        kv_heads=size(config, "num_key_value_heads", heads),
        head_dim=head_dim(config),
        intermediate=size(config, "intermediate_size"),
        vocab=size(config, "vocab_size"),
        context=length,
        eps=number(config, "rms_norm_eps", eps),
        tied=flag(config, "tie_word_embeddings", tied),
        kinds=tuple(
            k if r else replace(k, window=None) for k, r in zip(kinds, reached, strict=True)
        ),
        **own,
    )


def head_dim(config: Settings) -> int:
    """Elements of a head."""
    return size(
        config, "head_dim", size(config, "hidden_size") // size(config, "num_attention_heads")
    )


def rope(config: Settings, theta: float = 10000.0) -> Rope:
    """The rope of a model that has one for all layers; `theta` where the file says nothing."""
    given = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    outer = {"rope_theta": theta, **config}
    base = number(
        {"rope_theta": given.pop("rope_theta", None) or outer["rope_theta"]}, "rope_theta"
    )
    name = "partial_rotary_factor"
    part = number({name: given.pop(name, None) or config.get(name)}, name, 1.0)
    width = int(head_dim(config) * part)
    scaling = _scaling(config, given)
    rope_frequencies(width, base, scaling)  # refuses what it does not know
    rope_attention_factor(scaling)
    return Rope(base, scaling, None if width == head_dim(config) else width)


def _scaling(config: Settings, given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The scaling by itself, with what the rest of the file says of it; None for none."""
    kind = rope_type(given)
    if kind == "default":
        return None
    scaling = {k: v for k, v in given.items() if k != "type"} | {"rope_type": kind}
    if kind in _STRETCHED:
        most, key = size(config, "max_position_embeddings"), "original_max_position_embeddings"
        original = size(config, key, size(scaling, key, most))
        scaling[key] = original
        if scaling.get("factor") is None:
            scaling["factor"] = most / original
    return scaling


def layer_types(config: Settings, sliding: Sequence[bool]) -> list[str]:
    """FULL or SLIDING for each layer: `layer_types`, or what an architecture's own keys say."""
    layers = size(config, "num_hidden_layers")
    found = config.get("layer_types")
    if found is None:
        return [SLIDING if s else FULL for s in sliding]
    if not isinstance(found, list) or len(found) != layers:
        raise FormatError(
            f"config.json: layer_types is {found!r}, expected a list of {layers}, num_hidden_layers"
        )
    for kind in found:
        if kind not in (FULL, SLIDING):
            raise UnsupportedError(
                f"config.json: layer_types has {kind!r}, expected {FULL!r} and {SLIDING!r}"
            )
    return found


def _context(config: Settings, context: int | None, kinds: Sequence[Kind]) -> int:
    most = size(config, "max_position_embeddings")
    if context is None:
        scalings = (k.rope.scaling or {} for k in kinds if k.rope)
        trained = [
            size(s, "original_max_position_embeddings")
            for s in scalings
            if s.get("rope_type") == "longrope"
        ]
        return min(most, _CONTEXT, *trained)
    if not 1 <= context <= most:
        raise UnsupportedError(f"context is {context}, expected 1 to {most} (config.json)")
    return context
