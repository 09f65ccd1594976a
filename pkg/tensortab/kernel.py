"""A .wgsl file, read as data.

The file is the only place that states a kernel's bindings, uniform fields and tunable constants
("knobs"); Python reads them from it and never repeats them. Unspecialised, every file is valid
WGSL. What a file must look like:

    const TILE: u32 = 4u;      // knob: rows of y an invocation owns
    alias Acc = f32;           // knob: f32 | f16
    struct Params { M: u32, eps: f32, }                            4-byte scalars only
    @group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;  numbered 0, 1, 2, … without gaps
    @group(0) @binding(2) var<uniform> p: Params;                  last, where there is one
    @compute @workgroup_size(TILE, 8)                              numbers, knobs, products of them

A kernel that needs an optional feature says so in WGSL's own words (`enable subgroups;`).
"""

from __future__ import annotations

import functools
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from .assets import WGSL
from .errors import KernelError

Access = Literal["read", "read_write", "uniform"]
Knob = int | bool | float | str

_LARGEST = float.fromhex("0x1.fffffep127")  # of float32

UNIFORM_ALIGNMENT = (
    256  # WebGPU's default minUniformBufferOffsetAlignment; no adapter asks for more
)

_BINDING = re.compile(
    r"@binding\((\d+)\)\s*var<(?:storage,\s*(read_write|read)|(uniform))>\s*(\w+)\s*:\s*([^;]+);"
)
_FIELD = re.compile(r"(\w+)\s*:\s*([^,\n]*?)\s*(?:,|$)", re.MULTILINE)
_KNOB = re.compile(
    r"^((?:const (?P<const>\w+)\s*:\s*(?P<type>\w+)|alias (?P<alias>\w+))\s*=\s*)(?P<value>[^;]+)"
    r"(;[ \t]*// knob)",
    re.MULTILINE,
)
_COMMENT = re.compile(r"//[^\n]*")
_ENABLE = re.compile(r"^enable\s+([^;]+);", re.MULTILINE)
_WORKGROUP = re.compile(r"@workgroup_size\(([^)]*)\)")
_PACK = {"u32": "I", "i32": "i", "f32": "f"}
_FEATURES = {"f16": "shader-f16", "subgroups": "subgroups"}  # WGSL extension -> WebGPU feature


@dataclass(frozen=True)
class Binding:
    """One buffer a kernel reads or writes, as its file declares it."""

    name: str
    access: Access
    type: str


@dataclass(frozen=True)
class Kernel:
    """One specialisation of one .wgsl file; equal where its source is."""

    name: str
    source: str
    knobs: Mapping[str, str]
    bindings: tuple[Binding, ...]  # storage buffers in binding order, without the uniform
    fields: Mapping[str, str]  # uniform field -> u32 | i32 | f32, in order; empty without a uniform

    @classmethod
    def from_source(cls, name: str, source: str) -> Kernel:
        """Read a kernel from WGSL text that is as a file must be; `name` is for errors."""
        text = _COMMENT.sub("", source)
        found = sorted(_BINDING.findall(text), key=lambda m: int(m[0]))
        if len(found) != (declared := text.count("@binding")):
            raise KernelError(
                f"{name}.wgsl: {declared} bindings are declared, and {len(found)} of them as they"
                " are read here: `@group(0) @binding(N) var<storage, read> name: type;`, with"
                " read_write, or `var<uniform>`"
            )
        if [int(m[0]) for m in found] != list(range(len(found))):
            raise KernelError(
                f"{name}.wgsl: bindings are numbered {[int(m[0]) for m in found]}, expected 0, 1,"
                " 2, … without gaps (operands are bound in that order)"
            )
        bindings = tuple(Binding(m[3], m[1] or "uniform", m[4].strip()) for m in found)
        if any(b.access == "uniform" for b in bindings[:-1]):
            raise KernelError(f"{name}.wgsl: the uniform must be the last binding")
        body = re.search(r"struct Params\s*\{(.*?)\}", text, re.DOTALL)
        fields = dict(_FIELD.findall(body[1])) if body else {}
        if bad := {f: t for f, t in fields.items() if t not in _PACK}:
            raise KernelError(
                f"{name}.wgsl: Params has {bad}; its fields are 4-byte scalars {[*_PACK]}"
            )
        storage = tuple(b for b in bindings if b.access != "uniform")
        if clash := fields.keys() & {b.name for b in storage}:
            raise KernelError(
                f"{name}.wgsl: {sorted(clash)} name both a binding and a Params field"
            )
        if bool(fields) != (len(storage) < len(bindings)):
            raise KernelError(f"{name}.wgsl: struct Params and var<uniform> go together")
        return cls(name, source, _knobs(source), storage, fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kernel) and self.source == other.source

    def __hash__(self) -> int:
        return hash(self.source)

    def __getitem__(self, knob: str) -> int:
        """Give the value of an integer knob."""
        return int(self.knobs[knob].rstrip("ui"))

    @property
    def accesses(self) -> list[Access]:
        """How each binding is used, the uniform (last, where there is one) included."""
        return [b.access for b in self.bindings] + (["uniform"] if self.fields else [])

    @functools.cached_property
    def features(self) -> frozenset[str]:
        """The WebGPU features this kernel needs."""
        names = {e.strip() for line in _ENABLE.findall(self.source) for e in line.split(",")}
        return frozenset(_FEATURES.get(e, e.replace("_", "-")) for e in names)

    @functools.cached_property
    def workgroup(self) -> tuple[int, int, int]:
        """Invocations of a workgroup in x, y and z."""
        found = _WORKGROUP.search(self.source)
        if not found:
            raise KernelError(f"{self.name}.wgsl has no @workgroup_size(…)")
        sizes = [self._product(s) for s in found[1].split(",") if s.strip()]
        x, y, z = [*sizes, 1, 1][:3]
        return x, y, z

    def _product(self, text: str) -> int:
        terms = (self.knobs.get(t.strip(), t.strip()) for t in text.split("*"))
        return math.prod(int(t.rstrip("ui")) for t in terms)

    def specialise(self, **knobs: Knob) -> Kernel:
        """Replace knob values. Line numbers never move, so GPU errors point at the file."""
        if unknown := knobs.keys() - self.knobs.keys():
            raise KernelError(
                f"{self.name}.wgsl has no knob {sorted(unknown)}; it has {sorted(self.knobs)}"
            )

        def value(m: re.Match[str]) -> str:
            name = m["const"] or m["alias"]
            return m[1] + _literal(knobs[name], m["type"]) + m[6] if name in knobs else m[0]

        source = _KNOB.sub(value, self.source)
        values = _knobs(source)
        if "f16" in {v for k, v in knobs.items() if isinstance(v, str)}:
            source = "enable f16; " + source  # on the first line, a comment's
        return replace(self, source=source, knobs=values)

    def excerpt(self, line: int, column: int) -> str:
        """A line of the source, and a mark under a column; both count from 1."""
        text = self.source.splitlines()[line - 1] if line > 0 else ""
        return f"{line:5} | {text}\n{'':5} | {' ' * (column - 1)}^"

    def refused(self, message: str, place: str = "") -> KernelError:
        """What a compiler's refusal is raised as; `place` is line:column."""
        at, knobs = f":{place}" if place else "", f" with {dict(self.knobs)}" if self.knobs else ""
        return KernelError(f"wgsl/{self.name}.wgsl{at}{knobs}:\n{message}")

    def pack(self, values: Mapping[str, float]) -> bytes:
        """Lay out uniform values by field name, padded to the 16 bytes a uniform block takes."""
        if values.keys() != self.fields.keys():
            raise KernelError(
                f"{self.name}.wgsl wants the uniform fields {list(self.fields)}, got {list(values)}"
            )
        form = "<" + "".join(_PACK[t] for t in self.fields.values())
        try:
            data = struct.pack(
                form,
                *(single(values[f]) if t == "f32" else values[f] for f, t in self.fields.items()),
            )
        except struct.error as e:
            raise KernelError(
                f"{self.name}.wgsl: {dict(values)} does not fit its Params: {e}"
            ) from e
        return data + bytes(-len(data) % 16)


def single(number: float) -> float:
    """A number that float32 can hold: beyond its range it is infinite."""
    return math.copysign(math.inf, number) if abs(number) > _LARGEST else number


def _literal(value: Knob, kind: str | None) -> str:
    """Write a knob's value as WGSL of the constant's declared type (no type: an alias)."""
    if kind is None or isinstance(value, str):
        return str(value)
    if kind == "bool":
        return "true" if value else "false"
    return f"{value}u" if kind == "u32" else str(value)


def _knobs(source: str) -> dict[str, str]:
    return {m["const"] or m["alias"]: m["value"].strip() for m in _KNOB.finditer(source)}


@functools.cache
def load(name: str) -> Kernel:
    """Read wgsl/<name>.wgsl."""
    path = WGSL / f"{name}.wgsl"
    if not path.is_file():
        raise KernelError(f"there is no kernel {name!r} ({path} does not exist)")
    return Kernel.from_source(name, path.read_text(encoding="utf-8"))


def names() -> list[str]:
    """Every kernel's name."""
    return sorted(p.stem for p in WGSL.glob("*.wgsl"))
