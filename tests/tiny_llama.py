"""A Llama checkpoint of two small layers with random weights, as a folder of Hugging Face files."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import tokenizers
import torch
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


def tensors(config: dict[str, Any] = CONFIG) -> dict[str, np.ndarray]:
    _, weights = decoder.build(llama.read(config), Recipe(FLOAT))
    return random_tensors(weights)


def write_checkpoint(folder: Path, **changed: Any) -> Path:
    """The files, with a tokenizer, and a config so `changed`."""
    config = CONFIG | changed
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text('{"do_sample": false, "eos_token_id": 299}')
    write_tokenizer(folder, CONFIG["vocab_size"])
    save_file(tensors(config), folder / "model.safetensors")
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


def shard(folder: Path, count: int = 3, dtype: torch.dtype = torch.float32) -> Path:
    """The folder's weights again, as shards with an index."""
    held = {n: torch.from_numpy(t).to(dtype) for n, t in tensors().items()}
    places = {n: f"model-{i % count + 1:05}-of-{count:05}.safetensors" for i, n in enumerate(held)}
    for place in {*places.values()}:
        part = {n: t for n, t in held.items() if places[n] == place}
        safetensors.torch.save_file(part, folder / place)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    return folder
