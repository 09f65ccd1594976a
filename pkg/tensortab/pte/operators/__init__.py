"""What builds each operator of ExecuTorch's WebGPU backend, one module a family."""

from . import convolution, elementwise

LOADED = (convolution, elementwise)
