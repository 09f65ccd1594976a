"""Sessions with their weights: what is checked before memory is spent, and what a failure frees."""

from __future__ import annotations

from collections.abc import Sequence

from .. import memory
from ..bars import Progress
from ..graph import Graph
from ..runtime import Device
from ..session import Session
from ..target import Target
from ..weights import Checkpoint
from .checkpoint import Weights
from .decoder import Config
from .fill import check, fill

_FEW = 128  # tokens of a prompt a run, on software
_MANY = 2048  # and on a GPU at most, which multiplies faster the more there are
_WORK = 128 << 20  # bytes of the largest tensor there, where a binding may be four times as large


def prompt_rows(config: Config, target: Target) -> int:
    """Tokens of a prompt that a run takes: never more than the context."""
    widest = max(config.hidden, config.intermediate, config.heads * config.head_dim)
    rows = min(_WORK, target.largest // 4) // (4 * widest)
    return min(_FEW if target.software else min(_MANY, rows), config.context)


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
