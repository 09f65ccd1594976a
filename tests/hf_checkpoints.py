"""Random small checkpoints of every architecture, written and judged by transformers."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from tiny_llama import write_tokenizer

VOCAB = 300
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCAB,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.0, 1.1, 1.3, 1.5, 2.0],
    "long_factor": [1.0, 1.5, 2.0, 3.0, 5.0, 8.0],
}
GEMMA3 = {
    "head_dim": 32,
    "num_hidden_layers": 4,
    "layer_types": [*["sliding_attention"] * 2, "full_attention", "sliding_attention"],
    "sliding_window": 12,
    "query_pre_attn_scalar": 48,
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    },
}

# By name: the class without its ending, and what its config has beyond SIZES.
CASES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"tie_word_embeddings": True, "rope_parameters": LLAMA3, "head_dim": 32}),
    "llama-biased": (
        "Llama",
        {
            "attention_bias": True,
            "mlp_bias": True,
            "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 1e4},
        },
    ),
    "mistral": ("Mistral", {"sliding_window": 24}),
    "qwen2": (
        "Qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": 16,
            "max_window_layers": 1,
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "rope_theta": 1e3,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "qwen3": ("Qwen3", {"head_dim": 32, "tie_word_embeddings": True}),
    "qwen3-biased": ("Qwen3", {"head_dim": 16, "attention_bias": True}),
    "gemma3": ("Gemma3", GEMMA3),
    "gemma3-vision": ("Gemma3Vision", GEMMA3),
    "phi3": ("Phi3", {"sliding_window": 20}),
    "phi4-mini": (
        "Phi3",
        {
            "tie_word_embeddings": True,
            "original_max_position_embeddings": 64,
            "rope_parameters": LONGROPE,
        },
    ),
    "smollm3": ("SmolLM3", {"no_rope_layer_interval": 2}),
}


def made(name: str) -> Any:
    """The model of a case, its weights as transformers begins with them."""
    import transformers as hf

    family, own = CASES[name]
    settings = {**SIZES, **own, "attn_implementation": "eager"}
    if family == "Gemma3Vision":
        vision = hf.SiglipVisionConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=28,
            patch_size=14,
        )
        config = hf.Gemma3Config(
            text_config=hf.Gemma3TextConfig(**settings),
            vision_config=vision,
            mm_tokens_per_image=4,
        )
        return hf.Gemma3ForConditionalGeneration(config)
    ending = "TextConfig" if family == "Gemma3" else "Config"
    config = getattr(hf, family + ending)(**settings)
    return getattr(hf, f"{family}ForCausalLM")(config)


def architecture(name: str) -> str:
    """What a case's config.json calls it."""
    family = CASES[name][0]
    vision = family == "Gemma3Vision"
    return "Gemma3ForConditionalGeneration" if vision else f"{family}ForCausalLM"


def _randomize(model: Any) -> None:
    """Weights with so much spread that every one of them, and every norm and bias, matters."""
    generator = torch.Generator().manual_seed(5)
    # Gemma's norms are stored as their distance from one, its embedding before it is scaled.
    gemma = "Gemma3" in type(model).__name__
    for name, weight in model.named_parameters():
        random = torch.randn(weight.shape, generator=generator)
        if gemma and name.endswith("model.norm.weight"):
            weight.data = random - 1  # of either sign, or a tied head says its own input again
        elif "norm" in name:
            weight.data = (0.0 if gemma else 1.0) + 0.4 * random
        elif weight.ndim == 1:
            weight.data = 0.5 * random
        elif "embed_tokens" in name or "lm_head" in name:
            weight.data = (0.1 if gemma else 0.3) * random
        else:
            weight.data = random * 1.5 / weight.shape[-1] ** 0.5


def write(folder: Path, name: str) -> Path:
    """The checkpoint of a case as transformers writes it, with a tokenizer beside."""
    model = made(name)
    _randomize(model)
    model.save_pretrained(folder)
    (folder / "generation_config.json").write_text('{"do_sample": false, "eos_token_id": 2}')
    write_tokenizer(folder, VOCAB)
    return folder


def with_tensors(folder: Path, tensors: Mapping[str, np.ndarray], target: Path) -> Path:
    """The same checkpoint with other weights."""
    config = json.loads((folder / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config))
    save_file(dict(tensors), target / "model.safetensors", metadata={"format": "pt"})
    return target


@functools.cache
def model_of(folder: Path) -> Any:
    """A folder's model in transformers, in float32."""
    import transformers as hf

    config = json.loads((folder / "config.json").read_text())
    cls = getattr(hf, config["architectures"][0])
    return cls.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def logits(folder: Path, ids: Sequence[int]) -> np.ndarray:
    """After every one of `ids`, [len(ids), vocab], by transformers."""
    with torch.no_grad():
        return model_of(folder)(input_ids=torch.tensor([list(ids)])).logits[0].numpy()
