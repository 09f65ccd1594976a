"""Dimensions that may change between runs, and arithmetic on them.

A `Dim` is an int, or an `Expr`: a polynomial with integer coefficients over atoms. An atom is a
`Sym` (a named size with a maximum) or one of `//`, min and max of other dims. Polynomials have
one normal form, so `rows * 12 * 32 == rows * 384` holds structurally and shape checks work on
sizes nobody knows yet. Buffers are allocated at `upper(dim)`; `value(dim, {"rows": 17})` is what
a run uses. Uniform fields and grids are dims too: evaluating them again is the resize hook.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ShapeError

Env = Mapping[str, int]


@dataclass(frozen=True)
class Expr:
    """Σ coefficient · Π atoms; `terms` is sorted and has no zero coefficient."""

    terms: tuple[tuple[tuple[Atom, ...], int], ...]

    def __add__(self, other: Dim) -> Dim:
        return _sum([*self.terms, *_terms(other)])

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + other * -1

    def __rsub__(self, other: Dim) -> Dim:
        return self * -1 + other

    def __mul__(self, other: Dim) -> Dim:
        pairs = ((a, b) for a in self.terms for b in _terms(other))
        return _sum((tuple(sorted(a + b, key=str)), c * d) for (a, c), (b, d) in pairs)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        if isinstance(other, int):
            if other == 1:
                return self
            if all(c % other == 0 for _, c in self.terms):
                return _sum((atoms, c // other) for atoms, c in self.terms)
        return 1 if self == other else _sum([((Call("//", (self, other)),), 1)])

    def __rfloordiv__(self, other: int) -> Dim:
        return _sum([((Call("//", (other, self)),), 1)])

    def __str__(self) -> str:
        return " + ".join(
            "*".join([*([str(c)] if c != 1 or not atoms else []), *map(str, atoms)])
            for atoms, c in self.terms
        )

    __repr__ = __str__


@dataclass(frozen=True)
class Sym:
    """A size known at run time: its name, and the largest value it ever takes."""

    name: str
    max: int
    min: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.min <= self.max:
            raise ShapeError(
                f"Sym {self.name}: expected 0 <= min <= max, got {self.min}, {self.max}"
            )

    @property
    def _expr(self) -> Expr:
        return Expr((((self,), 1),))

    def __add__(self, other: Dim) -> Dim:
        return self._expr + other

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return -self._expr

    def __sub__(self, other: Dim) -> Dim:
        return self._expr - other

    def __rsub__(self, other: Dim) -> Dim:
        return other - self._expr

    def __mul__(self, other: Dim) -> Dim:
        return self._expr * other

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return self._expr // other

    def __rfloordiv__(self, other: int) -> Dim:
        return other // self._expr

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Call:
    """`//`, `min` or `max` of two dims."""

    fn: str
    args: tuple[Dim, Dim]

    def __str__(self) -> str:
        a, b = (f"({d})" if isinstance(d, Expr) and len(d.terms) > 1 else str(d) for d in self.args)
        return f"({a} // {b})" if self.fn == "//" else f"{self.fn}({self.args[0]}, {self.args[1]})"


Atom = Sym | Call
Dim = int | Sym | Expr


def _terms(d: Dim) -> Iterable[tuple[tuple[Atom, ...], int]]:
    if isinstance(d, int):
        return [((), d)]
    return [((d,), 1)] if isinstance(d, Sym) else d.terms


def _sum(terms: Iterable[tuple[tuple[Atom, ...], int]]) -> Dim:
    total: dict[tuple[Atom, ...], int] = {}
    for atoms, c in terms:
        total[atoms] = total.get(atoms, 0) + c
    kept = sorted(((a, c) for a, c in total.items() if c), key=lambda t: (-len(t[0]), str(t[0])))
    match kept:
        case []:
            return 0
        case [((), c)]:
            return c
        case [((Sym() as sym,), 1)]:
            return sym
    return Expr(tuple(kept))


def _call(fn: str, a: Dim, b: Dim) -> Dim:
    return _sum([((Call(fn, (a, b)),), 1)])


def minimum(a: Dim, b: Dim) -> Dim:
    """The smaller of two dims, decided now where their bounds allow it."""
    if upper(a) <= lower(b):
        return a
    return b if upper(b) <= lower(a) else _call("min", a, b)


def maximum(a: Dim, b: Dim) -> Dim:
    """The larger of two dims, decided now where their bounds allow it."""
    if lower(a) >= upper(b):
        return a
    return b if lower(b) >= upper(a) else _call("max", a, b)


def ceildiv(a: Dim, b: int) -> Dim:
    """⌈a / b⌉."""
    return (a + b - 1) // b


def product(dims: Iterable[Dim]) -> Dim:
    """Multiply dims; 1 for none."""
    total: Dim = 1
    for d in dims:
        total = total * d
    return total


def value(d: Dim, env: Env) -> int:
    """Evaluate at the live values of the symbols."""
    if isinstance(d, int):
        return d
    if isinstance(d, Sym):
        if d.name not in env:
            raise ShapeError(f"the size {d.name!r} has no value yet; known are {dict(env)}")
        return env[d.name]
    return sum(c * math.prod(_atom(a, env) for a in atoms) for atoms, c in d.terms)


def _atom(atom: Atom, env: Env) -> int:
    if isinstance(atom, Sym):
        return value(atom, env)
    a, b = (value(d, env) for d in atom.args)
    if b == 0 and atom.fn == "//":
        raise ShapeError(f"{atom} divides {a} by 0, at {dict(env)}")
    return a // b if atom.fn == "//" else (min if atom.fn == "min" else max)(a, b)


def bounds(d: Dim) -> tuple[int, int]:
    """The least and the greatest value a dim can take, by interval arithmetic."""
    if isinstance(d, int):
        return d, d
    if isinstance(d, Sym):
        return d.min, d.max
    low = high = 0
    for atoms, c in d.terms:
        lo = hi = c
        for a in atoms:
            ends = [x * y for x in (lo, hi) for y in _atom_bounds(a)]
            lo, hi = min(ends), max(ends)
        low, high = low + lo, high + hi
    return low, high


def _atom_bounds(atom: Atom) -> tuple[int, int]:
    if isinstance(atom, Sym):
        return bounds(atom)
    (a0, a1), (b0, b1) = map(bounds, atom.args)
    if atom.fn == "//":
        ends = [x // max(y, 1) for x in (a0, a1) for y in (b0, b1)]  # sizes divide by sizes
        return min(ends), max(ends)
    pick = min if atom.fn == "min" else max
    return pick(a0, b0), pick(a1, b1)


def upper(d: Dim) -> int:
    """The largest value a dim can take: what buffers are allocated for."""
    return bounds(d)[1]


def lower(d: Dim) -> int:
    """The smallest value a dim can take."""
    return bounds(d)[0]


def symbols(d: Any) -> frozenset[Sym]:
    """Every Sym a dim depends on; empty for anything that is no dim."""
    if isinstance(d, Sym):
        return frozenset([d])
    if isinstance(d, Expr):
        return frozenset().union(*(symbols(a) for atoms, _ in d.terms for a in atoms))
    if isinstance(d, Call):
        return symbols(d.args[0]) | symbols(d.args[1])
    return frozenset()
