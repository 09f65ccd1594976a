"""Noisy pictures of shapes, at any place, size and angle: what shapes.pte was trained on."""

import numpy as np

SIZE = 32
SHAPES = ("circle", "square", "triangle", "cross")


def draw(shape: str, rng: np.random.Generator) -> np.ndarray:
    """A picture float32 [SIZE, SIZE], 0 to 1."""
    x0, y0 = rng.uniform(11, 21, 2)
    radius, angle = rng.uniform(7, 10), rng.uniform(0, 2 * np.pi)
    row, column = np.mgrid[:SIZE, :SIZE]
    x, y = (column - x0) / radius, (row - y0) / radius
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    largest = np.maximum(abs(u), abs(v))
    inside = {
        "circle": u**2 + v**2 < 0.7,
        "square": largest < 0.75,
        "triangle": np.maximum(v, abs(u) * 0.87 - v / 2) < 0.5,
        "cross": (largest < 0.9) & (np.minimum(abs(u), abs(v)) < 0.25),
    }[shape]
    return np.clip(inside + rng.normal(0, 0.12, inside.shape), 0, 1).astype(np.float32)
