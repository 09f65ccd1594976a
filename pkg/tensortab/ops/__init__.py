"""The operators: one file a family, three functions an op (shape, reference, lower)."""

from .elementwise import add, gelu, mul
from .embedding import embedding
from .linear_qgsw import linear_q4gsw, linear_q8gsw
from .matmul import bmm, linear, mm
from .norm import l2_normalize, layer_norm, rms_norm, softmax
from .permute import permute, reshape
from .pool import mean_pool
from .sdpa import sdpa
from .state import advance, assign

__all__ = [
    "add",
    "advance",
    "assign",
    "bmm",
    "embedding",
    "gelu",
    "l2_normalize",
    "layer_norm",
    "linear",
    "linear_q4gsw",
    "linear_q8gsw",
    "mean_pool",
    "mm",
    "mul",
    "permute",
    "reshape",
    "rms_norm",
    "sdpa",
    "softmax",
]
