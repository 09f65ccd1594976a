"""A prompt answered by a language model: what `tensortab generate` runs, in a page or natively.

A job is JSON:

    model    path or base URL of the checkpoint
    load     further arguments of tt.load: context, quantize
    prompt   a text, or messages
    options  further arguments of generate: max_new_tokens, stop, overflow, the sampling's
    profile  whether kernel tables are wanted

What happens is told on the way, as (kind, value): ("progress", [stage, done, total]) and ("text",
piece). At the end comes a report: device, seconds of loading, `Usage`, `Timings`, kernel tables.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from time import perf_counter
from typing import Any

import tensortab as tt
from tensortab.text.usage import Timings, Usage

Tell = Callable[[str, Any], None]


async def complete(job: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Load, stream the answer's text, measure; the report."""

    def progress(stage: str, done: int, total: int) -> None:
        tell("progress", [stage, done, total])

    start = perf_counter()
    model = await tt.load(job["model"], progress=progress, **job["load"])
    seconds = perf_counter() - start
    async for piece in model.generate(job["prompt"], **job["options"]):
        tell("text", piece)
    usage, timings = model.last, await model.time()
    tables = await model.profile() if job["profile"] and timings else ()
    return {
        "device": str(model.device.info),
        "load": seconds,
        "usage": asdict(usage),
        "timings": asdict(timings) if timings else None,
        "tables": list(map(str, tables)),
    }


def summary(report: dict[str, Any]) -> str:
    """One line: device, loading, and tokens a second of prompt and answer, wall and GPU."""
    usage = Usage(**report["usage"])
    gpu = Timings(**report["timings"]) if report["timings"] else None
    fed = [f"{usage.prompt_tokens} prompt tokens"]
    fed += [f"{usage.dropped_tokens} more dropped"] if usage.dropped_tokens else []
    prefill = _rates(usage.prefill_rate, gpu.prefill_rate if gpu else None)
    decode = _rates(usage.decode_rate, gpu.decode_rate if gpu else None)
    return (
        f"{report['device']}: loaded in {report['load']:.1f} s;"
        f" {', '.join(fed)}, {prefill}; {usage.new_tokens} new tokens, {decode}"
    )


def profile(report: dict[str, Any]) -> str:
    """The kernel tables of one chunk of the prompt and one decode step."""
    if not report["tables"]:
        return "no kernel tables: the adapter has no timestamp-query"
    chunk, step = report["tables"]
    rows = report["timings"]["prompt_tokens"]
    return f"a prompt's chunk of {rows} tokens\n{chunk}\n\na decode step\n{step}"


def _rates(wall: float | None, gpu: float | None) -> str:
    """Measured on the GPU apart from the answer, so the two need not fit together exactly."""
    told = "-" if wall is None else f"{wall:.1f}"
    return f"{told} tokens/s" + ("" if gpu is None else f" (GPU time alone: {gpu:.1f})")


def _tell(kind: str, value: Any) -> None:
    """Tell the process outside: one JSON line on stdout."""
    sys.stdout.write(json.dumps([kind, value]) + "\n")


async def main(payload: bytes) -> bytes:
    """`complete` for Page.call: the job as JSON in, the report as JSON out."""
    return json.dumps(await complete(json.loads(payload), _tell)).encode()
