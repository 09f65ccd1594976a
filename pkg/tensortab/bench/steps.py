"""Runs of a decoder's two sessions, timed on the GPU and on the host beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from statistics import median
from time import perf_counter
from typing import Any

from ..session import Session
from .clock import Clock
from .host import counted
from .job import rounded

_AHEAD = 2  # bursts on their way beside the one that is read, as a Turn has them


async def prefill_us(clock: Clock, session: Session, ids: Sequence[int], rows: int) -> float:
    """The GPU's microseconds of all runs that a prompt takes; 0 without a clock of its own."""
    if not clock.is_gpus:
        return 0.0
    session.set(pos=0)
    parts = [ids[at : at + rows] for at in range(0, len(ids), rows)]
    pending = [session.time_steps(1, ids=[part]) for part in parts]
    return sum([float((await done)[1].sum()) for done in pending]) / 1e3


async def prefill_wall_us(session: Session, ids: Sequence[int], rows: int) -> float:
    """Microseconds until the token after a prompt is read."""
    session.set(pos=0)
    start = perf_counter()
    parts = [ids[at : at + rows] for at in range(0, len(ids), rows)]
    pending = [session.run_steps(1, ids=[part]) for part in parts]
    for done in pending:
        await done
    return (perf_counter() - start) * 1e6


async def decode_us(
    clock: Clock, session: Session, at: int, burst: int, count: int
) -> dict[str, float]:
    """Steps at one position, burst after burst: microseconds a step.

    `steady_us` is the wall clock's over all of them, `encode_us` the part of it that submitting
    takes on the host, `decode_gpu_us` the median step's by the GPU's clock.
    """
    with counted(session, count) as calls:
        _, encode, wall = await _bursts(session, at, burst, count, timed=False)
    found = {
        "burst": burst,
        "steady_us": rounded(wall / count / burst * 1e6),
        "encode_us": rounded(encode / count / burst * 1e6),
        "decode_gpu_us": 0.0,
    }
    if clock.is_gpus:
        ns, _, _ = await _bursts(session, at, burst, count, timed=True)
        found["decode_gpu_us"] = rounded(median(ns) / 1e3)
    return found | calls


async def steady_us(session: Session, at: int, burst: int, count: int) -> float:
    """Microseconds a step by the wall clock, of as many bursts."""
    _, _, wall = await _bursts(session, at, burst, count, timed=False)
    return wall / count / burst * 1e6


async def _bursts(
    session: Session, at: int, burst: int, count: int, *, timed: bool
) -> tuple[list[float], float, float]:
    """Each step's ns by the GPU's clock where timed; seconds of submitting, and of all."""
    ns: list[float] = []
    pending: list[Awaitable[Any]] = []
    encode, start = 0.0, perf_counter()

    async def read(done: Awaitable[Any]) -> None:
        answer = await done
        ns.extend(map(float, answer[1]) if timed else ())

    for _ in range(count):
        session.set(pos=at)  # so that every burst attends to as many keys
        begin = perf_counter()
        pending.append(session.time_steps(burst) if timed else session.run_steps(burst))
        encode += perf_counter() - begin
        if len(pending) > _AHEAD:
            await read(pending.pop(0))
    for done in pending:
        await read(done)
    return ns, encode, perf_counter() - start
