"""What a graph's dispatches read at least, and multiply, where their operands tell.

Bytes are those of weights, and of caches as far as they are in use: what a run reads from memory,
however good the kernel. Activations are small beside them, or lie in a cache of the GPU's. FLOPs
are those of linears and of attention.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..dim import upper
from ..op import Spec
from ..plan import Plan, Step
from ..profile import Profile
from ..session import Session
from .job import rounded

_ATTENDS = ("attend", "sdpa")
_FEW = ("embedding", "update_cache", "rope")  # kernels that read a few rows of what they are given
_TURNS = "turns"  # rope's table, of which any kernel reads a few rows


@dataclass(frozen=True)
class Cost:
    """Of a dispatch."""

    nbytes: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.nbytes + other.nbytes, self.flops + other.flops)


def costs(session: Session, rows: int, context: int) -> list[Cost]:
    """Of each step of a decoder's plan, for `rows` rows of which the last sees `context` keys."""
    specs: Mapping[int, tuple[str, Spec]] = {
        slot: (name, session.graph.leaves[name].spec) for name, slot in session.plan.leaves.items()
    }
    return [_cost(step, specs, session.plan, rows, context) for step in session.plan.steps]


def total(found: list[Cost]) -> Cost:
    return sum(found, Cost())


def _cost(
    step: Step, specs: Mapping[int, tuple[str, Spec]], plan: Plan, rows: int, context: int
) -> Cost:
    if step.kernel.name.startswith(_FEW):
        return Cost()
    found = Cost()
    bound = zip(step.slots, step.kernel.bindings, strict=True)
    for slot in dict.fromkeys(slot for slot, binding in bound if binding.name != _TURNS):
        if slot not in specs:
            continue
        _, spec = specs[slot]
        role = plan.slots[slot].role
        if role == "constant":
            found += Cost(spec.nbytes, _product(step, spec, rows))
        elif role == "state" and step.op.startswith(_ATTENDS) and len(spec.shape) == 4:
            found += _attended(step, spec, rows, context)
    return found


def _attended(step: Step, spec: Spec, rows: int, context: int) -> Cost:
    """Of keys, or of values, [1, positions, kv_heads, head_dim]; a row sees those before it."""
    _, positions, _, width = map(upper, spec.shape)
    heads = step.values["heads"]
    assert isinstance(heads, int)
    seen = rows * context - rows * (rows - 1) // 2
    return Cost(spec.nbytes * context // positions, 2 * seen * heads * width)


def _product(step: Step, spec: Spec, rows: int) -> int:
    """FLOPs of a product with quantized codes [N, K·bits/8]; the head's is of one row."""
    if len(spec.shape) != 2 or spec.dtype not in ("uint8", "int8"):
        return 0
    weights = math.prod(map(upper, spec.shape)) * (2 if spec.dtype == "uint8" else 1)
    several = step.values.get("M", 1)
    return 2 * weights * (several if isinstance(several, int) else rows)


def table(profile: Profile, found: list[Cost]) -> list[dict[str, object]]:
    """A profile by op and kernel, the most expensive first, with bytes and FLOPs a dispatch."""
    rows: dict[tuple[str, str], list[tuple[int, Cost]]] = {}
    for row, cost in zip(profile.rows, found, strict=True):
        rows.setdefault((row.op, row.kernel_name), []).append((row.duration_ns, cost))
    every = max(profile.total_ns, 1)
    made = []
    for (op, kernel), parts in rows.items():
        ns, cost, count = sum(n for n, _ in parts), total([c for _, c in parts]), len(parts)
        made.append(
            {
                "op": op,
                "kernel": kernel,
                "dispatches": count,
                "us": rounded(ns / count / 1e3),
                "total_us": rounded(ns / 1e3),
                "share": rounded(ns / every),
                "bytes": cost.nbytes // count,
                "gb_s": rounded(cost.nbytes / max(ns, 1)),
                "flops": cost.flops // count,
                "tflop_s": rounded(cost.flops / max(ns, 1) / 1e3),
            }
        )
    return sorted(made, key=lambda row: -float(str(row["total_us"])))
