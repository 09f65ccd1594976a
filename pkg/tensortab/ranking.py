"""Lines ranked by meaning: what `tensortab embed` runs, in a page or natively.

score = query · line over unit vectors, the cosine of their angle, in [-1, 1].
"""

import json
import sys

import numpy as np

import tensortab as tt
from tensortab.bars import Progress


async def rank(
    model: str, query: str, lines: list[str], top: int, progress: Progress
) -> list[tuple[float, str]]:
    """The `top` lines nearest to the query, best first, with their scores."""
    loaded = await tt.load(model, progress=progress)
    vectors = await loaded.embed([query, *lines], progress=progress)
    scores = vectors[1:] @ vectors[0]
    best = np.argsort(-scores, kind="stable")[:top]
    return [(float(scores[i]), lines[i]) for i in best]


def tell(stage: str, done: int, total: int) -> None:
    """Report progress to the process outside: one JSON line on stdout."""
    sys.stdout.write(json.dumps([stage, done, total]) + "\n")


async def main(payload: bytes) -> bytes:
    """`rank` for Page.call: its arguments as JSON in, its result as JSON out."""
    return json.dumps(await rank(**json.loads(payload), progress=tell)).encode()
