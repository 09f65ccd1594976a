"""An ExecuTorch program as data: methods, their values and instructions.

Source: ExecuTorch 1.5, schema/program.fbs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..weights import Source


@dataclass(frozen=True)
class Place:
    """Bytes of the file."""

    start: int
    end: int


@dataclass(frozen=True)
class TensorValue:
    """A tensor of a plan; `shape` is an upper bound where `dynamic`."""

    dtype: str
    shape: tuple[int, ...]
    dynamic: bool
    constant: Place | None  # its bytes, or what a buffer begins with


@dataclass(frozen=True)
class ListValue:
    """A list; of indices of values for integers and tensors (−1: none), else of values."""

    kind: str  # int | float | bool | tensor
    items: tuple[Any, ...]


Value: TypeAlias = int | float | bool | str | TensorValue | ListValue | None


@dataclass(frozen=True)
class KernelCall:
    """A call of an operator that was not delegated."""

    name: str  # aten::cumsum.out
    args: tuple[int, ...]


@dataclass(frozen=True)
class DelegateCall:
    """A call of a delegate: the inputs in its own order, then its outputs."""

    delegate: int
    args: tuple[int, ...]


@dataclass(frozen=True)
class MoveCall:
    """One value becomes another."""

    source: int
    target: int


Instruction: TypeAlias = KernelCall | DelegateCall | MoveCall


@dataclass(frozen=True)
class Delegate:
    """A part of the program that a backend runs: the backend's id, and its bytes."""

    id: str
    blob: Place


@dataclass(frozen=True)
class Method:
    """An execution plan."""

    name: str
    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    instructions: tuple[Instruction, ...]
    delegates: tuple[Delegate, ...]


@dataclass(frozen=True)
class Program:
    """A .pte file."""

    source: Source
    size: int  # of the file, in bytes
    methods: Mapping[str, Method]
    named: Mapping[str, Place]  # data that delegates refer to by a key
