import struct

import pytest

from tensortab import kernel
from tensortab.errors import KernelError
from tensortab.kernel import Kernel

SOURCE = """\
// A kernel that does little.
const WIDTH: u32 = 64u;  // knob: lanes
const FAST: bool = false;  // knob: a switch
alias Acc = f32;  // knob: f32 | f16
struct Params {
  n: u32,
  shift: i32,
  eps: f32,  // a small number
}
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
@compute @workgroup_size(WIDTH, 2)
fn main() { y[0] = x[0].x; }
"""


def test_reads_what_the_file_states() -> None:
    k = Kernel.from_source("demo", SOURCE)
    assert [(b.name, b.access, b.type) for b in k.bindings] == [
        ("x", "read", "array<vec4<f32>>"),
        ("y", "read_write", "array<f32>"),
    ]
    assert k.fields == {"n": "u32", "shift": "i32", "eps": "f32"}
    assert k.knobs == {"WIDTH": "64u", "FAST": "false", "Acc": "f32"}
    assert k["WIDTH"] == 64
    assert k.workgroup == (64, 2, 1)
    assert k.accesses == ["read", "read_write", "uniform"]


def test_a_specialisation_moves_no_line() -> None:
    k = Kernel.from_source("demo", SOURCE).specialise(WIDTH=8, FAST=True, Acc="f16")
    lines = k.source.splitlines()
    assert lines[0].startswith("enable f16; //")
    assert lines[1] == "const WIDTH: u32 = 8u;  // knob: lanes"
    assert lines[2].startswith("const FAST: bool = true;")
    assert lines[3].startswith("alias Acc = f16;")
    assert len(lines) == len(SOURCE.splitlines())
    assert k.workgroup == (8, 2, 1)
    assert k.features == {"shader-f16"}
    assert k != Kernel.from_source("demo", SOURCE)
    assert k == Kernel.from_source("demo", SOURCE).specialise(Acc="f16", FAST=True, WIDTH=8)


def test_what_a_comment_says_is_not_read() -> None:
    more = "// @group(0) @binding(7) var<storage, read> old: array<f32>;\n"
    k = Kernel.from_source("demo", more + SOURCE.replace("  n: u32,", "  n: u32,  // m: f32,"))
    assert [b.name for b in k.bindings] == ["x", "y"]
    assert [*k.fields] == ["n", "shift", "eps"]


def test_a_refusal_shows_the_line() -> None:
    k = Kernel.from_source("demo", SOURCE)
    assert k.excerpt(5, 8) == "    5 | struct Params {\n      |        ^"
    text = str(k.specialise(WIDTH=2).refused("no such type", "5:8"))
    assert text.startswith("wgsl/demo.wgsl:5:8 with {'WIDTH': '2u', ")
    assert text.endswith(":\nno such type")
    plain = Kernel.from_source("odd", "@compute @workgroup_size(1) fn main() {}")
    assert str(plain.refused("no")) == "wgsl/odd.wgsl:\nno"


def test_packs_uniforms() -> None:
    k = Kernel.from_source("demo", SOURCE)
    data = k.pack({"eps": 0.5, "n": 3, "shift": -1})
    assert struct.unpack("<IifI", data) == (3, -1, 0.5, 0)
    with pytest.raises(KernelError, match=r"wants the uniform fields \['n', 'shift', 'eps'\]"):
        k.pack({"n": 1})
    with pytest.raises(KernelError, match="does not fit its Params"):
        k.pack({"n": -1, "shift": 0, "eps": 0})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("@binding(1)", "@binding(3)", r"numbered \[0, 2, 3\], expected 0, 1, 2"),
        ("eps: f32", "eps: vec2<f32>", "fields are 4-byte scalars"),
        ("  n: u32", "  x: u32", r"\['x'\] name both a binding and a Params field"),
        ("var<uniform> p: Params", "var<storage, read> p: Params", "go together"),
        ("var<storage, read> x", "var<storage> x", "3 bindings are declared, and 2 of them"),
    ],
)
def test_malformed_files(old: str, new: str, message: str) -> None:
    with pytest.raises(KernelError, match=message):
        Kernel.from_source("demo", SOURCE.replace(old, new))


def test_names_what_is_missing() -> None:
    with pytest.raises(KernelError, match=r"has no knob .'COLS'.; it has .'Acc', 'FAST', 'WIDTH'"):
        Kernel.from_source("demo", SOURCE).specialise(COLS=2)
    with pytest.raises(KernelError, match="there is no kernel 'nosuch'"):
        kernel.load("nosuch")
    with pytest.raises(KernelError, match="has no @workgroup_size"):
        _ = Kernel.from_source("demo", SOURCE.replace("@workgroup_size(WIDTH, 2)", "")).workgroup


def test_every_file_reads() -> None:
    for name in kernel.names():
        k = kernel.load(name)
        assert k.workgroup[0] * k.workgroup[1] * k.workgroup[2] <= 256, "a phone's limit"
        assert k.bindings[-1].access == "read_write"
