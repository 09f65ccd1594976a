# ruff: noqa: INP001  # a file the page fetches, not part of a package
"""What the page's worker runs in Python to look inside of what other views have open.

A subject is what a view holds: its language model, its sentence model, its program. It has parts,
each a compiled graph. Nothing is loaded here. Answers are plain dicts; `missing` says that there is
nothing to look at yet, `refused` why something cannot be had.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from reading import Reading, read

import tensortab as tt
from tensortab import display
from tensortab.errors import DeviceLostError, ShapeError, TensortabError
from tensortab.kernel import Kernel
from tensortab.plan import Plan
from tensortab.profile import Profile
from tensortab.session import Session
from tensortab.text.generator import Generator
from tensortab.words import count, listed, size, time

BEST = 8  # tokens that may follow
_SENTENCES = ["The ferry stops when the harbour freezes.", "Plants turn sunlight into sugar."]
_NO_CLOCK = (
    "This adapter has no clock for kernels (the WebGPU feature timestamp-query), so none is timed."
)


@dataclass
class Inside:
    """The device, and the text that was read last."""

    device: tt.Device
    reading: Reading | None = None

    def facts(self) -> dict[str, Any]:
        """What the page tells about the device."""
        info = self.device.info
        return {"adapter": str(info), "kind": info.kind, "software": info.software}

    async def look(self, subject: Any, number: int) -> dict[str, Any]:
        """A subject's parts by name, and the plan of one of them."""
        parts = _parts(subject)
        if not parts:
            return {"missing": True}
        names = [*parts]
        name = names[min(number, len(names) - 1)]
        return {"parts": names, "part": names.index(name), **_planned(parts[name])}

    async def profile(self, subject: Any, number: int) -> dict[str, Any]:
        """The times of a part's kernels by the GPU's clock, as pictures and rows."""
        if "timestamp-query" not in self.device.features:
            return {"refused": _NO_CLOCK}
        try:
            report = await _profile(subject, number)
        except DeviceLostError:
            raise
        except TensortabError as error:
            return {"refused": str(error)}
        return told(report)

    async def read(self, writer: Any, text: str) -> dict[str, Any]:
        """Have the language model read a text: its tokens, and how many layers and heads look."""
        async with writer.turn:
            try:
                self.reading = await read(writer.model, text)
            except DeviceLostError:
                raise
            except TensortabError as error:
                return {"refused": str(error)}
        return {
            "tokens": self.reading.tokens,
            "layers": len(self.reading.layers),
            "heads": self.reading.layers[0].heads,
            "left": self.reading.left,
        }

    def attention(self, layer: int) -> dict[str, Any]:
        """A layer's weights of the text that was read, float32, [heads, T, T] flattened."""
        assert self.reading
        return {"weights": self.reading.layers[layer].weights().reshape(-1)}

    def following(self, token: int) -> dict[str, Any]:
        """The likeliest tokens after one, with their probabilities."""
        assert self.reading
        return {"best": self.reading.following(token, BEST)}


def told(report: Profile) -> dict[str, Any]:
    """A profile as pictures, and a summary."""
    return {
        "bars": display.profile_bars(report),
        "timeline": display.profile_timeline(report),
        "summary": f"{count(len(report.rows), 'dispatch', 'dispatches')},"
        f" {time(report.total_ns)} on the GPU",
    }


def _parts(subject: Any) -> dict[str, Session]:
    """The compiled graphs of a view's object."""
    if hasattr(subject, "module"):  # of Programs
        methods = subject.module.methods if subject.module else {}
        return {
            f"{name}, delegate {number}": [*delegate.sessions.values()][-1][1]
            for name, method in methods.items()
            for number, delegate in enumerate(method.delegates)
            if delegate.sessions
        }
    model = subject.model
    if model is None:
        return {}
    if isinstance(model, Generator):
        return {"a prompt's tokens": model.prompt, "one token at a time": model.decode}
    return {"sentences": model.session}


async def _profile(subject: Any, number: int) -> Profile:
    if hasattr(subject, "module"):
        async with subject.turn:
            name = [*_parts(subject)][number].partition(",")[0]
            if name not in subject.used:
                raise ShapeError(
                    f"{name} has not run yet, and it is its inputs that make the times:"
                    " run it once in Programs"
                )
            return await subject.module.method(name).profile(*subject.used[name])
    if isinstance(subject.model, Generator):
        async with subject.turn:
            return (await subject.model.profile())[number]
    return await subject.model.profile(_SENTENCES)


def _planned(session: Session) -> dict[str, Any]:
    """A compiled graph: pictures of it and of its plan, its dispatches, its kernels' source."""
    made = session.plan
    number = {kernel: i for i, kernel in enumerate(made.kernels)}
    return {
        "graph": display.graph_svg(session.graph),
        "plan": display.plan_svg(made),
        "summary": _summary(session),
        "steps": [
            {
                "op": step.op,
                "kernel": step.kernel.name,
                "number": number[step.kernel],
                "grid": " × ".join(map(str, step.grid)),
                "buffers": ", ".join(_named(made, slot) for slot in step.slots),
            }
            for step in made.steps
        ],
        "kernels": _kernels(made),
    }


def _summary(session: Session) -> str:
    """Dispatches, and memory: what intermediate values take, and would take without reuse."""
    sizes: Counter[str] = Counter()
    for slot in session.plan.slots:
        sizes[slot.role] += slot.nbytes
    nodes = [t for t in session.graph.nodes() if t.op and t.op.lower and t.op.writes is None]
    outputs = {*map(id, session.graph.outputs.values())}
    alone = sum(t.spec.nbytes for t in nodes if id(t) not in outputs)
    reused = f"{size(sizes['work'])} for intermediate values ({size(alone)} without reuse)"
    return listed(
        [
            count(len(session.plan.steps), "dispatch", "dispatches"),
            count(len(session.plan.kernels), "kernel"),
            reused if sizes["work"] else "",
            *(f"{size(sizes[r])} of {r}s" for r in ("constant", "state") if sizes[r]),
        ]
    )


def _named(made: Plan, slot: int) -> str:
    return made.slots[slot].name or f"work {slot}"


def _kernels(made: Plan) -> list[dict[str, Any]]:
    used = Counter(step.kernel for step in made.steps)
    return [_kernel(kernel, used[kernel]) for kernel in made.kernels]


def _kernel(kernel: Kernel, times: int) -> dict[str, Any]:
    knobs = ", ".join(f"{name} = {value}" for name, value in kernel.knobs.items())
    workgroup = " × ".join(map(str, kernel.workgroup))
    return {
        "name": kernel.name,
        "about": f"{count(times, 'dispatch', 'dispatches')} · workgroups of {workgroup}",
        "knobs": knobs,
        "source": kernel.source,
    }
