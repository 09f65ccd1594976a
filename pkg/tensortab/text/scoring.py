"""How likely given tokens are to a decoder: logits of every position, and perplexity.

perplexity = exp(mean of −log p(tokenₖ | those before it)), k = 2 … n, natural logarithm.

Both come from sessions of their own, compiled when first asked for, that share the weights, caches
and position of the model's. Logits are read back; of a perplexity's only one float a token is, its
loss, which the GPU computes (ops/cross_entropy.py): a vocabulary of 128k tokens would otherwise
send half a megabyte a token.

A text longer than the context is read in windows of it, each half a context after the one before,
and a token counts in the first window that reaches it: so it is given at least half a context of
those before it, or all there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..dim import Sym
from ..models import decoder
from ..op import Array
from ..ops import cross_entropy
from ..quant.recipe import Recipe
from ..runtime import Device
from ..session import Session

_SCORES = 16 << 20  # bytes of a chunk's logits


@dataclass
class Scorer:
    """Sessions beside a model's `prompt` session that score what they are fed."""

    device: Device
    config: decoder.Config
    recipe: Recipe
    prompt: Session
    chunk: int  # tokens a run, at most
    most: int  # bytes of a constant, as the prompt's graph has it
    sessions: dict[bool, Session] = field(default_factory=dict)  # by whether losses are asked for

    async def session(self, *, losses: bool) -> Session:
        """The session for logits, or for losses against targets."""
        if losses not in self.sessions:
            rows = Sym("rows", self.rows, min=1)
            graph, _ = decoder.build(
                self.config, self.recipe, rows=rows, scores=True, most=self.most
            )
            if losses:
                targets = graph.input("targets", (rows,), "int32")
                graph.output("losses", cross_entropy(graph.outputs.pop("logits"), targets))
            self.sessions[losses] = await self.device.compile(graph, share=self.prompt)
        return self.sessions[losses]

    @property
    def rows(self) -> int:
        """Tokens a run: so many that their logits stay within 16 MiB."""
        return max(1, min(self.chunk, _SCORES // (4 * self.config.vocab)))

    def logits(self, session: Session, ids: Sequence[int]) -> asyncio.Future[list[Array]]:
        """Feed `ids` from an empty context on; a chunk's logits each, on their way."""
        session.truncate(pos=0)
        chunks = [ids[at : at + self.rows] for at in range(0, len(ids), self.rows)]
        runs = [session.run_steps(1, ids=[chunk]) for chunk in chunks]
        return asyncio.ensure_future(_gathered(runs, "logits"))

    def losses(self, session: Session, ids: Sequence[int]) -> asyncio.Future[list[Array]]:
        """The same of the losses of ids[1:], each given those before it."""
        session.truncate(pos=0)
        runs = []
        for at in range(0, len(ids) - 1, self.rows):
            fed = ids[at : min(at + self.rows, len(ids) - 1)]
            targets = np.array(ids[at + 1 : at + 1 + len(fed)], np.int32)
            runs.append(session.run_steps(1, ids=[fed], targets=targets))
        return asyncio.ensure_future(_gathered(runs, "losses"))

    def destroy(self) -> None:
        """Free what the sessions do not share."""
        for session in self.sessions.values():
            session.destroy()


def windows(n: int, context: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, first) of each window: tokens start … end − 1, those from `first` on count.

    A window feeds `context` tokens and is one longer: its last token is only asked about.
    """
    start, first = 0, 1
    while first < n:
        end = min(start + context + 1, n)
        yield start, end, first
        start, first = start + max(1, context // 2), end


async def _gathered(runs: Sequence[Awaitable[dict[str, Array]]], name: str) -> list[Array]:
    return [(await run)[name][0] for run in runs]
