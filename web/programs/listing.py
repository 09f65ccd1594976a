# ruff: noqa: INP001  # a file the page fetches, not part of a package
"""A method of a program as a list of operators: what each reads and gives, and where it runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tensortab.pte import blob, schema
from tensortab.pte.delegate import Delegate
from tensortab.pte.module import Method
from tensortab.pte.registry import PREPACK


def rows(method: Method) -> list[dict[str, Any]]:
    """Operators in their order: `op`, `on` (a delegate's number, −1: numpy), `reads`, `gives`.

    What is read is named by where it comes from: an input's number as "input 0", a row as "#3";
    weights are left out.
    """
    return _Listing(method).rows()


@dataclass
class _Listing:
    method: Method
    found: list[dict[str, Any]] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        plan = self.method.plan
        made = {index: f"input {i}" for i, index in enumerate(plan.inputs)}
        for call in plan.instructions:
            match call:
                case schema.DelegateCall(number, args):
                    self._delegate(number, self.method.delegates[number], args, made)
                case schema.KernelCall(name, args):
                    reads = [*_sources(plan.values, args[:-1], made)]
                    made[args[-1]] = self._add(name, -1, reads, [plan.values[args[-1]]])
                case schema.MoveCall(source, target):
                    made[target] = made.get(source, "")
        return self.found

    def _delegate(
        self, number: int, delegate: Delegate, args: tuple[int, ...], outer: dict[int, str]
    ) -> None:
        graph = delegate.blob
        count = len(graph.inputs)
        made = {
            inner: outer.get(index, "")
            for inner, index in zip(graph.inputs, args[:count], strict=True)
        }
        for call in graph.calls:
            if call.name == PREPACK or not call.args:
                continue  # a weight, put where operators read it
            *given, last = call.args
            value = graph.values[last]
            targets = value.items if isinstance(value, blob.ValueList) else (last,)
            reads = [*_sources(graph.values, given, made)]
            label = self._add(call.name, number, reads, [graph.values[t] for t in targets])
            made.update(dict.fromkeys(targets, label))
        for inner, index in zip(graph.outputs, args[count:], strict=True):
            outer[index] = made.get(inner, "")

    def _add(self, name: str, on: int, reads: list[str], gives: list[Any]) -> str:
        label = f"#{len(self.found)}"
        texts = [text for value in gives if (text := _text(value))]
        self.found.append(
            {"op": name, "on": on, "reads": [*dict.fromkeys(reads)], "gives": ", ".join(texts)}
        )
        return label


def _sources(values: Any, indices: Any, made: Mapping[int, str]) -> Iterator[str]:
    """Where arguments come from, those of lists too; a file may say that a list holds itself."""
    for index in indices:
        value = values[index]
        listed = isinstance(value, blob.ValueList | schema.ListValue)
        yield from (made[i] for i in (value.items if listed else (index,)) if made.get(i))


def _text(value: Any) -> str:
    if isinstance(value, blob.TensorValue | schema.TensorValue):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    return "live integer" if isinstance(value, blob.SymInt) else ""
