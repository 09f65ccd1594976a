"""What a kernel's knobs do for 4-bit linears: tries every combination, in a browser tab.

    tensortab run bench/sweep.py linear_qgsw_vector LANES=128,256 TILES=1,2,4 [ROWS]

The knobs named are set wherever `lower` launches that kernel, after its own choice; all else, the
grid included, follows. A line of JSON for each combination: microseconds of every case that
launches the kernel, of one row or, with ROWS, of so many. A combination that does not compile is
told, and passed over.
"""

import itertools
import json
import sys
from dataclasses import replace

import tensortab as tt
from tensortab.bench import kernels
from tensortab.bench.clock import Clock
from tensortab.errors import TensortabError
from tensortab.kernel import Kernel, Knob

specialise = Kernel.specialise
forced: dict[str, Knob] = {}


def parsed(text: str) -> Knob:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdigit() else text


def force(name: str) -> None:
    """From now on `forced` goes before what a launch of the kernel asks for."""

    def chosen(self: Kernel, **knobs: Knob) -> Kernel:
        made = specialise(self, **knobs)
        return specialise(made, **forced) if self.name == name else made

    Kernel.specialise = chosen


async def main(name: str, *options: str) -> None:
    device = await tt.Device.open()
    clock, small = Clock.of(device), device.info.software
    knobs = dict(option.split("=") for option in options if "=" in option)
    rows = next((int(option) for option in options if "=" not in option), 1)
    cases = kernels.SMALL_VECTORS if small else kernels.VECTORS
    force(name)
    for values in itertools.product(*(text.split(",") for text in knobs.values())):
        forced.update(zip(knobs, map(parsed, values), strict=True))
        found = {}
        for case in cases:
            try:
                time, plan = await clock.chain(kernels.chain(replace(case, rows=rows), small=small))
            except TensortabError as error:
                found[case.name] = str(error).splitlines()[0]
                continue
            if name in kernels.kernels_of(plan):
                found[case.name] = round(time.us, 2)
        print(json.dumps(forced | found, ensure_ascii=False), flush=True)


await main(*sys.argv[1:])  # noqa: F704, PLE1142
