"""What the GPU does at most: memory copied, nothing dispatched, float32 and matrices multiplied.

The copy is of one large buffer to another and back; bytes count twice, read and written. The empty
dispatch is one of a chain, each of which waits for the one before it. The best way to launch the
copy counts, of a few.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product as combinations

from ..graph import Graph
from ..op import Op, Spec
from ..ops import add
from .clock import Clock
from .job import Floor, Tell, rounded
from .probes import (
    FLOATS_A_ROUND,
    MATRICES_A_ROUND,
    copied,
    ended,
    multiplied,
    multiplied_matrices,
    scanned,
)

_EMPTY = 256  # dispatches of a chain
_COPIES = 4
_PRODUCTS = 4


@dataclass
class _Sizes:
    """Of a GPU; a software adapter does with less."""

    nbytes: int = 512 << 20  # of each of two buffers
    launches: list[tuple[int, int]] = field(
        default_factory=lambda: [*combinations((64, 256), (1, 4))]
    )
    floats: int = 1 << 20  # invocations
    float_rounds: int = 512
    groups: int = 1 << 11  # of matrix products
    matrix_rounds: int = 1024


_SOFTWARE = _Sizes(8 << 20, [(64, 4)], 1 << 12, 8, 1, 1)


async def measure(clock: Clock, tell: Tell) -> Floor:
    """All of it; told as ("floor", fields) at the end."""
    info = clock.device.info
    sizes = _SOFTWARE if info.software else _Sizes()
    nbytes = min(sizes.nbytes, info.largest // 16 * 16)
    tell("note", f"floor: copies of {nbytes >> 20} MB")
    copy = await _memory(clock, sizes, nbytes, copied) * 2
    read = await _memory(clock, sizes, nbytes, scanned)
    tell("note", "floor: empty dispatches, then multiply-adds")
    empty, _ = await clock.chain(_empty)
    floats = await _rate(
        clock, multiplied, sizes.floats, sizes.float_rounds, sizes.floats * FLOATS_A_ROUND
    )
    matrices = 0.0
    if info.matrices:
        work = sizes.groups * MATRICES_A_ROUND
        size, rounds = sizes.groups * 1024, sizes.matrix_rounds
        matrices = await _rate(clock, multiplied_matrices, size, rounds, work)
    found = Floor(*map(rounded, (copy, read, empty.us, floats, matrices)))
    tell("floor", vars(found) | {"copied_bytes": nbytes, "gpu_clock": clock.is_gpus})
    return found


def _empty(g: Graph) -> int:
    y = g.constant("x", Spec((4,)))
    for _ in range(_EMPTY):
        y = add(y, 1.0)
    g.output("y", y)
    return _EMPTY


async def _memory(clock: Clock, sizes: _Sizes, nbytes: int, op: Op[...]) -> float:
    """GB a second, of the bytes of one buffer."""

    def build(width: int, each: int) -> Callable[[Graph], int]:
        def built(g: Graph) -> int:
            shape = (nbytes // 4,)
            x, y = g.constant("x", Spec(shape, "uint32")), g.state("y", shape, "uint32")
            for _ in range(_COPIES):
                y = op(y, x, width, each)
            g.effect(y)
            return ended(g, _COPIES)

        return built

    times = [(await clock.chain(build(*launch)))[0] for launch in sizes.launches]
    return nbytes / min(t.us for t in times) / 1e3


async def _rate(clock: Clock, op: Op[...], size: int, rounds: int, work: int) -> float:
    """TFLOP a second; `work` are the FLOPs of a round."""

    def build(g: Graph) -> int:
        y = g.state("y", (size,))
        for _ in range(_PRODUCTS):
            y = op(y, rounds)
        g.effect(y)
        return ended(g, _PRODUCTS)

    time, _ = await clock.chain(build)
    return work * rounds / time.us / 1e6
