"""What builds each operator of ExecuTorch's WebGPU backend, one module a family."""

from . import attention, elementwise, matmul, numbers, reductions, views

LOADED = (attention, elementwise, matmul, numbers, reductions, views)
