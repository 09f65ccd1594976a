"""A compiled graph on numpy: the definition, and the fallback where no adapter is.

Slow, and honest about it: `Device.open` warns when it has to fall back to this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ShapeError
from ..graph import Array, Graph, evaluate
from ..target import Target
from . import Bytes

TARGET = Target("reference", "numpy", "", "numpy reference", software=True)


class ReferenceSession:
    """The reference functions of a graph's ops, with a session's face."""

    def __init__(self, graph: Graph, share: ReferenceSession | None = None) -> None:
        self.graph = graph
        self._values: dict[str, Array] = share._values if share else {}  # noqa: SLF001
        self._values.update(graph.values)

    def fill(self, name: str, data: Bytes, offset: int = 0) -> None:
        if name not in self.graph.constants:
            raise ShapeError(f"the graph has no constant {name!r}")
        spec = self.graph.constants[name].spec
        flat: Any = self._values.setdefault(name, np.zeros(spec.at({}), spec.dtype)).reshape(-1)
        raw = data.to_bytes() if hasattr(data, "to_bytes") else memoryview(data).cast("B")
        flat.view(np.uint8)[offset : offset + len(raw)] = np.frombuffer(raw, np.uint8)

    async def run(self, **inputs: ArrayLike) -> dict[str, Array]:
        missing = {n: v for n, v in self._values.items() if n in self.graph.constants}
        return evaluate(self.graph, **inputs, **missing)

    def destroy(self) -> None:
        self._values.clear()
