"""Attention over float16 caches: a decode step at some positions, and a prompt's many rows.

Each dispatch of a decode chain reads caches of its own, so many that no cache of the GPU's holds
them, as a model's layers do. FLOPs are those of q · kᵀ and p · v for the keys that a row sees;
bytes are the keys and values up to the last row's, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..graph import Graph
from ..op import Spec
from ..ops import attend, cached_attention
from ..plan import Plan
from .clock import Clock
from .job import Floor, Tell, attempted, rounded
from .probes import ended

_BEYOND_CACHES = 128 << 20  # bytes of caches
_MOST = 32  # layers of caches


@dataclass(frozen=True)
class Attend:
    """Rows of queries at positions from `past` on."""

    past: int
    rows: int
    heads: int = 32
    kv_heads: int = 8
    head_dim: int = 64
    strategy: str | None = None

    @property
    def context(self) -> int:
        return self.past + self.rows

    @property
    def nbytes(self) -> int:
        return 2 * self.context * self.kv_heads * self.head_dim * 2

    @property
    def flops(self) -> int:
        seen = sum(range(self.past + 1, self.context + 1))
        return 4 * self.heads * self.head_dim * seen


def cases(*, small: bool) -> Iterator[Attend]:
    if small:
        yield from (Attend(63, 1, 6, 2), Attend(0, 32, 6, 2))
        return
    for head_dim in (64, 128):
        for context in (128, 2048, 8192):
            yield from _by_strategy(Attend(context - 1, 1, head_dim=head_dim))
        for rows in (512, 2048):
            yield from _by_strategy(Attend(0, rows, head_dim=head_dim))
        yield Attend(8192 - 512, 512, head_dim=head_dim)


def _by_strategy(case: Attend) -> Iterator[Attend]:
    yield case
    for strategy in getattr(cached_attention, "_STRATEGIES", ()):
        if strategy == "split" and case.rows > 1:
            continue  # its scratch would be gigabytes
        yield replace(case, strategy=strategy)


async def measure(clock: Clock, floor: Floor, tell: Tell) -> None:
    """Every case is a row, or an error."""
    small = clock.device.info.software
    for case in cases(small=small):
        name = {"section": "attention", "context": case.context, "rows": case.rows}
        name |= {"heads": case.heads, "kv_heads": case.kv_heads, "head_dim": case.head_dim}
        told: dict[str, object] = {**name, "strategy": case.strategy or "chosen"}
        tell("note", f"attention: {case.rows} rows, context {case.context}, {told['strategy']}")
        with attempted(tell, told):
            time, plan = await clock.chain(chain(case, small=small))
            tell("row", told | time.fields() | _fields(case, time.us, plan, floor))


def _fields(case: Attend, us: float, plan: Plan, floor: Floor) -> dict[str, object]:
    rate = case.flops / us / 1e6
    return {
        "kernels": list(dict.fromkeys(s.kernel.name for s in plan.steps if s.op == "attend")),
        "bytes": case.nbytes,
        "flops": case.flops,
        "of_copy": floor.of_copy(case.nbytes, us),
        "tflop_s": rounded(rate),
        "of_peak": rounded(rate / floor.float_tflop_s) if floor.float_tflop_s else 0.0,
    }


def chain(case: Attend, *, small: bool) -> Callable[[Graph], int]:
    """Attention again and again, queries being what came out before."""
    shape = (1, case.context, case.kv_heads, case.head_dim)
    caches = 1 if small else max(1, min(_MOST, _BEYOND_CACHES // case.nbytes))
    count = max(caches, 4) if case.rows == 1 else 2

    def build(g: Graph) -> int:
        pos = g.symint("pos", max=case.past, min=case.past)
        q = g.constant("q", Spec((1, case.rows, case.heads, case.head_dim)))
        layers = [
            [g.constant(f"{name} {i}", Spec(shape, "float16")) for name in ("keys", "values")]
            for i in range(min(caches, count))
        ]
        for i in range(count):
            keys, values = layers[i % len(layers)]
            q = attend(q, keys, values, pos, strategy=case.strategy)
        g.effect(q)
        return ended(g, count)

    return build
