"""Write docs/operators.md: every ExecuTorch operator there is, what it becomes, what tests it.

    PYTHONPATH=tests:tests/pte python tools/operator_table.py

Nothing but prepack is written by hand. The operators are the registry's. What one becomes and what
tests it is seen by building every program of tests/data/pte, and by calling the tests of a few
files of tests/pte with numpy in the device's place. The dtypes are found by trial: those
with which the first of these calls still builds and lowers, for each dtype among its tensors.
"""

import asyncio
import inspect
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import test_forms
import test_masks
import test_operators
import test_portable

import calls
import catalogue
import tensortab as tt
from tensortab.errors import TensortabError
from tensortab.op import Spec, Tensor
from tensortab.plan import plan
from tensortab.pte import blob, build, program
from tensortab.pte.delegate import Delegate
from tensortab.pte.portable import FUNCTIONS
from tensortab.pte.registry import OPERATORS, PREPACK, Call, Operator, bind
from tensortab.pte.schema import KernelCall
from tensortab.target import Target
from tensortab.weights import open_source

FILE = Path(__file__).parents[1] / "docs" / "operators.md"
SHORT = {"float32": "f32", "int32": "i32", "uint8": "u8", "int8": "i8", "bool": "bool"}
SHOWN = 3  # tests of an operator that are named
HEAD = """# ExecuTorch operators

Made by `tools/operator_table.py`; a test compares it with the registry. Of an operator's tensors,
those of one dtype in its first test are one entry between `×`: what else they all may be. `any`
is all of f32, i32, u8, i8 and bool; for operators without tensors it is about the result. In a
program float64 and float16 are f32 inside, and int64 is i32. Tests are programs of tests/data/pte,
by their names up to `__`, and functions of tests/pte.
"""
COLUMNS = "| operator | dtypes | becomes | tests |\n|---|---|---|---|"
OUTSIDE = """
## Outside of delegates

Kernels on numpy, in numpy's dtypes; bfloat16 is rounded as PyTorch does.

| tests | operators |
|---|---|"""


@dataclass(frozen=True)
class Use:
    """A call of an operator's builder, and what it wrote and gave."""

    call: Call
    args: list[Any]
    made: list[Any]


@dataclass
class Uses:
    """Every call of the tests, by operator; kernels outside of delegates by the tests' names."""

    test: str = ""
    built: dict[str, list[Use]] = field(default_factory=dict)
    named: dict[str, list[str]] = field(default_factory=dict)

    def bind(self, entry: Operator, call: Call, args: list[Any]) -> Any:
        """The registry's bind, with a note."""
        made: list[Any] = []

        def update(position: int, tensor: Tensor) -> None:
            made.append(tensor)
            call.update(position, tensor)

        result = bind(entry, replace(call, update=update), args)
        self.built.setdefault(entry.name, []).append(Use(call, args, [*made, result]))
        self.name(entry.name)
        return result

    def name(self, operator: str) -> None:
        self.named.setdefault(operator, []).append(self.test)


def uses() -> Uses:
    """What the tests call."""
    found = Uses()
    build.bind = found.bind
    try:
        asyncio.run(_cases(found))
        _tests(found)
    finally:
        build.bind = bind
    for name, *_ in test_portable.CASES:
        found.test = test_portable.test_numpy_is_torch.__name__
        found.name(name)
    return found


async def _cases(found: Uses) -> None:
    for case in catalogue.cases().values():
        found.test = case.name.split("__")[0]
        made = await program.read(open_source(case.pte))
        for method in made.methods.values():
            for call in method.instructions:
                if isinstance(call, KernelCall):
                    found.name(call.name)
            for part in method.delegates:
                graph = await blob.read(made, part.blob)
                for call in graph.calls:
                    found.name(call.name)
                bounds = Delegate("", "", graph).bounds
                if bounds is not None:  # else a live size comes from another delegate
                    build.build("", "", graph, bounds)


class Numpy:
    """In the place of a native device."""

    run = staticmethod(tt.evaluate)


def _tests(found: Uses) -> None:
    def both(name: str, args: list[Any], outputs: list[Any]) -> list[np.ndarray]:
        made, arrays = calls.built(name, args, outputs)
        want = tt.evaluate(made.graph, **arrays)
        return [want[n] for n in made.outputs]

    given = {"both": both, "native": Numpy}
    modules = (test_operators, test_forms, test_masks)
    for name, function in (item for module in modules for item in vars(module).items()):
        if name.startswith("test_"):
            found.test = name
            for parameters in _parameters(function):
                wanted = inspect.signature(function).parameters
                function(**{k: v for k, v in given.items() if k in wanted}, **parameters)


def _parameters(function: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """What pytest would call a test with."""
    rows = []
    for mark in getattr(function, "pytestmark", []):
        names, values = mark.args
        split = [names] if isinstance(names, str) and "," not in names else names
        rows.append([dict(zip(split, [v] if len(split) == 1 else v, strict=True)) for v in values])
    for row in itertools.product(*rows):
        yield {name: value for part in row for name, value in part.items()}


def becomes(every: list[Use]) -> str:
    """The ops of all calls, in order."""
    names: dict[str, None] = {}
    for use in every:
        stop = {id(t) for t in _tensors(use.args)}
        for tensor in _tensors(use.made):
            names.update(dict.fromkeys(_ops(tensor, stop)))
    if not names and any(_tensors(use.made) for use in every):
        return "its operand"
    return " ".join(f"`{n}`" for n in names) or "a live integer"


def _ops(tensor: Tensor, stop: set[int]) -> list[str]:
    if id(tensor) in stop or not tensor.op:
        return []
    return [*(n for t in tensor.inputs for n in _ops(t, stop)), tensor.op.name]


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, tuple | list):
        return [t for v in value for t in _tensors(v)]
    return [value] if isinstance(value, Tensor) else []


def dtypes(entry: Operator, use: Use) -> str:
    """What each dtype of a call may be changed to."""
    kinds = [*dict.fromkeys(t.dtype for t in _tensors(use.args))]
    kinds = kinds or [s.dtype for s in use.call.outputs if s]
    found = [_accepted(entry, use, kind) for kind in kinds]
    return " × ".join("any" if names == [*SHORT] else _listed(names) for names in found)


def _listed(names: list[str]) -> str:
    return " ".join(SHORT[n] for n in names)


def _accepted(entry: Operator, use: Use, old: str) -> list[str]:
    """The dtypes that may stand for one of a call's, there and in its results."""
    names = [d for d in SHORT if _lowers(entry, use, (old, d), (old, d))]
    if names == ["bool"]:  # a comparison, which gives bool whatever it takes
        names = [d for d in SHORT if _lowers(entry, use, (old, d), (old, old))]
    return names


def _lowers(entry: Operator, use: Use, change: tuple[str, str], out: tuple[str, str]) -> bool:
    """Whether a call builds and lowers with its tensors' dtypes changed, and its results'."""
    graph = tt.Graph()
    outputs = tuple(s and _changed(s, *out) for s in use.call.outputs)
    try:
        args = [_leaves(graph, a, *change) for a in use.args]
        call = replace(use.call, graph=graph, outputs=outputs, update=lambda *_: None)
        made = bind(entry, call, args)
        for i, tensor in enumerate(_tensors(made)):
            graph.output(f"out{i}", tensor)
        if graph.outputs:
            plan(graph, Target("native"))
    except (TensortabError, ValueError):  # ValueError: a dtype that promotion does not know
        return False
    listed = made if isinstance(made, tuple) else (made,)
    pairs = zip(listed, outputs, strict=True)
    return all(s is not None and t.dtype == s.dtype for t, s in pairs if isinstance(t, Tensor))


def _changed(spec: Spec, old: str, new: str) -> Spec:
    return Spec(spec.shape, new if spec.dtype == old else spec.dtype)


def _leaves(graph: tt.Graph, value: Any, old: str, new: str) -> Any:
    """An argument with its tensors as inputs; what an operator writes has to be a state."""
    if isinstance(value, tuple):
        return tuple(_leaves(graph, v, old, new) for v in value)
    if not isinstance(value, Tensor):
        return value
    make = graph.state if value.role == "state" else graph.input
    name = f"{value.name or 'x'} {len(graph.leaves)}"
    return make(name, value.shape, _changed(value.spec, old, new).dtype)


def tests(names: list[str]) -> str:
    """The first few, and how many more there are."""
    shown = [*dict.fromkeys(names)]
    more = f" +{len(shown) - SHOWN}" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more


def table() -> str:
    """The file's text."""
    found = uses()
    families: dict[str, list[str]] = {}
    for name, entry in sorted(OPERATORS.items()):
        every = found.built[name]
        row = [f"`{name}`", dtypes(entry, every[0]), becomes(every), tests(found.named[name])]
        families.setdefault(_family(entry), []).append(f"| {' | '.join(row)} |")
    prepack = [f"`{PREPACK}`", "any", "a constant, or a state's first contents"]
    families["Constants"] = [f"| {' | '.join([*prepack, tests(found.named[PREPACK])])} |"]
    lines = [HEAD]
    for family, rows in sorted(families.items()):
        lines += [f"## {family}\n", COLUMNS, *rows, ""]
    kernels: dict[str, list[str]] = {}
    for name in sorted(FUNCTIONS):
        kernels.setdefault(tests(found.named[name]), []).append(f"`{name}`")
    lines += [OUTSIDE.lstrip(), *(f"| {t} | {' '.join(names)} |" for t, names in kernels.items())]
    return "\n".join(lines) + "\n"


def _family(entry: Operator) -> str:
    """The first sentence about the builder's module."""
    text = inspect.getdoc(sys.modules[entry.build.__module__]) or ""
    return text.split(".")[0].replace("\n", " ").split(":")[0]


def main() -> None:
    FILE.write_text(table(), encoding="utf-8")


if __name__ == "__main__":
    main()
