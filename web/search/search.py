# ruff: noqa: INP001  # a file the page fetches, not part of a package
"""What the page's worker runs in Python to search: a sentence model."""

import json
from dataclasses import dataclass
from typing import Any, Self

import adapter
import numpy as np

import tensortab as tt
from tensortab.bars import Progress


@dataclass(frozen=True)
class Search:
    """A sentence model."""

    model: Any

    @classmethod
    async def open(cls, url: str, device: tt.Device, progress: Progress) -> Self:
        """Load the model from its folder's address."""
        return cls(await tt.load(url, device=device, progress=progress))

    def facts(self) -> dict[str, str | float | bool]:
        """What the page tells about the model and its device."""
        return {"bits": self.model.bits, **adapter.facts(self.model.device)}

    async def embed(self, texts: str) -> np.ndarray:
        """Unit vectors of a JSON list of texts, one after the other: float32 [texts · width]."""
        vectors: np.ndarray = await self.model.embed(json.loads(texts))
        return vectors.ravel()

    def pieces(self, texts: str) -> np.ndarray:
        """How many word pieces each of a JSON list of texts has, special ones not counted."""
        rows = self.model.tokenizer.encode_batch(json.loads(texts), add_special_tokens=False)
        return np.array([len(row) for row in rows], np.int32)
