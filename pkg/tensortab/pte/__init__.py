"""ExecuTorch programs (.pte): read, rebuilt as graphs of this package, run."""

from .describe import inspect
from .module import Module, load_pte

__all__ = ["Module", "inspect", "load_pte"]
