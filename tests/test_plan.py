from dataclasses import replace

import numpy as np
import pytest

import tensortab as tt
from tensortab.errors import ShapeError
from tensortab.kernel import load
from tensortab.op import Op, dispatch
from tensortab.plan import plan
from tensortab.target import DEFAULT_LIMITS, Target

TARGET = Target("native")


FIELDS = {"n": 4, "s": 0.0, "t": 0.0, "i": 0, "j": 0}  # of unary.wgsl


def chain(length: int) -> tt.Graph:
    g = tt.Graph()
    y = g.input("x", (5, 7))
    for _ in range(length):
        y = tt.ops.gelu(y)
    g.output("y", y)
    return g


def test_two_slots_take_turns() -> None:
    p = plan(chain(10), TARGET)
    assert [s.role for s in p.slots].count("work") == 2
    for before, after in zip(p.steps, p.steps[1:], strict=False):
        assert after.slots[0] == before.slots[1]


def test_equal_uniforms_share_their_place() -> None:
    p = plan(chain(10), TARGET)
    assert len({s.uniform for s in p.steps}) == 1
    assert p.uniform_bytes == 256


def test_a_slot_grows_rather_than_multiplies() -> None:
    g = tt.Graph()
    x = g.input("x", (4, 8))
    w = g.constant("w", np.ones((100, 8), np.float32))
    v = g.constant("v", np.ones((8, 100), np.float32))
    y = tt.ops.gelu(tt.ops.gelu(x))
    for _ in range(3):
        y = tt.ops.linear(tt.ops.linear(y, w), v)
    g.output("y", tt.ops.gelu(y))
    work = [s for s in plan(g, TARGET).slots if s.role == "work"]
    assert len(work) == 2


def test_a_view_lies_in_its_operand() -> None:
    g = tt.Graph()
    x = g.input("x", (4, 6))
    y = tt.ops.gelu(x)
    g.output("a", tt.ops.gelu(tt.ops.reshape(y, (24,))))
    g.output("b", tt.ops.reshape(y, (2, 12)))
    p = plan(g, TARGET)
    assert len(p.steps) == 2
    assert p.outputs["b"][0] == p.steps[0].slots[1] == p.steps[1].slots[0]
    assert p.slots[p.outputs["b"][0]].role == "output"


def test_what_is_read_later_is_kept() -> None:
    g = tt.Graph()
    x = g.input("x", (4,))
    kept = tt.ops.gelu(x)
    y = kept
    for _ in range(6):
        y = tt.ops.gelu(y)
    g.output("y", tt.ops.add(y, kept))
    p = plan(g, TARGET)
    slot = p.steps[0].slots[1]
    assert all(slot not in s.slots[1:] for s in p.steps[1:-1])
    assert slot in p.steps[-1].slots[:2]


def test_inputs_may_be_outputs() -> None:
    g = tt.Graph()
    g.output("y", g.input("x", (4,)))
    p = plan(g, TARGET)
    assert not p.steps
    assert p.outputs["y"][0] == p.leaves["x"]


def test_many_workgroups_fold_into_two_dimensions() -> None:
    g = tt.Graph()
    rows = tt.Sym("rows", 1 << 20)
    g.output("y", tt.ops.gelu(g.input("x", (rows, 64))))
    step = plan(g, TARGET).steps[0]
    for live in (1, 65535, 65536, 1 << 20):
        x, y, z = step.workgroups({"rows": live})
        assert z == 1
        assert x <= 65535
        assert live <= x * y < live + 65535


def test_symbols_of_a_step() -> None:
    g = tt.Graph()
    x = g.input("x", (tt.Sym("rows", 8), 4))
    w = g.constant("w", np.ones(4, np.float32))
    g.output("y", tt.ops.add(x, tt.ops.gelu(w)))
    p = plan(g, TARGET)
    assert [(s.op, s.symbols) for s in p.steps] == [
        ("gelu", frozenset()),
        ("add", frozenset({"rows"})),
    ]
    assert "2 dispatches" in str(p)
    assert "gelu" in str(p)


def test_a_written_buffer_is_bound_once() -> None:
    def lower(_target: Target, y: tt.Tensor, _x: tt.Tensor) -> list[object]:
        return [dispatch(load("unary"), (1, 1, 1), x=y, y=y, **FIELDS)]

    g = tt.Graph()
    odd = Op("odd", lambda x: x.spec, lambda x: x, lower)
    g.output("y", odd(g.input("x", (4,))))
    with pytest.raises(ShapeError, match=r"odd: unary.wgsl would write a buffer it also has bound"):
        plan(g, TARGET)


def test_scratch_is_reused() -> None:
    def lower(_target: Target, y: tt.Tensor, x: tt.Tensor) -> list[object]:
        between = tt.Tensor(x.spec)
        return [
            dispatch(load("unary"), (1, 1, 1), x=x, y=between, **FIELDS),
            dispatch(load("unary"), (1, 1, 1), x=between, y=y, **FIELDS),
        ]

    g = tt.Graph()
    twice = Op("twice", lambda x: x.spec, lambda x: x, lower)
    y = g.input("x", (4,))
    for _ in range(5):
        y = twice(y)
    g.output("y", y)
    p = plan(g, replace(TARGET, limits=DEFAULT_LIMITS))
    assert len(p.steps) == 10
    assert sum(s.role == "work" for s in p.slots) <= 3


def test_no_outputs() -> None:
    with pytest.raises(ShapeError, match="has no outputs"):
        plan(tt.Graph(), TARGET)
