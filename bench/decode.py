"""What a decode step costs in a browser tab, by the context it attends to.

    tensortab run bench/decode.py [tiny | 1b] [BURSTS] > bench/results/decode-….json

A decoder of random 4-bit weights (group 32, float16 scales and caches), one sequence, sampling on
the GPU, bursts of 16 steps a submission, submitted two ahead. For each context, JSON of: dispatches
a step, calls through the FFI a burst, tokens a second by the wall clock, microseconds a step by
that clock, of the host, and of the GPU (timestamps at both ends of the step's one pass, in the same
bursts), the wall clock's over the GPU's, and the kernels of a profiled step, which has a pass for
each dispatch and so takes longer. Caches hold zeros: attention reads all of them just the same.
"""

import datetime as dt
import json
import sys
import time

import numpy as np
from js import navigator

import tensortab as tt
from tensortab.models import decoder
from tensortab.quant.recipe import Format, Recipe

LLAMA3 = (decoder.Kind(decoder.Rope(500000.0)),)
SHAPES = {
    # hidden, layers, heads, kv_heads, head_dim, intermediate, vocab, context
    "tiny": decoder.Config(384, 8, 6, 2, 64, 1024, 8192, 8256),
    "1b": decoder.Config(2048, 16, 32, 8, 64, 8192, 128256, 8256, kinds=LLAMA3),
}
CONTEXTS = (128, 512, 2048, 4096, 8192)
BURST = 16
BLOCK = 1 << 22  # bytes of weights made and written at a time


def fill(session: tt.Session) -> None:
    """Random codes, and scales that keep activations in range."""
    random = np.frombuffer(np.random.default_rng(0).bytes(BLOCK), np.uint8)
    blocks = {
        "uint8": random,
        "float16": np.full(BLOCK // 2, 0.004, np.float16).view(np.uint8),
        "float32": np.ones(BLOCK // 4, np.float32).view(np.uint8),
    }
    for name, leaf in session.graph.constants.items():
        for at in range(0, leaf.spec.nbytes if name not in session.graph.values else 0, BLOCK):
            session.fill(name, blocks[leaf.dtype][: leaf.spec.nbytes - at], at)


class Crossings:
    """Counts the calls a recording gets from Python."""

    def __init__(self, inner: object) -> None:
        self.inner, self.calls = inner, 0

    def run(self, *args: object) -> object:
        self.calls += 1
        return self.inner.run(*args)

    def profile(self, *args: object) -> object:
        return self.inner.profile(*args)

    @property
    def steps(self) -> object:
        return self.inner.steps


async def measure(session: tt.Session, context: int, bursts: int) -> dict[str, object]:
    counted = Crossings(session._recording._js)
    session._recording._js = counted
    session.set(pos=context)
    await session.run_steps(BURST)
    session.set(pos=context)
    counted.calls, host, gpu = 0, 0.0, []
    start = time.perf_counter()
    pending = []
    for _ in range(bursts):
        begin = time.perf_counter()
        pending.append(session.time_steps(BURST))
        host += time.perf_counter() - begin
        session.truncate(pos=context)  # so that every burst attends to the same context
        if len(pending) > 2:
            gpu.append((await pending.pop(0))[1])
    gpu += [(await burst)[1] for burst in pending]
    wall = time.perf_counter() - start
    session._recording._js = counted.inner
    report = await session.profile()
    steps = bursts * BURST
    gpu_us = float(np.mean(gpu)) / 1e3
    return {
        "context": context,
        "dispatches": len(session.plan.steps),
        "ffi_calls_a_burst": counted.calls / bursts + 2,  # and the bytes to write, the bytes read
        "tokens_per_s": round(steps / wall, 1),
        "host_us_a_step": round(host / steps * 1e6, 1),
        "wall_us_a_step": round(wall / steps * 1e6, 1),
        "gpu_us_a_step": round(gpu_us, 1),
        "wall_over_gpu": round(wall / steps * 1e6 / gpu_us, 3),
        "kernels_us": {
            f"{name} × {count}": round(ns / 1e3, 1) for name, count, _, ns in report.by_kernel()
        },
    }


async def main(shape: str = "tiny", bursts: str = "2") -> None:
    device = await tt.Device.open("browser")
    graph, _ = decoder.build(SHAPES[shape], Recipe(Format("q4gsw")))
    session = await device.compile(graph)
    fill(session)
    session.state("sampling").write(tt.ops.Sampling(temperature=0.8, top_k=40).encode())
    rows = []
    for context in CONTEXTS:
        rows.append(await measure(session, context, int(bursts)))
        print(rows[-1], file=sys.stderr)
    result = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "browser": navigator.userAgent,
        "device": str(device.info),
        "shape": shape,
        "steps_a_submission": BURST,
        "rows": rows,
    }
    print(json.dumps(result, indent=2))


await main(*sys.argv[1:])  # noqa: F704, PLE1142
