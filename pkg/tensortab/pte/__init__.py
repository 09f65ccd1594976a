"""ExecuTorch programs (.pte): read, rebuilt as graphs of this package, run."""

from .module import Module, load_pte

__all__ = ["Module", "load_pte"]
