"""A large ExecuTorch program: a stack of linears and ReLUs, exported with VulkanPartitioner.

    pip install torch==2.13.0 executorch==1.5.1 torchao==0.18.0
    python bench/stack_pte.py FILE --layers 16 --width 4096

`layers` float32 weights [width, width], drawn at random from their numbers, so that `expected` can
make them again one at a time. Exporting holds about five times the file in memory.
"""

from pathlib import Path

import click
import numpy as np

SEED = 5


def weight(layer: int, width: int) -> np.ndarray:
    """Uniform, with the variance that keeps activations under a ReLU as large as they are."""
    rng = np.random.default_rng([SEED, layer])
    return (rng.random((width, width), np.float32) - 0.5) * np.float32((24 / width) ** 0.5)


def given(width: int) -> np.ndarray:
    """The input, [1, width]."""
    return np.random.default_rng(SEED).standard_normal((1, width), np.float32)


def expected(layers: int, width: int, dtype: str) -> np.ndarray:
    """What the program should give for `given`, in float64 from the weights as they are stored."""
    y = given(width).astype(np.float64)
    for layer in range(layers):
        y = np.maximum(y @ weight(layer, width).astype(dtype).astype(np.float64).T, 0)
    return y


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--layers", default=16, show_default=True)
@click.option("--width", default=4096, show_default=True)
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32")
def main(file: Path, layers: int, width: int, dtype: str) -> None:
    # Whoever only wants the numbers above has no need of these.
    import torch  # noqa: PLC0415
    from executorch.backends.vulkan.partitioner.vulkan_partitioner import (  # noqa: PLC0415
        VulkanPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower  # noqa: PLC0415

    stack = torch.nn.Sequential()
    for layer in range(layers):
        line = torch.nn.Linear(width, width, bias=False)
        line.weight.data = torch.from_numpy(weight(layer, width))
        stack += torch.nn.Sequential(line, torch.nn.ReLU())
    stack = stack.eval().to(getattr(torch, dtype))
    x = torch.from_numpy(given(width)).to(getattr(torch, dtype))
    program = torch.export.export(stack, (x,))
    lowered = to_edge_transform_and_lower(program, partitioner=[VulkanPartitioner()])
    with file.open("wb") as out:
        lowered.to_executorch().write_to_file(out)


if __name__ == "__main__":
    main()
