"""Checkpoints of real models' shapes for benchmarks, with made-up contents, as folders.

Which is told by a config.json, such as tensortab.bench.shapes has; bfloat16, one random block over
and over; norms are ones; a byte-level BPE tokenizer of the model's size whose merges are random.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 16 << 20  # bytes of random weights
SHARD = 5_000_000_000  # bytes, as transformers cuts them


def tensors(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes as the model's own checkpoint has them."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    q, kv = (config["head_dim"] * config[f"num_{n}_heads"] for n in ("attention", "key_value"))
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        for name, n, k in (
            ("q", q, hidden),
            ("k", kv, hidden),
            ("v", kv, hidden),
            ("o", hidden, q),
        ):
            yield f"{layer}.self_attn.{name}_proj.weight", (n, k)
        if config["model_type"] == "qwen3":
            for name in ("q_norm", "k_norm"):
                yield f"{layer}.self_attn.{name}.weight", (config["head_dim"],)
        for name in ("gate", "up"):
            yield f"{layer}.mlp.{name}_proj.weight", (inner, hidden)
        yield f"{layer}.mlp.down_proj.weight", (hidden, inner)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}.{name}.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (config["vocab_size"], hidden)


def write_weights(folder: Path, config: dict[str, Any]) -> int:
    """The tensors as one file, or as shards with an index; bytes in all."""
    shards: list[list[tuple[str, tuple[int, ...], int]]] = [[]]
    for name, shape in tensors(config):
        size = 2 * int(np.prod(shape))
        if shards[-1] and sum(n for _, _, n in shards[-1]) + size > SHARD:
            shards.append([])
        shards[-1].append((name, shape, size))
    normal = np.random.default_rng(0).standard_normal(BLOCK // 2, np.float32) * 0.02
    block = (normal.view(np.uint32) >> 16).astype("<u2").tobytes()
    places = {}
    for i, held in enumerate(shards, 1):
        file = f"model-{i:05}-of-{len(shards):05}.safetensors"
        file = file if len(shards) > 1 else "model.safetensors"
        places |= {name: file for name, _, _ in held}
        header, at = {}, 0
        for name, shape, size in held:
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": (at, at + size)}
            at += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with (folder / file).open("wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            for name, _, size in held:
                if name.endswith("norm.weight"):
                    out.write(np.full(size // 2, 0x3F80, "<u2").tobytes())
                    continue
                for start in range(0, size, BLOCK):
                    out.write(block[: size - start])
    if len(shards) > 1:
        text = json.dumps({"weight_map": places})
        (folder / "model.safetensors.index.json").write_text(text)
    return sum(size for held in shards for _, _, size in held)


def write_tokenizer(folder: Path, vocab: int) -> None:
    """A byte-level BPE of `vocab` tokens: pairs of earlier ones, at random."""
    chance = random.Random(0)
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(b) for b in visible] + [chr(256 + i) for i in range(256 - len(visible))]
    names, known, merges = list(symbols), {*symbols}, []
    while len(names) < vocab:
        # Of letters rather than of long pieces, so that words of this length do occur.
        pair = chance.choice(names[: len(names) // 2 + 1]), chance.choice(symbols)
        if (made := "".join(pair)) not in known:
            known.add(made)
            names.append(made)
            merges.append(pair)
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    (folder / "tokenizer.json").write_text(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [],
                "normalizer": None,
                "pre_tokenizer": level,
                "post_processor": None,
                "decoder": level,
                "model": {
                    "type": "BPE",
                    "dropout": None,
                    "unk_token": None,
                    "continuing_subword_prefix": None,
                    "end_of_word_suffix": None,
                    "fuse_unk": False,
                    "byte_fallback": False,
                    "ignore_merges": True,
                    "vocab": {name: i for i, name in enumerate(names)},
                    "merges": [list(pair) for pair in merges],
                },
            },
            ensure_ascii=False,
        )
    )


def write_checkpoint(folder: Path, config: dict[str, Any]) -> None:
    """All files, unless they are there already."""
    if (folder / "config.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder, config)
    write_tokenizer(folder, config["vocab_size"])
    (folder / "generation_config.json").write_text('{"do_sample": false}')
    (folder / "config.json").write_text(json.dumps(config))  # last: it says that all is there
