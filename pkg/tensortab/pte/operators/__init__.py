"""What builds each operator of ExecuTorch's WebGPU backend, one module a family."""

from . import (
    attention,
    channel_norm,
    convolution,
    elementwise,
    matmul,
    numbers,
    quantized,
    reductions,
    training,
    views,
    vision,
)

LOADED = (
    attention,
    channel_norm,
    convolution,
    elementwise,
    matmul,
    numbers,
    quantized,
    reductions,
    training,
    views,
    vision,
)
