"""What the kernels of a decode step take on the GPU, in a browser tab.

    tensortab run bench/kernels.py [sweep | prefill] > bench/results/kernels-….json

Each case is a graph of many dispatches of one kind in one pass, each waiting for the one before it,
with one timestamp at either end; matrices differ, 128 MB of them or more, so that none is in a
cache. JSON of microseconds a dispatch (the least median of a burst of passes), and of GB a second
of weights and scales. `sweep` tries the `vector` kernel's ways to share a matrix out: what
`_blocks` in ops/linear_qgsw.py was chosen by. `prefill` times products of many rows instead, in
TFLOP/s, by the strategies `gemm` and, with TENSORTAB_ADAPTER=gpu-f16, `matrix`.
"""

import datetime as dt
import itertools
import json
import sys
import time
from collections.abc import Callable

import numpy as np
from js import navigator

import tensortab as tt
from tensortab.ops import linear_qgsw

# Llama-3.2-1B's matrices, with what a decoder asks for around them: name, K, N, norm, act, add.
MATRICES = [
    ("qkv", 2048, 3072, True, None, False),
    ("o", 2048, 2048, False, None, True),
    ("gate_up", 2048, 16384, True, "silu", False),
    ("down", 8192, 2048, False, None, True),
    ("head", 2048, 128256, True, None, False),
]
PLAIN = [("plain", k, n, False, None, False) for _, k, n, *_ in MATRICES]
PREFILL = [(512, 2048, 2048), (512, 2048, 8192), (512, 8192, 2048), (512, 4096, 14336),
           (2048, 2048, 8192)]  # M, K, N  # fmt: skip
ENOUGH = 128 << 20  # bytes of matrices, twice an H200's cache
PASSES = 20  # in one submission: a GPU that idles between passes lowers its clock
SECONDS = 0.2  # and it takes a while to raise it


async def time_chain(
    device: tt.Device, build: Callable[[tt.Graph], int], share: tt.Session | None = None
) -> tuple[tt.Session, float]:
    """Compile a graph of `count` dispatches and time it: µs a dispatch."""
    g = tt.Graph()
    count = build(g)
    session = await device.compile(g, share=share)
    for name, leaf in g.constants.items():
        if session.store.held[name].filled == 0:
            fill(session, name, leaf.spec)
    await session.run()
    start, ns = time.perf_counter(), []
    while time.perf_counter() < start + SECONDS:
        ns.append(float(np.median((await session.time_steps(PASSES))[1])))
    return session, min(ns) / 1e3 / count


def fill(session: tt.Session, name: str, spec: tt.op.Spec) -> None:
    block = np.frombuffer(np.random.default_rng(0).bytes(1 << 22), np.uint8)
    if spec.dtype == "float16":
        block = np.full(1 << 21, 0.004, np.float16).view(np.uint8)
    if spec.dtype == "float32":
        block = np.ones(1 << 20, np.float32).view(np.uint8)
    for at in range(0, spec.nbytes, len(block)):
        session.fill(name, block[: spec.nbytes - at], at)


def nbytes(k: int, n: int) -> int:
    return k * n // 2 + k // 32 * n * 2


def linears(
    k: int, n: int, *, norm: bool = False, act: str | None = None, add: bool = False, rows: int = 1
) -> Callable[..., int]:
    """Enough products with matrices of [n, k], the last one's result an output."""
    count = max(4, min(64, ENOUGH // nbytes(k, n))) if rows == 1 else 8

    def build(g: tt.Graph) -> int:
        x = g.constant(f"{rows}×{k}", tt.op.Spec((rows, k)))
        options = {"act": act, "strategy": STRATEGY[0]}
        if norm:
            options["norm"] = g.constant(f"norm{k}", tt.op.Spec((k,)))
        if add:
            options["add"] = g.constant(f"add{n}", tt.op.Spec((1, n // 2 if act else n)))
        for i in range(count):
            packed = g.constant(f"{k}×{n} {i}", tt.op.Spec((n, k // 2), "uint8"))
            scales = g.constant(f"{k}×{n} {i} scales", tt.op.Spec((k // 32, n), "float16"))
            y = tt.ops.linear_q4gsw(x, packed, scales, group=32, **options)
            g.effect(y)
        # Of many rows a corner: reading all of them back would be in the next products' way.
        g.output("y", tt.ops.narrow(y, 0, 0, 1))
        return count

    return build


STRATEGY: list[str | None] = [None]  # of linears; None is the choice of `lower`


async def matrices(device: tt.Device, cases: list[tuple], share: tt.Session | None) -> list[dict]:
    rows = []
    for name, k, n, norm, act, add in cases:
        _, us = await time_chain(device, linears(k, n, norm=norm, act=act, add=add), share)
        row = {"case": name, "K": k, "N": n, "us": round(us, 2)}
        rows.append(row | {"GB/s": round(nbytes(k, n) / us / 1e3)})
    return rows


async def prefill(device: tt.Device, share: tt.Session) -> list[dict]:
    rows = []
    for strategy in ("gemm", "matrix") if device.info.matrices else ("gemm",):
        STRATEGY[0] = strategy
        for m, k, n in PREFILL:
            _, us = await time_chain(device, linears(k, n, rows=m), share)
            row = {"strategy": strategy, "M": m, "K": k, "N": n, "us": round(us, 1)}
            rows.append(row | {"TFLOP/s": round(2e-6 * m * k * n / us, 1)})
            print(rows[-1], file=sys.stderr)
    return rows


async def sweep(device: tt.Device, share: tt.Session) -> dict[str, list[dict]]:
    found = {}
    chosen = linear_qgsw._blocks
    for lanes, across in itertools.product((32, 64, 128, 256), (2, 4, 8)):
        knobs = {"LANES": lanes, "ACROSS": across}
        linear_qgsw._blocks = lambda *_, knobs=knobs: knobs
        found[f"{lanes} lanes, {across} across"] = await matrices(device, MATRICES, share)
        print(lanes, across, [r["us"] for r in found[f"{lanes} lanes, {across} across"]],
              file=sys.stderr)  # fmt: skip
    linear_qgsw._blocks = chosen
    for strategy in ("gemv_subgroups", "vector"):
        STRATEGY[0] = strategy
        found[strategy] = await matrices(device, PLAIN, share)
        print(strategy, [r["us"] for r in found[strategy]], file=sys.stderr)
    STRATEGY[0] = None
    return found


def others() -> dict[str, Callable[[tt.Graph], int]]:
    """The rest of a step, 64 of each in a row."""

    def repeat(
        op: Callable[[tt.Graph], Callable[[tt.Tensor], tt.Tensor]], *shape: int
    ) -> Callable[[tt.Graph], int]:
        def build(g: tt.Graph) -> int:
            y, step = g.constant("x", tt.op.Spec(shape)), op(g)
            for _ in range(64):
                y = step(y)
            g.output("y", y)
            return 64

        return build

    def rms(g: tt.Graph) -> Callable[[tt.Tensor], tt.Tensor]:
        weight = g.constant("weight", tt.op.Spec((2048,)))
        return lambda x: tt.ops.rms_norm(x, weight)

    def attend(context: int) -> Callable[[tt.Graph], Callable[[tt.Tensor], tt.Tensor]]:
        def made(g: tt.Graph) -> Callable[[tt.Tensor], tt.Tensor]:
            k, v = (g.state(n, (1, 8192, 8, 64), "float16") for n in "kv")
            pos = g.symint("pos", 8191, min=context)
            return lambda q: tt.ops.attend(q, k, v, pos)

        return made

    return {
        "empty: add": repeat(lambda _: lambda x: tt.ops.add(x, 1.0), 4),
        "rms_norm 2048": repeat(rms, 1, 2048),
        **{f"attend {c}": repeat(attend(c), 1, 1, 32, 64) for c in (128, 512, 2048, 8191)},
    }


async def main(what: str = "") -> None:
    device = await tt.Device.open("browser")
    share, _ = await time_chain(device, lambda g: g.output("y", tt.ops.add(
        g.constant("one", np.ones(4, np.float32)), 1.0)) or 1)  # fmt: skip
    result = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "browser": navigator.userAgent,
        "device": str(device.info),
    }
    if what == "prefill":
        print(json.dumps(result | {"prefill": await prefill(device, share)}, indent=2))
        return
    await matrices(device, MATRICES, share)  # fills them, and wakes the GPU
    result |= {
        "matrices": await matrices(device, MATRICES, share),
        "others_us": {
            name: round((await time_chain(device, build))[1], 2) for name, build in others().items()
        },
    }
    print(result, file=sys.stderr)
    if what == "sweep":
        result["sweep"] = await sweep(device, share)
    print(json.dumps(result, indent=2))


await main(*sys.argv[1:])  # noqa: F704, PLE1142
