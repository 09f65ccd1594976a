"""A Llama checkpoint of two small layers with random weights, as a folder of Hugging Face files."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from safetensors.numpy import save_file

import harness
import tensortab as tt
from checkpoints import random_tensors
from tensortab.models import decoder, llama
from tensortab.quant.recipe import FLOAT, Recipe

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 96,
    "vocab_size": 300,
    "max_position_embeddings": 200,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}
TEXT = "def add(a, b):\n    return a + b  # naïve ☃ 雪\n" * 20


def tensors() -> dict[str, np.ndarray]:
    _, weights = decoder.build(llama.read(CONFIG), Recipe(FLOAT))
    return random_tensors(weights)


def write_checkpoint(folder: Path) -> Path:
    """The files, with a tokenizer."""
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "generation_config.json").write_text('{"do_sample": false, "eos_token_id": 299}')
    write_tokenizer(folder, CONFIG["vocab_size"])
    save_file(tensors(), folder / "model.safetensors")
    return folder


def write_tokenizer(folder: Path, vocab: int) -> None:
    """A byte-level tokenizer of at most `vocab` tokens, trained on the spot."""
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([TEXT], vocab_size=vocab - 1, min_frequency=1)
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text("{}")


def drive(
    native: harness.Native, folder: Path, work: Callable[[Any], Awaitable[Any]], **options: Any
) -> Any:
    """`work` on a model of the folder."""

    async def run() -> Any:
        model = await tt.load(str(folder), device=native.device, **options)
        try:
            return await work(model)
        finally:
            model.destroy()

    return asyncio.run(run())
