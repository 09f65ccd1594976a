"""A Hugging Face folder as a model on a device: one table from architecture to what runs it."""

from __future__ import annotations

from typing import Any

from ..bars import Progress, told
from ..errors import SetupError
from ..models import architectures
from ..models.packed import packed_recipe
from ..quant.recipe import recipe
from ..runtime import Device
from ..weights import Folder, open_checkpoint, open_folder
from .embedder import Embedder
from .generator import Generator
from .tokenizer import Tokenizer


async def load(
    location: Any,
    *,
    quantize: Any = "auto",
    context: int | None = None,
    device: Device | None = None,
    progress: Progress | bool | None = None,
) -> Any:
    """Open the model in a folder that holds config.json, tokenizer.json and safetensors files.

    `location` is a path, a base URL, a repository of the hub ("owner/name", where no folder has
    that name), a mapping of names to bytes or Sources, and in a page the files of an `<input
    webkitdirectory>` or a FileSystemDirectoryHandle. The weights are one model.safetensors or
    shards with an index.

    An `Embedder` for an encoder, a `Generator` for a language model. `quantize` is "auto" (the
    formats of a folder that `save` wrote; of others the architecture's own choice), None (float
    weights), a format's name, a mapping of name patterns to formats ({"attention": "q8gsw"}) or a
    `Recipe`. `context` is how many tokens a language
    model's caches hold. `progress` is called with a stage, what is done and the total: "weights"
    in bytes, "tensors" in tensors; True shows a bar (bars.py), None does so in a notebook.

    Raises UnsupportedError for another architecture, before a weight is read, SetupError for what
    is not there, FormatError for a malformed file, DeviceError where the device cannot hold the
    model; all of them before memory is spent, as far as headers and limits tell. What fails later
    frees what it took.
    """
    folder = open_folder(location)
    config = await _config(folder)
    architecture = architectures.find(config, folder.name)
    if isinstance(architecture, architectures.Encoder):
        encoder = architecture.read(config)
        own = architecture.recipe(encoder)
    else:
        sizes = architecture.read(config, context)
        own = architecture.recipe
    generation = {"eos_token_id": config.get("eos_token_id")}
    if await folder.has("generation_config.json"):
        generation |= await folder.json("generation_config.json")
    tokenizer = await Tokenizer.open(folder)
    checkpoint = await open_checkpoint(folder)
    chosen = recipe(quantize, packed_recipe(checkpoint) or own)
    opened = device or await Device.open()
    try:
        with told(progress) as tell:
            if isinstance(architecture, architectures.Encoder):
                return await Embedder.create(opened, encoder, tokenizer, checkpoint, chosen, tell)
            return await Generator.create(
                opened, sizes, tokenizer, checkpoint, chosen, generation, tell
            )
    except BaseException:
        if device is None:
            opened.close()
        raise


async def _config(folder: Folder) -> dict[str, Any]:
    try:
        return await folder.json("config.json")
    except SetupError as error:
        raise type(error)(
            f"{folder.name}: no config.json, which every checkpoint's folder has: {error}"
        ) from error
