"""ExecuTorch programs (.pte): read, rebuilt as graphs of this package, run."""
