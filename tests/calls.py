"""Calls of a blob made by hand, for operators and forms of them that no file here has."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from close import assert_close
from tensortab.pte.blob import Blob, Call, TensorValue, ValueList
from tensortab.pte.build import Built, build

Evaluated = Callable[[str, list[Any], list[Any]], list[np.ndarray]]
LAYOUT = [None] * 4  # dtype, layout, device, pin_memory: what an output's value says


def tensor(array: np.ndarray) -> TensorValue:
    return TensorValue(array.dtype.name, array.shape, None, -1)


def built(
    name: str, args: list[Any], outputs: list[np.ndarray | int]
) -> tuple[Built, dict[str, np.ndarray]]:
    """One call: arrays among the arguments, or in lists there, are inputs.

    An int among the outputs is one of the arguments.
    """
    values: list[Any] = [tensor(a) if isinstance(a, np.ndarray) else a for a in args]
    arrays = {i: a for i, a in enumerate(args) if isinstance(a, np.ndarray)}
    for position, items in enumerate(args):
        if isinstance(items, list):
            places = range(len(values), len(values) + len(items))
            values += [tensor(a) if isinstance(a, np.ndarray) else a for a in items]
            values[position] = ValueList(tuple(places))
            arrays |= {i: a for i, a in zip(places, items, strict=True) if a is not None}
    found = []
    for out in outputs:
        found.append(out if isinstance(out, int) else len(values))
        values += [] if isinstance(out, int) else [tensor(out)]
    last = found[0]
    if len(found) > 1:
        last = len(values)
        values.append(ValueList(tuple(found)))
    call = Call(name, (*range(len(args)), last), 0)
    blob = Blob((call,), tuple(values), tuple(arrays), tuple(found))
    made = build("test.pte", "", blob, tuple(a.shape for a in arrays.values()))
    return made, dict(zip(made.inputs, arrays.values(), strict=True))


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def agree(got: list[np.ndarray], *want: torch.Tensor, atol: float = 1e-5) -> None:
    for g, w in zip(got, want, strict=True):
        assert_close(g, w.detach().numpy(), atol=atol, rtol=1e-5)
