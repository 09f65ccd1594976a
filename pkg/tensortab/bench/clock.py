"""How long a session takes by the GPU's clock, once that runs at its full rate.

A GPU that idles lowers its clock, and takes a good part of a second to raise it (an H100: to a
third, between two measurements): so a session first runs for a while, many passes a submission and
several submissions under way. What is told then is the median of the passes measured, and the
least and the most of those medians that submissions had.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

from ..graph import Graph
from ..op import Array
from ..plan import Plan
from ..runtime import Device
from ..session import Session
from .job import rounded
from .probes import fill

_PASSES = 200  # a submission, at most
_SUBMISSION = 0.01  # s a submission should take, at most
_AHEAD = 2  # submissions under way beside the one that is waited for


@dataclass(frozen=True)
class Time:
    """Microseconds: the median, the least and the most."""

    us: float
    least: float
    most: float

    @classmethod
    def of(cls, found: list[float]) -> Time:
        return cls(median(found), min(found), max(found))

    def fields(self, name: str = "us") -> dict[str, float]:
        """For a row of JSON."""
        parts = {"": self.us, "_min": self.least, "_max": self.most}
        return {f"{name}{end}": rounded(us) for end, us in parts.items()}


@dataclass(frozen=True)
class Clock:
    """A device, and for how many seconds to warm it up and to measure."""

    device: Device
    warm: float
    measure: float

    @classmethod
    def of(cls, device: Device) -> Clock:
        """A software adapter has no clock to raise, and no time to lose."""
        return cls(device, 0.0, 0.0) if device.info.software else cls(device, 0.5, 0.25)

    @property
    def is_gpus(self) -> bool:
        """Whether it is the GPU's own; else times are shares of the wall clock's."""
        return "timestamp-query" in self.device.features

    async def time(self, session: Session, count: int = 1, **inputs: Any) -> Time:
        """Microseconds of one of `count` equal parts of a session's pass."""
        first = await self._passes(session, 1, inputs)
        passes = max(1, min(_PASSES, int(_SUBMISSION / max(first[0], 1e-9))))
        await self._repeat(session, passes, self.warm, inputs)
        found = await self._repeat(session, passes, self.measure, inputs)
        return Time.of([seconds * 1e6 / count for seconds in found])

    async def chain(self, build: Callable[[Graph], int]) -> tuple[Time, Plan]:
        """The time of one of as many dispatches in a row as `build` says it put into a graph."""
        g = Graph()
        count = build(g)
        session = await self.device.compile(g)
        try:
            await fill(self.device, session)
            await session.run()
            return await self.time(session, count), session.plan
        finally:
            session.destroy()

    async def _repeat(
        self, session: Session, passes: int, seconds: float, inputs: dict[str, Any]
    ) -> list[float]:
        """Medians of submissions, at least of one; others are under way, so that no clock falls."""
        end = perf_counter() + seconds
        found: list[float] = []
        pending: list[Awaitable[list[float]]] = []
        while not found or perf_counter() < end:
            while len(pending) <= (_AHEAD if self.is_gpus else 0):
                pending.append(self._passes(session, passes, inputs))
            found.append(median(await pending.pop(0)))
        return found + [median(await last) for last in pending]

    def _passes(
        self, session: Session, passes: int, inputs: dict[str, Any]
    ) -> Awaitable[list[float]]:
        """Seconds of each pass; submitted when this returns."""
        if self.is_gpus:
            return _by_gpu(session.time_steps(passes, **inputs))
        return _by_wall(session.run_steps(passes, **inputs), perf_counter(), passes)


async def _by_gpu(timed: Awaitable[tuple[Any, Array]]) -> list[float]:
    return [float(n) / 1e9 for n in (await timed)[1]]


async def _by_wall(run: Awaitable[Any], start: float, passes: int) -> list[float]:
    await run
    return [(perf_counter() - start) / passes] * passes
