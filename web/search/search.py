# ruff: noqa: INP001  # a file the page fetches, not part of a package
"""What the page's worker runs in Python to search: a sentence model, and lines ranked by it.

score = query · line over unit vectors, the cosine of their angle, in [-1, 1].
Vectors are remembered by their text, so that a next query embeds only what is new.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Self

import numpy as np

import tensortab as tt

Progress = Callable[[str, int, int], None]  # stage, done, total

REMEMBERED = 50_000  # texts; at 384 floats each that is 77 MB

# Lines embedded between two reports of progress, which is also when a newer job takes over: as many
# as an adapter does in half a second, beginning with few since a slow one is not known yet.
FIRST, SECONDS, MOST = 4, 0.5, 256


@dataclass
class Search:
    """A sentence model and the vectors it has made."""

    model: Any
    vectors: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    async def open(cls, url: str, device: tt.Device, progress: Progress) -> Self:
        """Load the model from its folder's address."""
        return cls(await tt.load(url, device=device, progress=progress))

    def facts(self) -> dict[str, str | float | bool]:
        """What the page tells about the model and its device."""
        info = self.model.device.info
        return {
            "bits": self.model.bits,
            "adapter": str(info),
            "kind": info.kind,
            "software": info.software,
        }

    async def rank(
        self, job: str, stale: Callable[[], bool], progress: Progress
    ) -> dict[str, Any] | None:
        """Rank a job's lines (JSON: query, lines); None if it became stale on the way.

        The answer: `order`, indices of the lines, best first; `scores`, in that order; how many
        were `embedded` now; `seconds` for the query and for the lines.
        """
        asked = json.loads(job)
        query, lines = asked["query"], asked["lines"]
        start = perf_counter()
        if query not in self.vectors:
            self.vectors[query] = (await self.model.embed([query]))[0]
        middle = perf_counter()
        # Short ones first: lines of like length share a batch with little padding.
        new = sorted((line for line in lines if line not in self.vectors), key=len)
        if not await self._embed(new, stale, progress):
            return None
        end = perf_counter()
        scores = np.stack([self.vectors[line] for line in lines]) @ self.vectors[query]
        order = np.argsort(-scores, kind="stable")
        if len(self.vectors) > REMEMBERED:
            self.vectors = {text: self.vectors[text] for text in (query, *lines)}
        return {
            "order": order.astype(np.uint32),
            "scores": scores[order],
            "embedded": len(new),
            "seconds": {"query": middle - start, "lines": end - middle},
        }

    async def _embed(self, new: list[str], stale: Callable[[], bool], progress: Progress) -> bool:
        """Remember the vectors of new lines; False if the job became stale on the way."""
        done, size = 0, FIRST
        while done < len(new):
            progress("lines", done, len(new))
            await asyncio.sleep(0)  # a newer job's message gets its turn, on numpy too
            if stale():
                return False
            start = perf_counter()
            part = new[done : done + size]
            self.vectors.update(zip(part, await self.model.embed(part), strict=True))
            done += len(part)
            pace = len(part) / max(perf_counter() - start, 1e-3)
            size = min(max(1, int(pace * SECONDS)), MOST)
        return True
