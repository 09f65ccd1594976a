"""One section of a benchmark, in a tab or natively, on a device of its own."""

from __future__ import annotations

import json
import sys
from typing import Any

from ..runtime import Device
from . import attention, floor, kernels, model
from .clock import Clock
from .job import Job, Tell


async def run(job: Job, tell: Tell) -> None:
    """Measure it; what is found is told on the way (job.py)."""
    device = await Device.open("browser" if sys.platform == "emscripten" else "native")
    try:
        clock = Clock.of(device)
        if job.section == "floor":
            tell("about", _about(device))
            await floor.measure(clock, tell)
        elif job.section == "kernels":
            await kernels.measure(clock, job.floor, tell)
        elif job.section == "attention":
            await attention.measure(clock, job.floor, tell)
        else:
            await model.measure(clock, job, tell)
    finally:
        device.close()


def _about(device: Device) -> dict[str, Any]:
    info = device.info
    return {
        "device": str(info),
        "vendor": info.vendor,
        "architecture": info.architecture,
        "description": info.description,
        "software": info.software,
        "features": sorted(info.features),
        "matrices": info.matrices,
        "python": f"{sys.version.split()[0]} ({sys.platform})",
    }


async def main(payload: bytes) -> bytes:
    """`run` for Page.call: what is told goes out as lines of JSON."""

    def tell(kind: str, value: Any) -> None:
        sys.stdout.write(json.dumps([kind, value]) + "\n")

    await run(Job.decode(payload), tell)
    return b""
