"""Buffers that a program updates: they live from call to call, until reset."""

import asyncio
from typing import Any

import numpy as np
import pytest

import harness
import tensortab as tt
from catalogue import cases
from tensortab.errors import FormatError, UnsupportedError
from tensortab.pte import program
from tensortab.pte.blob import Blob, Call, SymInt, TensorValue
from tensortab.pte.build import Filling, build
from tensortab.pte.check import check_call
from tensortab.pte.delegate import Delegate
from tensortab.pte.module import Method
from tensortab.pte.schema import DelegateCall, KernelCall, ListValue, Place
from tensortab.pte.schema import Method as Plan
from tensortab.pte.schema import TensorValue as Planned
from tensortab.weights import open_source

VECTOR = TensorValue("float32", (4,), None, -1)
CONSTANT = TensorValue("float32", (4,), Place(0, 16), -1)


@pytest.mark.parametrize("name", ["buffer_summed", "buffer_averaged", "buffer_placed"])
def test_reset(loop: harness.Loop, native: harness.Native, name: str) -> None:
    """What they hold in the course of a case's runs the catalogue's tests look at."""
    case = cases()[name]

    async def outputs() -> tuple[list[np.ndarray], np.ndarray]:
        loaded = await tt.load_pte(case.pte, device=native.device)
        runs = [(await loaded.forward(*arrays))[0] for arrays in (*case.inputs, case.inputs[0])]
        await loaded.reset()
        return runs, (await loaded.forward(*case.inputs[0]))[0]

    runs, again = loop.run(outputs())
    assert (runs[-1] != runs[0]).any()
    np.testing.assert_array_equal(again, runs[0])


def test_a_copy_stays_what_it_was(native: harness.Native) -> None:
    """old = buffer.clone(); buffer += x; then old is what was there before."""
    values = (CONSTANT, VECTOR, VECTOR, None, VECTOR, 1)
    calls = (
        Call("et_vk.prepack.default", (0, 1)),
        Call("aten.clone.default", (1, 3, 4)),
        Call("aten.add.Tensor", (1, 2, 5, 1)),
    )
    made = build("test.pte", "p/", Blob(calls, values, (2,), (4, 1)), ((4,),))
    assert made.states == {"p/1": Filling(Place(0, 16), "float32")}
    x = np.arange(4, dtype=np.float32)
    old, new = native.run(made.graph, in0=x).values()
    np.testing.assert_array_equal(old, np.zeros(4))
    np.testing.assert_array_equal(new, x)
    want = tt.evaluate(made.graph, in0=x, **{"p/1": x + 1})
    np.testing.assert_array_equal(want["out0"], x + 1)
    np.testing.assert_array_equal(want["out1"], 2 * x + 1)


def test_only_buffers_are_overwritten() -> None:
    calls = (Call("aten.relu.default", (0, 1)), Call("aten.neg.default", (0, 1)))
    with pytest.raises(FormatError, match=r"aten.neg.default: value 1 is computed twice"):
        build("test.pte", "", Blob(calls, (VECTOR, VECTOR), (0,), (1,)), ((4,),))


def test_outputs_that_a_call_does_not_take() -> None:
    """Without its option the partitioner says that a buffer changes, but not which one."""
    delegate = Delegate("", "", Blob((), (VECTOR, VECTOR, VECTOR), (0,), (1, 2)))
    with pytest.raises(
        UnsupportedError, match=r"delegate 0 has 1 outputs .*alias_buffer_mutations"
    ):
        check_call("f.pte: forward", DelegateCall(0, (0, 1)), [delegate])
    with pytest.raises(FormatError, match=r"called with 4 values, it has 1 inputs and 2 outputs"):
        check_call("f.pte: forward", DelegateCall(0, (0, 1, 2, 3)), [delegate])


def method(*calls: KernelCall, **first: Planned) -> Method:
    """A method without delegates: x [2] is value 0, a buffer [2, 2] is value 1."""
    vector = Planned("float32", (2,), False, None)
    table = first.get("table", Planned("float32", (2, 2), False, None))
    values: list[Any] = [vector, table, Planned("float32", (2, 2), False, None), 1, False]
    plan = Plan("forward", tuple(values), (0,), (2,), calls, ())
    return Method("f.pte: forward", None, plan, (), {})  # type: ignore[arg-type]


SUM = KernelCall("aten::add.out", (1, 0, 3, 2, 2))
BACK = KernelCall("aten::copy_", (1, 2, 4, 1))


def test_outside_of_delegates_they_begin_with_zeros() -> None:
    x = np.array([1, 2], np.float32)
    made = method(SUM, BACK)
    for n in (1, 2, 3):
        (y,) = asyncio.run(made(x))
        np.testing.assert_array_equal(y, [n * x, n * x])


def test_what_nobody_writes_is_no_buffer() -> None:
    with pytest.raises(FormatError, match="value 1 is read before it is computed"):
        asyncio.run(method(SUM)(np.zeros(2, np.float32)))


@pytest.mark.parametrize("given", [None, "3", np.zeros(2, np.int32), 1.5, ListValue("int", ())])
def test_an_integer_that_is_none(given: Any) -> None:
    delegate = Delegate("f.pte: delegate 0", "", Blob((), (SymInt(1),), (0,), ()))
    with pytest.raises(FormatError, match=r"delegate 0: input 0 is .*, expected an integer"):
        asyncio.run(delegate.run(None, [given], None))  # type: ignore[arg-type]


def test_what_a_buffer_begins_with_lies_in_a_segment() -> None:
    pte = cases()["buffer_placed"].pte
    whole = asyncio.run(program.read(open_source(pte)))
    planned = [v for v in whole.methods["forward"].values if isinstance(v, Planned)]
    (place,) = [v.constant for v in planned if v.constant]
    found = np.frombuffer(pte[place.start : place.end], np.float32)[:32]
    np.testing.assert_allclose(found, np.sin(np.arange(32)), rtol=1e-6)
