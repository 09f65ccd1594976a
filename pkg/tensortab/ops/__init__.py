"""The operators: one file a family, three functions an op (shape, reference, lower)."""

from .argmax import argmax
from .as_strided import as_strided, expand, flip, repeat, slice
from .attend_chunks import attend_chunks, attend_joined, join_chunks
from .attention import sdpa
from .binary import (
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    eq,
    floor_divide,
    ge,
    gt,
    le,
    lt,
    maximum,
    minimum,
    ne,
    pow,
    remainder,
    trunc_divide,
    where,
)
from .cached_attention import attend, sdpa_with_kv_cache
from .channel_norm import batch_norm, group_mean, group_norm, group_rstd
from .convolution import convolution
from .cross_entropy import cross_entropy, cross_entropy_gradient
from .dynamic_quantize import choose_scale, choose_zero_point, fake_quantize
from .elementwise import add, div, geglu, gelu, mul, silu, sub, swiglu
from .embedding import embedding, embedding_q4gsw, embedding_q8gsw
from .fill import arange, full, pad
from .gather import gather, index_select
from .glu import glu
from .linear_qgsw import linear_q4gsw, linear_q8gsw
from .matmul import bmm, linear, mm
from .next_token import next_token
from .norm import l2_normalize, layer_norm, rms_norm, softmax
from .permute import concat, narrow, permute, reshape
from .pixel_shuffle import pixel_shuffle, q8ta_pixel_shuffle
from .pool import mean_pool
from .pooling import avg_pool2d, max_pool2d, max_pool2d_indices
from .q8ta_conv2d import q8ta_conv2d
from .q8ta_linear import q8ta_linear
from .quantize import Affine, dequantize, q8ta_add, q8ta_relu, quantize
from .reduce import amax, amin, mean, prod, sum
from .resample import grid_priors, grid_sampler_2d, upsample_bilinear2d, upsample_nearest2d
from .rope import apply_rotary_emb, rope_table
from .rope_scaling import rope_attention_factor, rope_frequencies
from .sample import mark, sample
from .sampling import Sampling
from .state import advance, after, assign
from .training import (
    adamw_moment,
    adamw_update,
    linear_q4gsw_backward,
    requantize_q4gsw,
)
from .unary import (
    abs,
    bitwise_not,
    clamp,
    convert,
    cos,
    exp,
    floor,
    hardswish,
    leaky_relu,
    log,
    logical_not,
    neg,
    relu,
    round,
    rsqrt,
    sigmoid,
    sin,
    sqrt,
    tanh,
)
from .update_cache import update_cache
from .update_caches import rope_turns, update_caches

__all__ = [
    "Affine",
    "Sampling",
    "abs",
    "adamw_moment",
    "adamw_update",
    "add",
    "advance",
    "after",
    "amax",
    "amin",
    "apply_rotary_emb",
    "arange",
    "argmax",
    "as_strided",
    "assign",
    "attend",
    "attend_chunks",
    "attend_joined",
    "avg_pool2d",
    "batch_norm",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "bmm",
    "choose_scale",
    "choose_zero_point",
    "clamp",
    "concat",
    "convert",
    "convolution",
    "cos",
    "cross_entropy",
    "cross_entropy_gradient",
    "dequantize",
    "div",
    "embedding",
    "embedding_q4gsw",
    "embedding_q8gsw",
    "eq",
    "exp",
    "expand",
    "fake_quantize",
    "flip",
    "floor",
    "floor_divide",
    "full",
    "gather",
    "ge",
    "geglu",
    "gelu",
    "glu",
    "grid_priors",
    "grid_sampler_2d",
    "group_mean",
    "group_norm",
    "group_rstd",
    "gt",
    "hardswish",
    "index_select",
    "join_chunks",
    "l2_normalize",
    "layer_norm",
    "le",
    "leaky_relu",
    "linear",
    "linear_q4gsw",
    "linear_q4gsw_backward",
    "linear_q8gsw",
    "log",
    "logical_not",
    "lt",
    "mark",
    "max_pool2d",
    "max_pool2d_indices",
    "maximum",
    "mean",
    "mean_pool",
    "minimum",
    "mm",
    "mul",
    "narrow",
    "ne",
    "neg",
    "next_token",
    "pad",
    "permute",
    "pixel_shuffle",
    "pow",
    "prod",
    "q8ta_add",
    "q8ta_conv2d",
    "q8ta_linear",
    "q8ta_pixel_shuffle",
    "q8ta_relu",
    "quantize",
    "relu",
    "remainder",
    "repeat",
    "requantize_q4gsw",
    "reshape",
    "rms_norm",
    "rope_attention_factor",
    "rope_frequencies",
    "rope_table",
    "rope_turns",
    "round",
    "rsqrt",
    "sample",
    "sdpa",
    "sdpa_with_kv_cache",
    "sigmoid",
    "silu",
    "sin",
    "slice",
    "softmax",
    "sqrt",
    "sub",
    "sum",
    "swiglu",
    "tanh",
    "trunc_divide",
    "update_cache",
    "update_caches",
    "upsample_bilinear2d",
    "upsample_nearest2d",
    "where",
]
