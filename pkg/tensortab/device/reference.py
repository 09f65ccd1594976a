"""A compiled graph on numpy: the definition, and the fallback where no adapter is.

Slow, and honest about it: `Device.open` warns when it has to fall back to this.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ShapeError
from ..graph import Array, Graph, advance
from ..target import Target
from . import Bytes

TARGET = Target("reference", "numpy", "", "numpy reference", software=True)


@dataclass
class Held:
    """What sessions share: constants and states by name, and the symints' values."""

    arrays: dict[str, Array] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)


class ReferenceSession:
    """The reference functions of a graph's ops, with a session's face."""

    def __init__(self, graph: Graph, share: ReferenceSession | None = None) -> None:
        self.graph = graph
        self.held = share.held if share else Held()
        for name, array in graph.values.items():
            self.held.arrays.setdefault(name, array)
        for name, leaf in graph.states.items():
            self.held.arrays.setdefault(name, np.zeros(leaf.spec.at({}), leaf.dtype))
        for name, sym in graph.symints.items():
            self.held.values.setdefault(name, sym.min)

    def fill(self, name: str, data: Bytes, offset: int = 0) -> None:
        if name not in self.graph.constants:
            raise ShapeError(f"the graph has no constant {name!r}")
        spec = self.graph.constants[name].spec
        array = self.held.arrays.setdefault(name, np.zeros(spec.at({}), spec.dtype))
        raw = data.to_bytes() if hasattr(data, "to_bytes") else memoryview(data).cast("B")
        array.reshape(-1).view(np.uint8)[offset : offset + len(raw)] = np.frombuffer(raw, np.uint8)

    def set(self, **symints: int) -> None:
        for name, number in symints.items():
            self.graph.check_symint(name, number)
        self.held.values.update(symints)

    def get(self, symint: str) -> int:
        self.graph.check_symint(symint, self.held.values.get(symint, 0))
        return self.held.values[symint]

    async def run(self, **inputs: ArrayLike) -> dict[str, Array]:
        live = {n: self.held.values[n] for n in self.graph.symints}
        outputs, states, live = advance(self.graph, inputs, self.held.arrays, live)
        for name, number in live.items():
            self.graph.check_symint(name, number)
        self.held.arrays.update(states)
        self.held.values.update(live)
        return outputs

    def run_steps(self, steps: int, **inputs: ArrayLike) -> Awaitable[dict[str, Array]]:
        return self._run_steps(steps, inputs)

    async def _run_steps(self, steps: int, inputs: dict[str, ArrayLike]) -> dict[str, Array]:
        if steps < 1:
            raise ShapeError(f"steps is {steps}, expected at least 1")
        rows = [await self.run(**inputs) for _ in range(steps)]
        return {n: np.stack([row[n] for row in rows]) for n in rows[0]}

    def state(self, name: str) -> ReferenceState:
        if name not in self.graph.states:
            raise ShapeError(f"the graph has no state {name!r}; it has {list(self.graph.states)}")
        return ReferenceState(self.held, name)

    def reset(self) -> None:
        for name in self.graph.states:
            self.held.arrays[name] = np.zeros_like(self.held.arrays[name])
        self.held.values.update((n, s.min) for n, s in self.graph.symints.items())

    def snapshot(self) -> ReferenceSnapshot:
        return ReferenceSnapshot(
            {n: self.held.arrays[n].copy() for n in self.graph.states},
            {n: self.held.values[n] for n in self.graph.symints},
        )

    def destroy(self) -> None:
        """The arrays go with whoever holds them."""
