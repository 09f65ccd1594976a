"""What plans take on a device, and whether it can hold that: asked before a byte is allocated.

Sessions over one store share constants, states and scalars by name; inputs, outputs, work and
uniforms are each session's own. WebGPU tells how large one buffer may be, and of no adapter how
much memory there is; where the machine's own is known (software adapters, natively) it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import DeviceError
from .plan import Plan, Slot
from .target import Target

_SMALLER = "take weights of fewer bits (quantize), a smaller context or a smaller model"


@dataclass(frozen=True)
class Need:
    """Bytes of buffers, by what they are for."""

    weights: int
    caches: int
    work: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.caches + self.work

    def __str__(self) -> str:
        parts = (self.weights, self.caches, self.work)
        weights, caches, work = (f"{n / 1e6:.1f}" for n in parts)
        return f"{self.total / 1e6:.1f} MB (weights {weights}, caches {caches}, work {work})"


def need(plans: Sequence[Plan]) -> Need:
    """What sessions of these plans over one store take together."""
    sizes = {"constant": 0, "state": 0, "work": 0}
    for name, slot in _slots(plans):
        sizes[slot.role if name and slot.role in sizes else "work"] += slot.nbytes
    uniforms = sum(plan.uniform_bytes for plan in plans)
    return Need(sizes["constant"], sizes["state"], sizes["work"] + uniforms)


def check(target: Target, plans: Sequence[Plan]) -> None:
    """Refuse plans the device cannot hold, with what they need, what it offers and what to do."""
    if target.kind == "reference":  # numpy has no limits of its own
        return
    takes = need(plans)
    for name, slot in _slots(plans):
        if slot.nbytes > target.largest:
            limit = min(
                ("maxStorageBufferBindingSize", "maxBufferSize"), key=target.limits.__getitem__
            )
            raise DeviceError(
                f"this takes {takes} on the device, of which {name or 'one buffer of work'} alone"
                f" {slot.nbytes} bytes; the adapter's {limit} is {target.largest} ({target}):"
                f" {_SMALLER}"
            )
    if target.memory is not None and takes.total > target.memory:
        raise DeviceError(
            f"this takes {takes} on the device; this machine has {target.memory / 1e6:.1f} MB"
            f" ({target}): {_SMALLER}"
        )


def _slots(plans: Sequence[Plan]) -> list[tuple[str, Slot]]:
    """Every buffer once, with its name."""
    shared = {}
    own = []
    for plan in plans:
        for slot in plan.slots:
            if slot.role in ("constant", "state", "scalar"):
                shared[slot.name] = slot
            else:
                own.append((slot.name, slot))
    return [*shared.items(), *own]
