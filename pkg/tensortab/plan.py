"""A graph as a flat list of dispatches over numbered buffers: plain data, no device objects.

Slots are reused by liveness: a tensor's slot is free once its last reader has run. Inputs,
constants and outputs keep theirs. A view lies in its operand's slot. Sizes are the largest a
symbolic shape can take; grids and uniform values stay symbolic, so that a new live size means
evaluating them again for the steps that depend on it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from .device import Bound, Workgroups, allocated, round_up
from .dim import Dim, Env, Expr, Sym, symbols, value
from .errors import ShapeError
from .graph import Graph
from .kernel import UNIFORM_ALIGNMENT, Kernel
from .op import Dispatch, Grid, Spec, Tensor, advanced, buffer_of, overwritten
from .pictured import html
from .target import Target

Role = Literal["input", "constant", "state", "scalar", "output", "work"]


@dataclass(frozen=True)
class Slot:
    """A buffer: its bytes at the largest size, and what it is for."""

    nbytes: int
    role: Role
    name: str = ""


@dataclass(frozen=True)
class Step:
    """One dispatch: a kernel, its slots in binding order, its uniform's place, its grid."""

    op: str
    kernel: Kernel
    slots: tuple[int, ...]
    values: Mapping[str, Dim | float]
    grid: Grid
    uniform: tuple[int, int] | None  # byte offset and size among the plan's uniforms

    @property
    def label(self) -> str:
        """Op and kernel, for error messages and profiles."""
        return f"{self.op} ({self.kernel.name})"

    @cached_property
    def uniform_symbols(self) -> frozenset[str]:
        """The names of the sizes this step's uniform depends on."""
        return frozenset(s.name for d in self.values.values() for s in symbols(d))

    @cached_property
    def symbols(self) -> frozenset[str]:
        """The names of the sizes this step's uniform and grid depend on."""
        return self.uniform_symbols | {s.name for d in self.grid for s in symbols(d)}

    def pack(self, env: Env) -> bytes:
        """The uniform's bytes at live sizes."""
        live = {
            k: value(v, env) if isinstance(v, Sym | Expr) else v for k, v in self.values.items()
        }
        return self.kernel.pack(live)

    def workgroups(self, env: Env) -> Workgroups:
        """The grid at live sizes."""
        x, y, z = (value(d, env) for d in self.grid)
        return x, y, z


@dataclass(frozen=True)
class Plan:
    """Everything a device needs to know to run a graph."""

    slots: tuple[Slot, ...]
    steps: tuple[Step, ...]
    leaves: Mapping[str, int]  # name -> slot
    outputs: Mapping[str, tuple[int, Spec]]
    advances: Mapping[str, Dim]  # symint -> what a run makes of it, on the GPU
    uniform_bytes: int

    @property
    def kernels(self) -> list[Kernel]:
        """Every kernel once, in order of first use."""
        return list(dict.fromkeys(s.kernel for s in self.steps))

    def bound(self, env: Env) -> list[Bound]:
        """The steps with numbers for everything."""
        index = {k: i for i, k in enumerate(self.kernels)}
        return [
            Bound(s.label, index[s.kernel], s.slots, s.uniform, s.workgroups(env))
            for s in self.steps
        ]

    def __str__(self) -> str:
        work = sum(s.nbytes for s in self.slots if s.role == "work")
        rows = [
            f"{i:4} {s.op:16} {s.kernel.name:24} {'×'.join(map(str, s.grid)):28} slots {s.slots}"
            for i, s in enumerate(self.steps)
        ]
        return "\n".join(
            [
                f"{len(self.steps)} dispatches, {len(self.slots)} buffers, {work} bytes of work",
                *rows,
            ]
        )

    _repr_html_ = html


def plan(graph: Graph, target: Target) -> Plan:
    """Lower every op for `target` and lay its buffers out."""
    if not graph.outputs:
        raise ShapeError("the graph has no outputs; name one with graph.output(name, tensor)")
    return _Planner(graph, target).build()


class _Planner:
    """The state of one planning: who lies where, what is free."""

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph = graph
        self.target = target
        self.sizes: list[int] = []
        self.roles: list[tuple[Role, str]] = []
        self.slot: dict[int, int] = {}  # tensor -> slot
        self.free: list[int] = []
        self.steps: list[Step] = []
        self.uniforms: dict[tuple[object, ...], tuple[int, int]] = {}
        self.uniform_bytes = 0
        self.written: dict[int, Tensor] = {}  # buffer -> the op that wrote it last, in place
        self.advances: dict[str, Dim] = {}

    def build(self) -> Plan:
        nodes = self.graph.nodes()
        last = {id(buffer_of(a)): i for i, t in enumerate(nodes) for a in t.inputs}
        pinned = {id(buffer_of(t)): name for name, t in self.graph.outputs.items()}
        for leaf in self.graph.leaves.values():
            assert leaf.role
            self.slot[id(leaf)] = self._new(leaf.spec, leaf.role, leaf.name)
        for i, t in enumerate(nodes):
            self._check_order(t)
            if t.op and t.op.lower:
                if buffer_of(t) is t:
                    self._place(t, pinned.get(id(t)))
                if 0 not in t.shape or overwritten(t):  # of nothing there is nothing to compute
                    self._lower(t)
            for root in {id(buffer_of(a)): buffer_of(a) for a in (*t.inputs, t)}.values():
                if root.op and last.get(id(root), -1) <= i and id(root) not in pinned:
                    self._release(root)
        for name, t in self.graph.outputs.items():  # they are read when all is done
            self._check_version(f"output {name!r}", t)
        slots = tuple(Slot(n, *r) for n, r in zip(self.sizes, self.roles, strict=True))
        return Plan(
            slots,
            tuple(self.steps),
            {n: self.slot[id(t)] for n, t in self.graph.leaves.items()},
            {n: (self.slot[id(buffer_of(t))], t.spec) for n, t in self.graph.outputs.items()},
            self.advances,
            self.uniform_bytes,
        )

    def _check_version(self, reader: str, a: Tensor) -> None:
        if self._version(a) != self.written.get(id(buffer_of(a))):
            raise ShapeError(
                f"{reader} reads {a!r} after {self.written[id(buffer_of(a))]!r} overwrote it;"
                " take that op's result, a copy, or declare the effect last"
            )

    def _check_order(self, t: Tensor) -> None:
        """Refuse to read what was overwritten; note what is overwritten from here on."""
        for a in t.inputs if t.op and t.op.lower else ():  # a view reads nothing
            self._check_version(repr(t), a)
        self.written.update((id(leaf), t) for leaf in overwritten(t))
        if moved := advanced(t):
            self.advances.update([moved])

    def _version(self, t: Tensor) -> Tensor | None:
        """The write whose result `t` shows; None for the buffer as it was made."""
        leaf = buffer_of(t)
        while t.op and t.op.lower is None:
            t = t.inputs[-1]  # a view's one operand; of `after` the op that wrote
        return t if any(leaf is written for written in overwritten(t)) else None

    def _new(self, spec: Spec, role: Role, name: str = "") -> int:
        self.sizes.append(allocated(spec.nbytes))
        self.roles.append((role, name))
        return len(self.sizes) - 1

    def _place(self, t: Tensor, output: str | None = None) -> None:
        if output is not None:
            self.slot[id(t)] = self._new(t.spec, "output", output)
            return
        need = allocated(t.spec.nbytes)
        fits = [s for s in self.free if self.sizes[s] >= need]
        if fits:
            found = min(fits, key=self.sizes.__getitem__)
        elif self.free:  # growing the largest wastes least
            found = max(self.free, key=self.sizes.__getitem__)
            self.sizes[found] = need
        else:
            self.slot[id(t)] = self._new(t.spec, "work")
            return
        self.free.remove(found)
        self.slot[id(t)] = found

    def _release(self, t: Tensor) -> None:
        if (slot := self.slot[id(t)]) not in self.free:
            self.free.append(slot)

    def _lower(self, t: Tensor) -> None:
        assert t.op
        assert t.op.lower
        scratch: dict[int, Tensor] = {}
        for d in t.op.lower(self.target, t, *t.args, **t.kwargs):
            for operand in map(buffer_of, d.operands):
                if id(operand) not in self.slot:
                    self._place(operand)
                    scratch[id(operand)] = operand
            self._add(t.op.name, d)
        for s in scratch.values():
            self._release(s)
            del self.slot[id(s)]  # the tensor dies here, and its id may be given to another

    def _add(self, op: str, d: Dispatch) -> None:
        slots = tuple(self.slot[id(buffer_of(o))] for o in d.operands)
        written = {s for s, b in zip(slots, d.kernel.bindings, strict=True) if b.access != "read"}
        if any(slots.count(s) > 1 for s in written):
            raise ShapeError(f"{op}: {d.kernel.name}.wgsl would write a buffer it also has bound")
        uniform = self._uniform(d) if d.kernel.fields else None
        self.steps.append(Step(op, d.kernel, slots, d.values, d.grid, uniform))

    def _uniform(self, d: Dispatch) -> tuple[int, int]:
        """A place for the uniform; equal ones share it."""
        key = (tuple(d.kernel.fields.items()), tuple(d.values.items()))
        if key not in self.uniforms:
            size = round_up(4 * len(d.kernel.fields), 16)
            self.uniforms[key] = self.uniform_bytes, size
            self.uniform_bytes += round_up(size, UNIFORM_ALIGNMENT)
        return self.uniforms[key]


def check_steps(made: Plan, graph: Graph) -> None:
    """Several steps in one submission: what moves between them must be known to the GPU."""
    moving = made.advances.keys()
    for step in made.steps:
        if found := moving & step.uniform_symbols:
            raise ShapeError(
                f"{step.label}: its uniform depends on {', '.join(found)}, which moves from"
                " step to step; only what kernels read from the scalar's buffer can"
            )
    for name, t in graph.scalars.items():
        if name not in moving and moving & {s.name for s in symbols(t.dim)}:
            raise ShapeError(f"the scalar {name} would have to be written between steps")


def largest(graph: Graph) -> dict[str, int]:
    """Every size of a graph at its maximum: what a fresh session is laid out for."""
    return {name: s.max for name, s in graph.symbols().items()}
