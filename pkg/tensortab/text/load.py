"""A Hugging Face folder as a model on a device: one table from architecture to what runs it."""

from __future__ import annotations

import json
from typing import Any

from ..errors import FormatError
from ..models import architectures
from ..models.checkpoint import Progress
from ..quant.recipe import recipe
from ..runtime import Device
from ..weights import open_source, safetensors
from .embedder import Embedder
from .generator import Generator
from .tokenizer import Tokenizer


async def load(
    location: str,
    *,
    quantize: Any = "auto",
    context: int | None = None,
    device: Device | None = None,
    progress: Progress | None = None,
) -> Any:
    """Open the model in a folder: a path, or a base URL, that holds config.json and its kin.

    An `Embedder` for an encoder, a `Generator` for a language model. `quantize` is "auto" (the
    architecture's own choice), None (float weights), a format's name, a mapping of name patterns
    to formats ({"attention": "q8gsw"}) or a `Recipe`. `context` is how many tokens a language
    model's caches hold. `progress` is called with a stage ("weights", …), what is done and the
    total, in bytes or items.

    Raises UnsupportedError for another architecture, before a weight is read, FormatError for a
    malformed file, DeviceError where the device cannot hold the model.
    """
    folder = location.rstrip("/")
    config = await _json(f"{folder}/config.json")
    architecture = architectures.find(config, location)
    if isinstance(architecture, architectures.Encoder):
        encoder = architecture.read(config)
        chosen = recipe(quantize, architecture.recipe(encoder))
        tokenizer, file = await _parts(folder)
        device = device or await Device.open()
        return await Embedder.create(device, encoder, tokenizer, file, chosen, progress)
    sizes = architecture.read(config, context)
    chosen = recipe(quantize, architecture.recipe)
    generation = await _json(f"{folder}/generation_config.json")
    generation = {"eos_token_id": config.get("eos_token_id", [])} | generation
    tokenizer, file = await _parts(folder)
    device = device or await Device.open()
    return await Generator.create(device, sizes, tokenizer, file, chosen, generation, progress)


async def _parts(folder: str) -> tuple[Tokenizer, safetensors.File]:
    tokenizer = await Tokenizer.open(folder)
    return tokenizer, await safetensors.open(f"{folder}/model.safetensors")


async def _json(address: str) -> dict[str, Any]:
    source = open_source(address)
    try:
        parsed = json.loads(bytes(await source.read(0, await source.size())))
    except ValueError as e:
        raise FormatError(f"{address} is not JSON: {e}") from e
    if not isinstance(parsed, dict):
        raise FormatError(f"{address} holds a {type(parsed).__name__}, expected an object")
    return parsed
