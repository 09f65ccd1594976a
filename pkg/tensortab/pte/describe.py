"""A program in text: methods, what they take and give, and where each operator runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from ..op import Spec
from ..weights import Source, open_source
from ..weights.source import Address
from . import blob, program
from .calls import mutable
from .portable import FUNCTIONS
from .registry import OPERATORS, PREPACK
from .schema import KernelCall, Method, Program, TensorValue, Value


async def inspect(address: Address | Source) -> str:
    """What a file holds, without a device; operators that are not there are marked."""
    made = await program.read(open_source(address))
    blobs = {
        name: [
            await blob.read(made, part.blob) if part.id == blob.BACKEND else None
            for part in method.delegates
        ]
        for name, method in made.methods.items()
    }
    return describe(made, blobs)


def describe(made: Program, delegates: Mapping[str, Sequence[blob.Blob | None]]) -> str:
    """A line for each input, output and operator, but one for neighbours that are alike."""
    lines = [f"{made.source.name}: {made.size:,} bytes"]
    for name, method in made.methods.items():
        lines += _method(name, method, delegates[name])
    return "\n".join(lines)


def _method(name: str, method: Method, delegates: Sequence[blob.Blob | None]) -> Iterator[str]:
    yield f"method {name}"
    for what, indices in (("input", method.inputs), ("output", method.outputs)):
        specs = enumerate(value_text(method.values[i]) for i in indices)
        for spec, alike in groupby(specs, key=itemgetter(1)):
            numbers = [number for number, _ in alike]
            ends = f" {numbers[0]}" if len(numbers) == 1 else f"s {numbers[0]}–{numbers[-1]}"
            yield f"  {what}{ends}: {spec}"
    for number, (part, graph) in enumerate(zip(method.delegates, delegates, strict=True)):
        if graph is None:
            yield f"  delegate {number}: {part.id}  (not implemented)"
            continue
        yield f"  delegate {number}: {part.id}, {_contents(graph)}"
        yield from _counted(Counter(c.name for c in graph.calls), {*OPERATORS, PREPACK})
    kernels = Counter(c.name for c in method.instructions if isinstance(c, KernelCall))
    if kernels:
        yield "  outside of delegates, on numpy:"
        yield from _counted(kernels, FUNCTIONS)


def _contents(graph: blob.Blob) -> str:
    """How much there is to a delegate."""
    kept = [graph.values[i] for i in mutable(graph) - {*graph.inputs}]
    state = sum(Spec(v.shape, v.dtype).nbytes for v in kept if isinstance(v, blob.TensorValue))
    parts = [f"{len(graph.calls)} call{'s' * (len(graph.calls) != 1)}"]
    for size, what in ((blob.sizes(graph.values), "constants"), (state, "state between calls")):
        parts += [f"{size:,} bytes of {what}"] * (size > 0)
    return ", ".join(parts)


def _counted(found: Counter[str], known: Container[str]) -> Iterator[str]:
    for name, count in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        yield f"    {count:5} {name}{'' if name in known else '  (not implemented)'}"


def value_text(value: Value) -> str:
    """A value of a plan in words: dtype and shape, or the value itself."""
    if isinstance(value, TensorValue):
        sizes = (f"≤ {n}" if value.dynamic and n > 1 else str(n) for n in value.shape)
        return f"{value.dtype}[{', '.join(sizes)}]"
    return repr(value)
