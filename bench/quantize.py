"""How fast a device quantizes a model's weights, with the search, in a browser tab.

    tensortab run bench/quantize.py [tiny | 1b] > bench/results/quantize-….json

Every matrix of the shape, bfloat16, random, group 32, float16 scales: JSON of weights, and for each
format the seconds by the wall clock of handing the rows over and quantizing them, of handing them
over alone, and of the kernel by the GPU's clock (null without timestamp-query), each the least of
two rounds.
"""

import datetime as dt
import json
import sys
import time
from collections.abc import Awaitable

import numpy as np
from js import navigator
from pyodide.ffi import to_js

import tensortab as tt
from tensortab.device import Recording, Run
from tensortab.quant.recipe import Format
from tensortab.quantizer import Quantizer


def llama(
    hidden: int, layers: int, kv: int, intermediate: int, vocab: int
) -> list[tuple[int, int]]:
    """The [N, K] of every matrix; the head is the embedding."""
    square, narrow = (hidden, hidden), (kv, hidden)
    feed = [(intermediate, hidden)] * 2 + [(hidden, intermediate)]
    return [(vocab, hidden), *(layers * [square, narrow, narrow, square, *feed])]


SHAPES = {"tiny": llama(384, 8, 128, 1024, 8192), "1b": llama(2048, 16, 512, 8192, 128256)}


class Timed:
    """A recording whose submissions are timed."""

    def __init__(self, inner: Recording) -> None:
        self.inner, self.ns = inner, 0

    def submit(self, run: Run) -> Awaitable[None]:
        return self._submit(run)

    async def _submit(self, run: Run) -> None:
        spans, _ = await self.inner.profile(run)
        self.ns += sum(end - start for start, end in spans)

    def destroy(self) -> None:
        self.inner.destroy()


async def quantize(
    device: tt.Device, form: Format, shapes: list[tuple[int, int]], rows: object, *, timed: bool
) -> float:
    """Seconds for all: by the wall clock, or of the kernel."""
    quantizer, ns = Quantizer(device.backend), 0
    sizes = [(n * k * form.packing.bits // 8, n * k // 16) for n, k in shapes]
    buffers = [device.backend.alloc(max(of)) for of in zip(*sizes, strict=True)]
    warm = await quantizer.start("warm-up", form, "BF16", (1, 32), *buffers)
    await warm.rows(0, rows.subarray(0, 64))
    await warm.finish()
    start = time.perf_counter()
    for n, k in shapes:
        job = await quantizer.start("weight", form, "BF16", (n, k), *buffers)
        if timed:
            job._recording = Timed(job._recording)
        for first, count in job.pieces:
            await job.rows(first, rows.subarray(0, count * k * 2))
        await job.finish()
        ns += job._recording.ns if timed else 0
    wall = time.perf_counter() - start
    for buffer in buffers:
        device.backend.free(buffer)
    quantizer.close()
    return ns / 1e9 if timed else wall


async def hand_over(device: tt.Device, shapes: list[tuple[int, int]], rows: object) -> float:
    """Seconds for the writes alone."""
    staging = device.backend.alloc(rows.byteLength)
    await device.backend.read(staging, 4)
    start = time.perf_counter()
    for n, k in shapes:
        for at in range(0, n * k * 2, rows.byteLength):
            size = min(rows.byteLength, n * k * 2 - at)
            device.backend.write(staging, rows.subarray(0, size))
        await device.backend.read(staging, 4)
    wall = time.perf_counter() - start
    device.backend.free(staging)
    return wall


async def main(shape: str = "tiny") -> None:
    device = await tt.Device.open("browser")
    shapes = SHAPES[shape]
    floats = np.random.default_rng(0).standard_normal(8 << 20, np.float32) / 50
    rows = to_js(memoryview((floats.view(np.uint32) >> 16).astype(np.uint16)).cast("B"))
    clock = "timestamp-query" in device.features
    results = {}
    for form in (Format("q4gsw"), Format("q8gsw")):
        walls = [await quantize(device, form, shapes, rows, timed=False) for _ in range(2)]
        kernels = [await quantize(device, form, shapes, rows, timed=True) for _ in range(2 * clock)]
        results[form.name] = {
            "wall_s": round(min(walls), 3),
            "gpu_s": round(min(kernels), 4) if clock else None,
        }
        print(results, file=sys.stderr)
    result = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "browser": navigator.userAgent,
        "device": str(device.info),
        "shape": shape,
        "weights": sum(n * k for n, k in shapes),
        "hand_over_s": round(min([await hand_over(device, shapes, rows) for _ in range(2)]), 3),
        "formats": results,
    }
    print(json.dumps(result, indent=2))


await main(*sys.argv[1:])  # noqa: F704, PLE1142
