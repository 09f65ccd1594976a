"""Random checkpoints for a graph's weights, and what becomes of them on the way to a device."""

import numpy as np

from tensortab.models.checkpoint import Weights

Arrays = dict[str, np.ndarray]


def random_tensors(weights: Weights, scale: float = 0.3) -> Arrays:
    """A tensor of every name and shape the graph asks for; norms' weights lie about 1."""
    random = np.random.default_rng(0)
    return {
        name: random.standard_normal(whole.shape, np.float32) * scale
        + name.lower().endswith("norm.weight")
        for name, whole in weights.tensors.items()
    }


def constants(weights: Weights, tensors: Arrays) -> Arrays:
    """The graph's constants, quantized by numpy."""
    found = {}
    for weight in weights.weights.values():
        rows = np.concatenate([tensors[p.tensor][p.first :][: p.rows] for p in weight.pieces])
        if weight.format.quantized:
            packed, scales = weight.format.quantize(rows, weight.name)
            found |= {f"{weight.name}.packed": packed, f"{weight.name}.scales": scales}
        else:
            found[weight.name] = rows
    return found


def dequantized(weights: Weights, tensors: Arrays) -> Arrays:
    """The tensors with what quantization leaves of them."""
    found = dict(tensors)
    for name, whole in weights.tensors.items():
        if whole.format.quantized:
            packed = whole.format.quantize(tensors[name], name)
            found[name] = whole.format.packing.dequantize(*packed)
    return found
