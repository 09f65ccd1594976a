"""Sessions with their weights: what is checked before memory is spent, and what a failure frees."""

from __future__ import annotations

from collections.abc import Sequence

from .. import memory
from ..bars import Progress
from ..graph import Graph
from ..runtime import Device
from ..session import Session
from ..weights import Checkpoint
from .checkpoint import Weights
from .fill import check, fill


async def open_sessions(
    device: Device,
    graphs: Sequence[Graph],
    weights: Weights,
    checkpoint: Checkpoint | None,
    progress: Progress | None = None,
) -> list[Session]:
    """Sessions of the graphs over one store, its constants filled from the checkpoint.

    `weights` are those of the first graph, which has all of them. The checkpoint's headers are
    checked against them, and the device's limits against the plans, before a buffer is allocated or
    a kernel compiled. Whatever ends this early, cancelling too, frees all that was allocated.
    Without a checkpoint the constants are the caller's to fill.
    """
    if checkpoint is not None:
        check(weights, checkpoint)
    plans = [device.plan(graph) for graph in graphs]
    memory.check(device.info, plans)
    sessions: list[Session] = []
    try:
        for graph, planned in zip(graphs, plans, strict=True):
            share = sessions[0] if sessions else None
            sessions.append(await device.compile(graph, share=share, planned=planned))
        if checkpoint is not None:
            await fill(device.backend, sessions[0], weights, checkpoint, progress)
    except BaseException:
        for session in reversed(sessions):
            session.destroy()
        raise
    return sessions
