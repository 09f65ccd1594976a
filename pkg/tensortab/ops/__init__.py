"""The operators: one file a family, three functions an op (shape, reference, lower)."""

from .argmax import argmax
from .attention import sdpa
from .cached_attention import attend, sdpa_with_kv_cache
from .channel_norm import batch_norm, group_mean, group_norm, group_rstd
from .convolution import convolution
from .elementwise import add, div, gelu, mul, silu, sub, swiglu
from .embedding import embedding, embedding_q4gsw, embedding_q8gsw
from .linear_qgsw import linear_q4gsw, linear_q8gsw
from .matmul import bmm, linear, mm
from .norm import l2_normalize, layer_norm, rms_norm, softmax
from .permute import concat, narrow, permute, reshape
from .pixel_shuffle import pixel_shuffle, q8ta_pixel_shuffle
from .pool import mean_pool
from .pooling import avg_pool2d, max_pool2d, max_pool2d_indices
from .q8ta_conv2d import q8ta_conv2d
from .q8ta_linear import q8ta_linear
from .quantize import Affine, dequantize, q8ta_add, q8ta_relu, quantize
from .resample import grid_priors, grid_sampler_2d, upsample_bilinear2d, upsample_nearest2d
from .rope import apply_rotary_emb, rope_frequencies, rope_table
from .sample import mark, sample
from .sampling import Sampling
from .state import advance, assign
from .update_cache import update_cache

__all__ = [
    "Affine",
    "Sampling",
    "add",
    "advance",
    "apply_rotary_emb",
    "argmax",
    "assign",
    "attend",
    "avg_pool2d",
    "batch_norm",
    "bmm",
    "concat",
    "convolution",
    "dequantize",
    "div",
    "embedding",
    "embedding_q4gsw",
    "embedding_q8gsw",
    "gelu",
    "grid_priors",
    "grid_sampler_2d",
    "group_mean",
    "group_norm",
    "group_rstd",
    "l2_normalize",
    "layer_norm",
    "linear",
    "linear_q4gsw",
    "linear_q8gsw",
    "mark",
    "max_pool2d",
    "max_pool2d_indices",
    "mean_pool",
    "mm",
    "mul",
    "narrow",
    "permute",
    "pixel_shuffle",
    "q8ta_add",
    "q8ta_conv2d",
    "q8ta_linear",
    "q8ta_pixel_shuffle",
    "q8ta_relu",
    "quantize",
    "reshape",
    "rms_norm",
    "rope_frequencies",
    "rope_table",
    "sample",
    "sdpa",
    "sdpa_with_kv_cache",
    "silu",
    "softmax",
    "sub",
    "swiglu",
    "update_cache",
    "upsample_bilinear2d",
    "upsample_nearest2d",
]
