"""Where a session's live values stand, and what has to be written for a run at others.

A scalar's buffer is written when it holds something else than the value. Uniforms and grids are
evaluated anew for just those steps that depend on a size that changed: the resize hook. It does so
once for steps that are alike, as those of a model's layers are.
"""

from __future__ import annotations

import struct

from .device import Workgroups, Write
from .dim import value
from .errors import ShapeError
from .graph import Graph, check_limits
from .op import Grid
from .plan import Plan, check_steps, largest
from .store import Store


class Live:
    """The live values of a plan's runs."""

    def __init__(self, graph: Graph, made: Plan, store: Store) -> None:
        self.env = largest(graph)  # what uniforms and grids are at
        self.hooks = 0  # how often a step got its uniform and grid anew
        self._graph = graph
        self._plan = made
        self._store = store
        self._limits = graph.limits()
        self._alike: dict[tuple[Grid, tuple[int, int] | None], list[int]] = {}
        for i, step in enumerate(made.steps):
            if step.symbols:
                self._alike.setdefault((step.grid, step.uniform), []).append(i)

    def advanced(self, env: dict[str, int], steps: int) -> tuple[dict[str, int], dict[str, int]]:
        """The sizes of the last step, and those after it; checks every step on the way."""
        if steps < 1:
            raise ShapeError(f"steps is {steps}, expected at least 1")
        last = after = env
        for _ in range(steps):
            last = after
            check_limits(self._limits, last)
            after = last | {n: value(d, last) for n, d in self._plan.advances.items()}
        if steps > 1:
            check_steps(self._plan, self._graph)
        for name in self._plan.advances:
            self._graph.check_symint(name, after[name])
        return last, after

    def scalars(self, env: dict[str, int]) -> list[Write]:
        """The scalars whose buffers hold something else than their values."""
        writes = []
        for name, t in self._graph.scalars.items():
            if self._store.written.get(name) != (live := value(t.dim, env)):
                self._store.written[name] = live
                writes.append(Write(self._plan.leaves[name], 0, struct.pack("<i", live)))
        return writes

    def resized(
        self, env: dict[str, int], last: dict[str, int], slot: int
    ) -> tuple[list[Write], list[tuple[int, Workgroups]]]:
        """Uniforms and grids of just the steps that depend on a size that changed.

        Uniforms are those of `env` and lie in `slot`; grids cover all steps from `env` to `last`.
        """
        changed = {n for n in env if self.env.get(n) != last[n] or env[n] != last[n]}
        self.env = last
        writes: list[Write] = []
        grids: list[tuple[int, Workgroups]] = []
        for alike in self._alike.values() if changed else ():
            step = self._plan.steps[alike[0]]
            if changed & step.symbols:
                self.hooks += len(alike)
                if step.uniform and changed & step.uniform_symbols:
                    writes.append(Write(slot, step.uniform[0], step.pack(env)))
                ends = step.workgroups(env), step.workgroups(last)
                x, y, z = (max(pair) for pair in zip(*ends, strict=True))
                grids.extend((i, (x, y, z)) for i in alike)
        return writes, grids
