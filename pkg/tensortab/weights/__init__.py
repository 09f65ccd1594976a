"""Weights from files: where bytes come from (source.py) and what they mean (safetensors.py).

file = await safetensors.open("model.safetensors")    # a path, a URL, bytes or a Source
weight = await file.array("encoder.weight")            # numpy
data = await file.foreign("embeddings.weight")         # for the GPU; never in the Python heap
"""

from . import safetensors
from .source import Source, open_source

__all__ = ["Source", "open_source", "safetensors"]
