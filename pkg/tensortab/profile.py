"""What each dispatch of a run took on the GPU, by its own clock (the feature timestamp-query).

Each dispatch gets a pass of its own with a timestamp at both ends. A tiled GPU may begin a pass
before the one before it has ended, so a duration counts from the later of its own start and the
previous end: durations then add up to no more than the time that passed. Chrome rounds timestamps
to 100 µs unless it is started with --enable-unsafe-webgpu or its developer features.

Once a pass for each dispatch is paid, a profiled run is slower than a plain one; the durations are
what the kernels themselves took.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from .device import Span, Workgroups
from .op import Array
from .pictured import html


@dataclass(frozen=True)
class Row:
    """One dispatch."""

    index: int
    op: str
    kernel_name: str
    global_wg: Workgroups  # workgroups of the dispatch
    local_wg: Workgroups  # invocations of a workgroup
    start_ns: int  # from the first dispatch's start
    end_ns: int
    duration_ns: int


@dataclass(frozen=True)
class Profile:
    """The dispatches of one run, in order, and what the run computed."""

    rows: Sequence[Row]
    outputs: dict[str, Array] = field(default_factory=dict, repr=False)

    @property
    def total_ns(self) -> int:
        """Time on the GPU: the sum of the durations."""
        return sum(r.duration_ns for r in self.rows)

    def by_kernel(self) -> list[tuple[str, int, float, int]]:
        """Kernel, dispatches, mean duration and total in ns; the most expensive first."""
        times: dict[str, list[int]] = {}
        for r in self.rows:
            times.setdefault(r.kernel_name, []).append(r.duration_ns)
        found = [(name, len(ns), float(np.mean(ns)), sum(ns)) for name, ns in times.items()]
        return sorted(found, key=lambda row: -row[3])

    def __str__(self) -> str:
        if not self.rows:
            return "no timestamps: the adapter has no timestamp-query"
        lines = [f"{'kernel':28} {'dispatches':>10} {'mean µs':>10} {'total µs':>10} {'share':>6}"]
        total = max(self.total_ns, 1)
        lines += [
            f"{name:28} {count:10} {mean / 1e3:10.2f} {ns / 1e3:10.1f} {ns / total:6.1%}"
            for name, count, mean, ns in self.by_kernel()
        ]
        lines.append(f"{'all':28} {len(self.rows):10} {'':10} {self.total_ns / 1e3:10.1f}")
        return "\n".join(lines)

    _repr_html_ = html

    def tsv(self) -> str:
        """A line a dispatch, tab-separated, with a heading."""
        heading = [f.name for f in fields(Row)]
        rows = [
            (r.index, r.op, r.kernel_name, _sizes(r.global_wg), _sizes(r.local_wg),
             r.start_ns, r.end_ns, r.duration_ns)
            for r in self.rows
        ]  # fmt: skip
        return "\n".join("\t".join(map(str, row)) for row in [heading, *rows]) + "\n"

    def trace(self) -> str:
        """JSON for chrome://tracing and ui.perfetto.dev (the trace event format)."""
        events = [
            {
                "name": r.kernel_name,
                "cat": r.op,
                "ph": "X",
                "ts": (r.end_ns - r.duration_ns) / 1e3,
                "dur": r.duration_ns / 1e3,
                "pid": 1,
                "tid": 1,
                "args": {"index": r.index, "workgroups": r.global_wg, "invocations": r.local_wg},
            }
            for r in self.rows
        ]
        return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"})


def rows(
    steps: Sequence[tuple[str, str, Workgroups, Workgroups]], spans: Sequence[Span]
) -> list[Row]:
    """Rows of steps (op, kernel, workgroups, invocations) and their spans by the GPU's clock."""
    origin = spans[0][0] if spans else 0
    found, before = [], 0
    for i, (step, (start, end)) in enumerate(zip(steps, spans, strict=True)):
        since, until = start - origin, end - origin
        found.append(Row(i, *step, since, until, max(until - max(since, before), 0)))
        before = max(before, until)
    return found


def _sizes(sizes: Workgroups) -> str:
    return "×".join(map(str, sizes))
