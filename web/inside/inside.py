# ruff: noqa: INP001  # a file the page fetches, not part of a package
"""What the page's worker runs in Python to look inside of what other views have open.

A subject is what a view holds: its language model, its sentence model, its program. It has parts,
each a compiled graph. Nothing is loaded here. Answers are plain dicts; `missing` says that there is
nothing to look at yet, `refused` why something cannot be had.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import adapter
from reading import Reading, read

import tensortab as tt
from tensortab import display, kernel
from tensortab.display.plan import summary
from tensortab.display.svg import shortened
from tensortab.errors import DeviceLostError, ShapeError, TensortabError
from tensortab.kernel import Kernel
from tensortab.op import buffer_of
from tensortab.plan import Plan
from tensortab.profile import Profile
from tensortab.session import Session
from tensortab.text.generator import Generator
from tensortab.words import size

_SENTENCES = ["The ferry stops when the harbour freezes.", "Plants turn sunlight into sugar."]
_NO_CLOCK = (
    "This adapter has no clock for kernels (the WebGPU feature timestamp-query), so none is timed."
)
_NOT_RUN = "{} has not run yet, and its times are those of its inputs: run it once in Programs."
_RUNS = ("A prompt as long as the last one, 128 tokens at most", "One more token after that")
_CHARACTERS = 44  # of a buffer's name: joined weights have several in one
_ROUNDED = 100_000  # ns: what Chrome rounds its clock to unless it is told otherwise


@dataclass
class Inside:
    """The device, and the text that was read last."""

    device: tt.Device
    reading: Reading | None = None

    def facts(self) -> dict[str, Any]:
        """What the page tells about the device."""
        return adapter.facts(self.device)

    def look(self, subject: Any, number: int) -> dict[str, Any]:
        """A subject's parts by name, and the plan of one of them."""
        parts = parts_of(subject)
        if not parts:
            return {"missing": True}
        name = [*parts][min(number, len(parts) - 1)]
        return {"parts": [*parts], "part": [*parts].index(name), **planned(parts[name])}

    async def profile(self, subject: Any, number: int) -> dict[str, Any]:
        """The times of a part's kernels by the GPU's clock, as pictures and rows."""
        if "timestamp-query" not in self.device.features:
            return {"refused": _NO_CLOCK}

        if number >= len(parts_of(subject)):
            return {"missing": True}

        async def answer() -> dict[str, Any]:
            return told(*await _profile(subject, number))

        return await _refusing(answer)

    async def read(self, writer: Any, text: str) -> dict[str, Any]:
        """Have the language model read a text: its tokens, and what it expects after each."""

        async def answer() -> dict[str, Any]:
            async with writer.turn:
                self.reading = found = await read(writer.model, text)
                decode = writer.model.tokenizer.decode

            def text_of(token: int) -> str:
                return decode([token]) or f"⟨{token}⟩"  # a special token has no text

            return {
                "tokens": [text_of(i) for i in found.ids],
                "left": found.left,
                "layers": len(found.layers),
                "heads": found.layers[0].heads,
                "windows": [layer.window or 0 for layer in found.layers],
                "expected": [
                    {
                        "best": [
                            (text_of(i), share, i == after)
                            for i, share in zip(e.best, e.shares, strict=True)
                        ],
                        "came": e.came,
                    }
                    for e, after in zip(found.expected, [*found.ids[1:], None], strict=True)
                ],
            }

        return await _refusing(answer)

    def attention(self, layer: int) -> dict[str, Any]:
        """A layer's weights of the text that was read, float32, [heads, T, T] in one row."""
        if not self.reading or layer >= len(self.reading.layers):
            return {"missing": True}
        return {"weights": self.reading.layers[layer].weights().reshape(-1)}


async def _refusing(answer: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    try:
        return await answer()
    except DeviceLostError:
        raise
    except TensortabError as error:
        return {"refused": str(error)}


def parts_of(subject: Any) -> dict[str, Session]:
    """The compiled graphs of a view's object, by what a person calls them."""
    if hasattr(subject, "module"):  # of Programs
        methods = subject.module.methods if subject.module else {}
        return {
            f"{name}, delegate {number}": [*delegate.sessions.values()][-1][1]
            for name, method in methods.items()
            for number, delegate in enumerate(method.delegates)
            if delegate.sessions
        }
    if isinstance(subject.model, Generator):
        return {"A prompt": subject.model.prompt, "One more token": subject.model.decode}
    return {"Sentences": subject.model.session}


async def _profile(subject: Any, number: int) -> tuple[str, Profile]:
    """What was run, and its times."""
    if hasattr(subject, "module"):
        name = [*parts_of(subject)][number].rpartition(", delegate ")[0]
        async with subject.turn:
            if name not in subject.used:
                raise ShapeError(_NOT_RUN.format(name))
            report = await subject.module.method(name).profile(*subject.used[name])
        return f"{name} on its latest inputs, all delegates", report
    if isinstance(subject.model, Generator):
        async with subject.turn:
            return _RUNS[number], (await subject.model.profile())[number]
    return "Two short sentences", await subject.model.profile(_SENTENCES)


def told(about: str, report: Profile) -> dict[str, Any]:
    """A profile as pictures, in numbers, and dispatch by dispatch; `about` is what was run."""
    rows = report.rows
    rounded = all(r.start_ns % _ROUNDED == 0 == r.end_ns % _ROUNDED for r in rows)
    return {
        "about": about,
        "bars": display.profile_bars(report),
        "timeline": display.profile_timeline(report),
        "dispatches": len(rows),
        "milliseconds": report.total_ns / 1e6,
        "rounded": rounded,
        "rows": [
            (r.op, r.kernel_name, _sizes(r.global_wg), _sizes(r.local_wg), r.duration_ns / 1e3)
            for r in rows
        ],
    }


def planned(session: Session) -> dict[str, Any]:
    """A compiled graph: pictures of it and of its plan, dispatches, buffers, kernels."""
    made = session.plan
    used = Counter(step.kernel for step in made.steps)
    return {
        "graph": display.graph_svg(session.graph),
        "plan": display.plan_svg(made),
        "summary": summary(made),
        "reuse": _reuse(session),
        "steps": [
            (
                step.op,
                step.kernel.name,
                _sizes(step.grid),
                ", ".join(_name(made, slot) for slot in step.slots),
                made.kernels.index(step.kernel),
            )
            for step in made.steps
        ],
        "buffers": [(_name(made, i), s.role, size(s.nbytes)) for i, s in enumerate(made.slots)],
        "kernels": [described(kernel, used[kernel]) for kernel in made.kernels],
    }


def described(compiled: Kernel, times: int) -> dict[str, Any]:
    """A kernel as it was compiled; `knobs` are (name, value, the file's value)."""
    written = kernel.load(compiled.name).knobs if compiled.name in kernel.names() else {}
    return {
        "name": compiled.name,
        "times": times,
        "workgroup": _sizes(compiled.workgroup),
        "knobs": [(n, value, written.get(n, value)) for n, value in compiled.knobs.items()],
        "source": compiled.source,
    }


def _reuse(session: Session) -> str:
    """What reuse saves, not counting what ops use within themselves."""
    work = sum(s.nbytes for s in session.plan.slots if s.role == "work")
    outputs = {id(buffer_of(t)) for t in session.graph.outputs.values()}
    own = [t for t in session.graph.nodes() if t.op and buffer_of(t) is t and id(t) not in outputs]
    alone = sum(t.spec.nbytes for t in own)
    if alone <= work:
        return ""
    return f"With a buffer for each, these values would take at least {size(alone)}."


def _sizes(sizes: tuple[Any, ...]) -> str:
    return " × ".join(map(str, sizes))


def _name(made: Plan, slot: int) -> str:
    return shortened(made.slots[slot].name or f"work {slot}", _CHARACTERS)
