"""What a replay costs the host: a graph of 300 dispatches in a browser tab.

    tensortab run bench/replay.py > bench/results/replay.json

Prints JSON: microseconds of JavaScript a dispatch (the call that encodes and submits, without the
wait for the GPU), of a whole awaited run, and of the same run recorded from Python, dispatch by
dispatch, which is what a plan saves.
"""

import datetime as dt
import json
import statistics
import time

import numpy as np
from js import navigator
from pyodide.ffi import to_js

import tensortab as tt

DISPATCHES = 300
RUNS = 200


def chain(length: int) -> tt.Graph:
    g = tt.Graph()
    y = g.input("x", (64,))
    for _ in range(length):
        y = tt.ops.gelu(y)
    g.output("y", y)
    return g


async def submit_seconds(session: tt.Session) -> float:
    """Time of the call that replays, without what follows on the GPU.

    Twenty calls in a row are timed together, since a tab's clock ticks every 0.1 ms; the least of
    ten such times, since the GPU process may share the CPU.
    """
    recording = session._recording._js
    run = {"writes": [], "grids": [], "reads": [[session.plan.outputs["y"][0], 256]], "times": 1}
    payload, places, times = to_js(b""), json.dumps(run), []
    for _ in range(RUNS // 20):
        start = time.perf_counter()
        pending = [recording.run(payload, places) for _ in range(20)]
        times.append((time.perf_counter() - start) / 20)
        for done in pending:
            await done
    return min(times)


async def run_seconds(session: tt.Session) -> float:
    times = []
    for _ in range(20):
        start = time.perf_counter()
        await session.run(x=np.ones(64, np.float32))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def python_seconds(session: tt.Session) -> float:
    """The same dispatches encoded from Python: three calls through the FFI for each."""
    gpu, steps = session._backend.gpu, list(session._recording._js.steps)
    parts = [(s.pipeline, s.group) for s in steps]
    start = time.perf_counter()
    encoder = gpu.createCommandEncoder()
    run = encoder.beginComputePass()
    for pipeline, group in parts:
        run.setPipeline(pipeline)
        run.setBindGroup(0, group)
        run.dispatchWorkgroups(1, 1, 1)
    run.end()
    gpu.queue.submit(to_js([encoder.finish()]))
    return time.perf_counter() - start


async def main() -> None:
    device = await tt.Device.open("browser")
    long, short = [await device.compile(chain(n)) for n in (DISPATCHES, 1)]
    for session in (long, short):
        await run_seconds(session)
    call, base = await submit_seconds(long), await submit_seconds(short)
    result = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "browser": navigator.userAgent,
        "device": str(device.info),
        "dispatches": DISPATCHES,
        "replay_us_per_dispatch": round((call - base) / (DISPATCHES - 1) * 1e6, 3),
        "replay_us_fixed": round(base * 1e6, 1),
        "python_us_per_dispatch": round(python_seconds(long) / DISPATCHES * 1e6, 2),
        "awaited_run_ms": round(await run_seconds(long) * 1e3, 2),
    }
    print(json.dumps(result, indent=2))


await main()  # noqa: F704, PLE1142
