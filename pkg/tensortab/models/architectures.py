"""Which architecture is read by what: the one table, by the name a config.json gives.

A new decoder is a file that reads its config.json into decoder.Config, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UnsupportedError
from ..quant.recipe import Recipe
from . import bert, decoder, gemma3, llama, mistral, phi3, qwen2, qwen3, smollm3
from .settings import Settings


@dataclass(frozen=True)
class Encoder:
    """Turns texts into vectors."""

    read: Callable[[Settings], bert.Config]
    recipe: Callable[[bert.Config], Recipe]  # of weights, where none is asked for
    serves: str


@dataclass(frozen=True)
class Decoder:
    """Continues a text."""

    read: Callable[[Settings, int | None], decoder.Config]  # config.json, context
    serves: str
    recipe: Recipe = decoder.DEFAULT_RECIPE


ARCHITECTURES: Mapping[str, Encoder | Decoder] = {
    "BertModel": Encoder(bert.Config.read, bert.default_recipe, "all-MiniLM, BGE and other BERTs"),
    "Gemma3ForCausalLM": Decoder(gemma3.read, "Gemma 3 270M and 1B"),
    "Gemma3ForConditionalGeneration": Decoder(
        gemma3.read_multimodal, "Gemma 3 4B and larger, their text"
    ),
    "LlamaForCausalLM": Decoder(llama.read, "Llama 2, 3.x, SmolLM, SmolLM2, TinyLlama"),
    "MistralForCausalLM": Decoder(mistral.read, "Mistral 7B"),
    "Phi3ForCausalLM": Decoder(phi3.read, "Phi-3-mini, Phi-3.5-mini, Phi-4-mini, Phi-4"),
    "Qwen2ForCausalLM": Decoder(qwen2.read, "Qwen2, Qwen2.5"),
    "Qwen3ForCausalLM": Decoder(qwen3.read, "Qwen3, dense sizes"),
    "SmolLM3ForCausalLM": Decoder(smollm3.read, "SmolLM3"),
}
# The quantization_config of checkpoints that hold weights quantized here; packed.py has the rest.
QUANTIZED_HERE = {"quant_method": "tensortab"}


def find(config: Mapping[str, Any], location: str) -> Encoder | Decoder:
    """The architecture a parsed config.json asks for; UnsupportedError for one there is not.

    Refused as well: weights that somebody else quantized.
    """
    name = next(iter(config.get("architectures") or []), None)
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise UnsupportedError(
            f"{location}: architecture {name!r}; there are {', '.join(ARCHITECTURES)}"
        )
    quantized = config.get("quantization_config")
    if quantized and quantized.get("quant_method") != QUANTIZED_HERE["quant_method"]:
        raise UnsupportedError(
            f"{location}: quantization_config is {quantized!r}, expected none: take the checkpoint"
            " in float32, float16 or bfloat16, it is quantized as it loads"
        )
    return ARCHITECTURES[name]
