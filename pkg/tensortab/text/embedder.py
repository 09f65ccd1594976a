"""Sentences to unit vectors: a tokenizer, a compiled encoder, and batches of like lengths.

embedder = await load("all-MiniLM-L6-v2/")
vectors = await embedder.embed(["a sentence", "another"])   # float32 [2, 384]
scores = vectors @ vectors.T                                # cosines
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..bars import Progress
from ..dim import Sym
from ..models import bert
from ..models.checkpoint import Weights
from ..models.sessions import open_sessions
from ..op import Array
from ..profile import Profile
from ..quant.recipe import Recipe
from ..runtime import Device
from ..session import Session
from ..weights import Checkpoint
from .tokenizer import Tokenizer, check_tokens

# A batch's activations stay in tens of MB; more sentences at once gain nothing measurable.
BATCH = 16
LONGEST = 256  # tokens of a sentence, as sentence-transformers cuts this model's input


class Embedder:
    """A sentence encoder on a device."""

    def __init__(
        self, device: Device, tokenizer: Tokenizer, session: Session, weights: Weights, width: int
    ) -> None:
        self.device = device
        self.tokenizer = tokenizer
        self.session = session
        self.weights = weights
        self.width = width  # of a vector

    @classmethod
    async def create(
        cls,
        device: Device,
        config: bert.Config,
        tokenizer: Tokenizer,
        checkpoint: Checkpoint,
        recipe: Recipe,
        progress: Progress | None = None,
    ) -> Embedder:
        """Compile the encoder and fill its weights from `checkpoint`."""
        check_tokens(tokenizer, config.vocab)
        batch = Sym("batch", BATCH, min=1)
        length = Sym("length", min(LONGEST, config.positions), min=1)
        graph, weights = bert.build(config, recipe, batch=batch, length=length)
        (session,) = await open_sessions(device, [graph], weights, checkpoint, progress)
        return cls(device, tokenizer, session, weights, config.hidden)

    @property
    def bits(self) -> float:
        """Bits a weight, over the linear layers."""
        return self.weights.bits

    async def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> Array:
        """Unit vectors, float32 [len(texts), width]; a text is cut after 256 tokens."""
        ids = self.tokenizer.encode_batch(list(texts), max_length=self._longest)
        vectors = np.zeros((len(texts), self.width), np.float32)
        done = 0
        for rows in _batches([len(i) for i in ids]):
            vectors[rows] = await self._embed([ids[r] for r in rows])
            done += len(rows)
            if progress:
                progress("embed", done, len(texts))
        return vectors

    async def profile(self, texts: Sequence[str]) -> Profile:
        """Embed the first batch of texts with each dispatch timed."""
        ids = self.tokenizer.encode_batch(list(texts[:BATCH]), max_length=self._longest)
        return await self.session.profile(**_padded(ids))

    def destroy(self) -> None:
        """Free the device's memory."""
        self.session.destroy()

    @property
    def _longest(self) -> int:
        longest = self.session.graph.inputs["ids"].shape[1]
        assert isinstance(longest, Sym)
        return longest.max

    async def _embed(self, ids: Sequence[Sequence[int]]) -> Array:
        return (await self.session.run(**_padded(ids)))["vectors"]


def _padded(ids: Sequence[Sequence[int]]) -> dict[str, Array]:
    """The inputs of a batch: rows of one length, and a mask that says which tokens are real."""
    shape = len(ids), max(map(len, ids))
    padded = np.zeros(shape, np.int32)
    mask = np.zeros(shape, np.float32)
    for row, tokens in enumerate(ids):
        padded[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return {
        "ids": padded,
        "types": np.zeros(shape, np.int32),
        "positions": np.arange(shape[1], dtype=np.int32),
        "mask": mask,
    }


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in batches of like lengths, so that little is computed for padding."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]
