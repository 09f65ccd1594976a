"""Weights from files: where bytes come from (source.py, folder.py) and what they mean.

folder = open_folder("models/llama")                   # a path, a URL, the hub, files of a page
checkpoint = await open_checkpoint(folder)             # one file or many shards
data = await checkpoint.foreign("lm_head.weight", 0, 128)   # for the GPU; never in the Python heap

async with open_output("models/new") as output:         # and where they go
    await output.write("model.safetensors", 0, data)

file = await safetensors.open("model.safetensors")    # a path, a URL, bytes or a Source
weight = await file.array("encoder.weight")            # numpy
"""

from . import safetensors
from .checkpoint import Checkpoint, open_checkpoint
from .folder import Folder, open_folder
from .output import Output, open_output
from .source import Source, open_source
from .watched import Watch, watched

__all__ = [
    "Checkpoint",
    "Folder",
    "Output",
    "Source",
    "Watch",
    "open_checkpoint",
    "open_folder",
    "open_output",
    "open_source",
    "safetensors",
    "watched",
]
