"""What builds each operator of ExecuTorch's WebGPU backend, one module a family."""

from . import convolution, elementwise, quantized, vision

LOADED = (convolution, elementwise, quantized, vision)
