"""Which format each weight of a model takes: data, decided by the weight's name.

    Recipe(default=Format("q4gsw"), rules=(("attention", Format("q8gsw")), ("lm_head", FLOAT)))

The first rule whose pattern (a regular expression, searched for) fits a weight's name decides;
where none does, the format of that very name among `named`, which a quantized file's tensors are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

import numpy as np

from ..errors import UnsupportedError
from . import q4gsw, q8gsw
from .groups import Array, GroupFormat, ScaleType

Name = Literal["float32", "q4gsw", "q8gsw"]

_FORMATS: Mapping[str, GroupFormat] = {"q4gsw": q4gsw.FORMAT, "q8gsw": q8gsw.FORMAT}


@dataclass(frozen=True)
class Format:
    """How one weight [N, K] is stored."""

    name: Name
    group: int = 32
    search: bool = True
    scales: ScaleType = "float16"

    def __post_init__(self) -> None:
        if self.name not in ("float32", *_FORMATS):
            raise UnsupportedError(
                f"weight format {self.name!r}; there are float32, {', '.join(_FORMATS)}"
            )

    @property
    def quantized(self) -> bool:
        return self.name in _FORMATS

    @property
    def bits(self) -> float:
        """Bits a weight, its share of a scale included."""
        if not self.quantized:
            return 32.0
        return _FORMATS[self.name].bits + 8 * np.dtype(self.scales).itemsize / self.group

    @property
    def packing(self) -> GroupFormat:
        """Quantize, dequantize, layout; for quantized formats."""
        return _FORMATS[self.name]

    def quantize(self, weight: Array, name: str) -> tuple[Array, Array]:
        """`weight` [N, K] as (packed, scales)."""
        return self.packing.quantize(
            weight, self.group, search=self.search, scales=self.scales, name=name
        )


FLOAT = Format("float32")


@dataclass(frozen=True)
class Recipe:
    """A format for every weight."""

    default: Format
    rules: tuple[tuple[str, Format], ...] = ()
    named: Mapping[str, Format] = field(default_factory=dict)

    def format(self, *names: str) -> Format:
        """The format of a weight; one that serves twice, as a tied head does, has two names."""
        fits = (f for pattern, f in self.rules if any(re.search(pattern, n) for n in names))
        known = (self.named[n] for n in names if n in self.named)
        return next(chain(fits, known), self.default)


def _named(name: str | None) -> Format:
    short = {"q4": "q4gsw", "q8": "q8gsw", None: "float32"}
    return Format(short.get(name, name))  # type: ignore[arg-type]  # checked by Format


def recipe(choice: Any, default: Recipe) -> Recipe:
    """Read what a user asked for.

    None: float weights; "auto": the model's `default`; a format's name; a mapping of patterns to
    names on top of the default, {"lm_head": "q8gsw"}; or a Recipe. "q4" and "q8" are short names.
    """
    match choice:
        case Recipe():
            return choice
        case None:
            return Recipe(FLOAT)
        case "auto":
            return default
        case str():
            return Recipe(_named(choice))
        case Mapping():
            rules = tuple((pattern, _named(name)) for pattern, name in choice.items())
            return Recipe(default.default, rules + default.rules, default.named)
    raise UnsupportedError(
        f"quantize is {choice!r}, expected None, 'auto', a format's name, a mapping or a Recipe"
    )
