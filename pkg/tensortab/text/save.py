"""A loaded model as a folder again: its weights as they are on the device, quantized.

    model = await load("models/Llama-3.2-1B-Instruct")
    await save(model, "models/Llama-3.2-1B-q4")       # what `load` opens, in a quarter of the bytes

    config.json              the checkpoint's own, with quantization_config naming this package
    model.safetensors        models/packed.py
    tokenizer.json, and generation_config.json, tokenizer_config.json, chat_template.jinja where
    the checkpoint has them, as they are

Loading it gives the same weights to the bit, whatever device wrote it.
"""

from __future__ import annotations

import json
from typing import Any

from ..bars import Progress, told
from ..device import size_of
from ..models.architectures import QUANTIZED_HERE
from ..models.packed import write
from ..weights import Folder, Output, open_output
from .embedder import Embedder
from .generator import Generator

_KEY = "quantization_config"
_COPIED = (
    "tokenizer.json",
    "generation_config.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)


async def save(
    model: Embedder | Generator, location: Any, *, progress: Progress | bool | None = None
) -> None:
    """Write the folder at `location`: a path, or in a page what weights/output.py says.

    It is there whole or not at all. The model may be used meanwhile. `progress` is called with
    "saving", the bytes of weights written and their total; True and None are what they are to load.

    Raises SetupError for a folder that holds something already, and where there is no room.
    """
    folder = model.tokenizer.folder
    assert folder is not None, "load() opens tokenizers from folders"
    session = model.prompt if isinstance(model, Generator) else model.session
    config = {k: v for k, v in (await folder.json("config.json")).items() if k != _KEY}
    if any(weight.format.quantized for weight in model.weights.weights.values()):
        config[_KEY] = QUANTIZED_HERE

    def count(done: int, total: int) -> None:
        if tell:
            tell("saving", done, total)

    with told(progress) as tell:
        async with open_output(location) as output:
            await _put(output, "config.json", json.dumps(config, indent=2).encode())
            for name in _COPIED:
                await _copy(folder, output, name)
            await write(model.device.backend, session.store, model.weights, output, count)


async def _copy(folder: Folder, output: Output, name: str) -> None:
    if await folder.has(name):
        source = await folder.source(name)
        await _put(output, name, await source.foreign(0, await source.size()))


async def _put(output: Output, name: str, data: Any) -> None:
    await output.create(name, size_of(data))
    await output.write(name, 0, data)
