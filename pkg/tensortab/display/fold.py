"""Runs of equal pieces in a sequence: the layers of a network, of which one is drawn."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

SAVED = 6  # items that make folding worth it
LONGEST = 120  # items of a piece


@dataclass(frozen=True)
class Run:
    """`times` equal pieces of `length` items, one after the other from `start`."""

    start: int
    length: int
    times: int

    @property
    def end(self) -> int:
        """Past the last piece."""
        return self.start + self.length * self.times


def runs(items: Sequence[Hashable]) -> list[Run]:
    """The runs that save most, none within another; in order."""
    found: list[Run] = []
    free = [(0, len(items))]
    while free:
        start, end = free.pop()
        best = _best(items[start:end])
        if best:
            run = Run(start + best.start, best.length, best.times)
            found.append(run)
            free += [(start, run.start), (run.end, end)]
    return sorted(found, key=lambda run: run.start)


def _best(items: Sequence[Hashable]) -> Run | None:
    best, saved = None, SAVED - 1
    for length in range(1, min(len(items) // 2, LONGEST) + 1):
        same = 0  # items that are those `length` before
        for i in range(length, len(items)):
            same = same + 1 if items[i] == items[i - length] else 0
            times = same // length + 1
            if length * (times - 1) > saved:
                saved = length * (times - 1)
                best = Run(i + 1 - length * times, length, times)
    return best
