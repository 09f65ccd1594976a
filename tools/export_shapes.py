"""Train a small PyTorch model to tell shapes apart, and export it with ExecuTorch.

    pip install torch==2.13.0 executorch==1.5.1 torchao==0.18.0
    python tools/export_shapes.py notebooks/shapes.pte

Pictures are float32 [1, 1, 32, 32] of the shapes that notebooks/shapes.py draws; the result is one
row of probabilities.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner
from executorch.exir import to_edge_transform_and_lower
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent / "notebooks"))
from shapes import SHAPES, SIZE, draw  # the notebook's own


def batch(size: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures [size, 1, SIZE, SIZE] and which shape each is."""
    labels = rng.integers(0, len(SHAPES), size)
    pictures = np.stack([draw(SHAPES[i], rng) for i in labels])
    return torch.from_numpy(pictures)[:, None], torch.from_numpy(labels)


def network() -> nn.Sequential:
    """Three convolutions, each of stride 2, and a linear layer: 6,500 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, len(SHAPES)),
    )


def train(steps: int = 4000) -> nn.Sequential:
    """The network after so many batches of 64."""
    torch.manual_seed(1)
    model, rng = network(), np.random.default_rng(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, steps)
    for _ in range(steps):
        pictures, labels = batch(64, rng)
        loss = nn.functional.cross_entropy(model(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    pictures, labels = batch(2000, np.random.default_rng(2))
    right = (model(pictures).argmax(1) == labels).float().mean()
    print(f"loss {loss:.4f}, {right:.1%} of 2000 new pictures right")
    return nn.Sequential(model, nn.Softmax(-1)).eval()


def main(target: str) -> None:
    """Train, export, write."""
    model = train()
    program = torch.export.export(model, (torch.zeros(1, 1, SIZE, SIZE),))
    lowered = to_edge_transform_and_lower(program, partitioner=[VulkanPartitioner()])
    Path(target).write_bytes(lowered.to_executorch().buffer)


if __name__ == "__main__":
    main(sys.argv[1])
