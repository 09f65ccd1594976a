"""What drawing a token takes on the GPU, in a browser tab.

    tensortab run bench/sampling.py [sweep] [V] > bench/results/sampling-….json

A pass is a chain of draws from one row of logits, each at the position that the one before it drew,
with one timestamp at either end. JSON of microseconds a draw (the least median of a burst of
passes) for rows and settings that take other ways through the kernels. Logits are normal: `sharp`
with a deviation of 6, so that a few tokens have nearly all the mass, `broad` of 3, a few hundred,
`flat` of 0.8, as random weights give. `sweep` tries other shares of the work: what `_kernels` in
ops/sample.py was chosen by.
"""

import datetime as dt
import json
import sys
import time

import numpy as np
from js import navigator

import tensortab as tt
from tensortab.ops import Sampling

MODULE = sys.modules["tensortab.ops.sample"]
CHAIN = 32
PASSES = 20
SECONDS = 0.2
ROWS = {"sharp": 6.0, "broad": 3.0, "flat": 0.8}
SETTINGS = {
    "greedy": Sampling(temperature=0),
    "temperature": Sampling(temperature=0.8),
    "min_p": Sampling(temperature=0.8, min_p=0.05),
    "top_k 40": Sampling(temperature=0.8, top_k=40),
    "top_k 40, top_p 0.9": Sampling(temperature=0.8, top_k=40, top_p=0.9),
    "top_p 0.9": Sampling(temperature=0.8, top_p=0.9),
    "top_k 1000": Sampling(temperature=0.8, top_k=1000),
}
KNOBS = [  # of argmax, sample_masses and sample: other values
    *(({"LANES": n, "CHUNK": c}, {}, {}) for n, c in ((64, 1024), (128, 512), (256, 2048))),
    *(({}, {"LANES": n, "GROUPS": g}, {}) for n, g in ((32, 1), (32, 2), (32, 4), (64, 4))),
    *(({}, {}, {"LANES": n}) for n in (256, 1024)),
    *(({}, {}, knobs) for knobs in ({"ROUGH": 9}, {"LIST": 128}, {"WIDE": 32}, {"WIDE": 128})),
]


async def time_draws(device: tt.Device, v: int) -> dict[str, float]:
    """Each row with each of the settings: µs a draw."""
    g = tt.Graph()
    position = g.symint("pos", max=1 << 20)
    settings = g.state("settings", (8,), "uint32")
    logits, seen = g.state("logits", (1, v)), g.state("seen", (v,), "int32")
    for _ in range(CHAIN):
        position = tt.ops.sample(logits, settings, position, seen)
    g.output("token", position)
    session = await device.compile(g)
    found = []
    for row, deviation in ROWS.items():
        noise = np.random.default_rng(0).standard_normal((1, v)) * deviation
        session.state("logits").write(noise.astype(np.float32))
        for name, options in SETTINGS.items():
            session.state("settings").write(options.encode())
            await session.run()
            start, ns = time.perf_counter(), []
            while time.perf_counter() < start + SECONDS:
                ns.append(float(np.median((await session.time_steps(PASSES))[1])))
            found.append((f"{row}, {name}", round(min(ns) / 1e3 / CHAIN, 2)))
    session.destroy()
    return dict(found)


async def main(*args: str) -> None:
    device = await tt.Device.open("browser")
    v = next((int(a) for a in args if a.isdigit()), 128_256)
    rows = [{"knobs": [], "us": await time_draws(device, v)}]
    chosen = MODULE._kernels
    for knobs in KNOBS if "sweep" in args else ():
        MODULE._kernels = lambda *args, knobs=knobs: tuple(
            kernel.specialise(**k) for kernel, k in zip(chosen(*args), knobs, strict=True)
        )
        rows.append({"knobs": knobs, "us": await time_draws(device, v)})
        print(rows[-1], file=sys.stderr)
    result = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "browser": navigator.userAgent,
        "device": str(device.info),
        "V": v,
        "rows": rows,
    }
    print(json.dumps(result, indent=2))


await main(*sys.argv[1:])  # noqa: F704, PLE1142
