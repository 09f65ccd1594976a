"""The model's folder: what tensortab loads.

python export.py --floats OUT --tokenizer build/tokenizer.json --folder web/models/python-16m
    from a checkpoint (float16.0 and float16.1); train.py exports by itself

NAME.weight.packed   uint8 [N, K/2]      every linear layer and the embedding, 4-bit
NAME.weight.scales   float16 [K/32, N]   (tensortab.quant.q4gsw, with its scale search)
NAME.weight          float32             the norms; NAME as Hugging Face's Llama has it
"""

import json
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from model import GROUP, Shape, named, stacked
from safetensors.numpy import load_file, save_file

from tensortab.quant import q4gsw

SAMPLING = {"temperature": 0.5, "top_p": 0.9, "repetition_penalty": 1.1}  # check.py's choice


@dataclass(frozen=True)
class Quantized:
    """The tensors of model.safetensors."""

    tensors: dict[str, np.ndarray]

    def floats(self) -> dict[str, np.ndarray]:
        """The float32 weights they stand for, under Hugging Face's names."""
        result = {}
        for name, tensor in self.tensors.items():
            if name.endswith(".packed"):
                whole = name.removesuffix(".packed")
                result[whole] = q4gsw.dequantize(tensor, self.tensors[f"{whole}.scales"])
            elif not name.endswith(".scales"):
                result[name] = tensor
        return result


def quantized(weights: dict[str, np.ndarray]) -> Quantized:
    """Every matrix in four bits, every vector as it is."""
    tensors = {}
    for name, weight in weights.items():
        if weight.ndim == 1:
            tensors[name] = weight.astype(np.float32)
            continue
        packed, scales = q4gsw.quantize(
            weight.astype(np.float32), GROUP, search=True, scales="float16", name=name
        )
        tensors[f"{name}.packed"], tensors[f"{name}.scales"] = packed, scales
    return Quantized(tensors)


def export(folder: Path, shape: Shape, model: Quantized, tokenizer: Path) -> None:
    """Write the folder's files."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    save_file(model.tensors, weights, {"format": "pt"})
    weights.chmod(0o644)
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    _write(folder / "config.json", shape.config())
    end = "<|endoftext|>"
    _write(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": True,
            "add_eos_token": False,
            "added_tokens_decoder": {
                "0": {
                    "content": end,
                    "lstrip": False,
                    "normalized": False,
                    "rstrip": False,
                    "single_word": False,
                    "special": True,
                }
            },
            "bos_token": end,
            "clean_up_tokenization_spaces": False,
            "eos_token": end,
            "model_max_length": shape.context,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )
    ids = {"bos_token_id": 0, "eos_token_id": 0}
    _write(folder / "generation_config.json", {**ids, "do_sample": True, **SAMPLING})


def load(folder: Path) -> tuple[Shape, dict[str, torch.Tensor]]:
    """The model back from its folder, dequantized and stacked."""
    config = json.loads((folder / "config.json").read_text())
    shape = Shape(
        vocabulary=config["vocab_size"],
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        head_dim=config["head_dim"],
        hidden=config["intermediate_size"],
        context=config["max_position_embeddings"],
        theta=config["rope_theta"],
        epsilon=config["rms_norm_eps"],
    )
    floats = Quantized(load_file(folder / "model.safetensors")).floats()
    return shape, stacked(shape, {n: torch.from_numpy(w) for n, w in floats.items()})


def load_floats(out: Path, shape: Shape) -> dict[str, torch.Tensor]:
    """A checkpoint's weights, stacked."""
    flat = np.concatenate([np.fromfile(out / f"float16.{i}", np.float16) for i in (0, 1)])
    weights, at = {}, 0
    for name, size in {**shape.matrices(), **shape.norms()}.items():
        count = int(np.prod(size))
        weights[name] = torch.from_numpy(flat[at : at + count].astype(np.float32)).view(size)
        at += count
    return weights


def _write(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


@click.command()
@click.option("--floats", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--tokenizer", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--folder", required=True, type=click.Path(path_type=Path))
def main(floats: Path, tokenizer: Path, folder: Path) -> None:
    """Quantize a checkpoint and write the model's folder."""
    shape = Shape()
    weights = {n: w.numpy() for n, w in named(shape, load_floats(floats, shape)).items()}
    export(folder, shape, quantized(weights), tokenizer)


if __name__ == "__main__":
    main()
