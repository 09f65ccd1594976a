"""Graphs played step by step and in bursts, on a device of the tests: here or in the tab."""

import asyncio
import inspect
import pickle
from collections.abc import Sequence

import numpy as np

import harness
import tensortab as tt

Arrays = dict[str, np.ndarray]
Feed = tuple[dict[str, int], Arrays]  # live scalars and inputs of a run


async def play(
    device: tt.Device,
    graphs: Sequence[tt.Graph],
    feeds: Sequence[Feed],
    fresh: bool = False,
    whole: bool = False,
) -> list[list[np.ndarray]]:
    """y (or all outputs) of every graph and feed; one session a graph, or a fresh one a step."""
    found = []
    for graph in graphs:
        session, rows = await device.compile(graph), []
        for live, inputs in feeds:
            if fresh:
                session.destroy()
                session = await device.compile(graph)
            session.set(**live)
            outputs = await session.run(**inputs)
            rows.append(outputs if whole else outputs["y"])
        session.destroy()
        found.append(rows)
    return found


async def burst(
    device: tt.Device, graphs: Sequence[tt.Graph], sizes: Sequence[int], start: int = 0
) -> list[list[np.ndarray]]:
    """y of every graph after run_steps of these sizes, all submitted before any is awaited.

    The first is at pos = start.
    """
    found = []
    for graph in graphs:
        session = await device.compile(graph)
        session.set(pos=start)
        bursts = [session.run_steps(n) for n in sizes]
        found.append([row for b in bursts for row in (await b)["y"]])
        session.destroy()
    return found


IN_TAB = """
import pickle
from collections.abc import Sequence
import numpy as np
import tensortab as tt

Feed = tuple

{source}

async def main(payload):
    if not hasattr(tt, "shared_device"):
        tt.shared_device = await tt.Device.open("browser")
    return pickle.dumps(await {name}(tt.shared_device, *pickle.loads(payload)))
"""


def on(device: harness.Device, work: object, *args: object) -> list[list[np.ndarray]]:
    """`play` or `burst`, here or in the tab."""
    if isinstance(device, harness.Native):
        return asyncio.run(work(device.device, *args))
    source = IN_TAB.format(source=inspect.getsource(work), name=work.__name__)
    return pickle.loads(device.call(source, pickle.dumps(args)))
