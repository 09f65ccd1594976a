"""What builds each operator of ExecuTorch's WebGPU backend, one module a family."""

from . import channel_norm, convolution, elementwise, quantized, vision

LOADED = (channel_norm, convolution, elementwise, quantized, vision)
