import asyncio
import dataclasses
import json
import pickle
import time

import numpy as np
import pytest

import harness
import tensortab as tt
from tensortab.errors import DeviceError, ShapeError
from tensortab.profile import Profile, rows


def chain(length: int) -> tt.Graph:
    g = tt.Graph()
    y = g.input("x", (tt.Sym("n", 4096),))
    for i in range(length):
        y = tt.ops.gelu(y) if i % 3 else tt.ops.mul(y, 1.5)
    g.output("y", y)
    return g


def check(report: Profile, session_plan: list[tuple[str, str]], wall: float) -> None:
    assert [(r.op, r.kernel_name) for r in report.rows] == session_plan
    assert [r.index for r in report.rows] == list(range(len(session_plan)))
    assert all(r.duration_ns > 0 for r in report.rows)
    assert 0 < report.total_ns <= wall * 1e9
    assert sum(count for _, count, _, _ in report.by_kernel()) == len(session_plan)


def test_labels_and_times_match_the_plan(native: harness.Native) -> None:
    graph = chain(2500)  # more than one query set holds
    x = np.linspace(-1, 1, 4000, dtype=np.float32)
    session = asyncio.run(native.device.compile(graph))
    want = asyncio.run(session.run(x=x))["y"]
    start = time.perf_counter()
    report = asyncio.run(session.profile(x=x))
    steps = [(s.op, s.kernel.name) for s in session.plan.steps]
    check(report, steps, time.perf_counter() - start)
    np.testing.assert_array_equal(report.outputs["y"], want)
    assert report.rows[0].global_wg == session.plan.steps[0].workgroups({"n": 4000})
    assert report.rows[0].local_wg == session.plan.steps[0].kernel.workgroup


IN_TAB = """
import pickle, time
import js
import tensortab as tt

async def main(payload):
    device = await tt.Device.open("browser")
    graph, inputs = pickle.loads(payload)
    session = await device.compile(graph)
    # the tab of the tests allows eval: count query sets where they are made
    count = js.Function.new("gpu", "const make = gpu.createQuerySet.bind(gpu); gpu.made = 0;"
                            "gpu.createQuerySet = (d) => { gpu.made++; return make(d); };")
    count(device.backend.gpu)
    await session.run(**inputs)
    plain = device.backend.gpu.made
    start = time.perf_counter()
    report = await session.profile(**inputs)
    wall = time.perf_counter() - start
    steps = [(s.op, s.kernel.name) for s in session.plan.steps]
    result = report.rows, steps, wall, plain, device.backend.gpu.made
    device.close()
    return pickle.dumps(result)
"""


def test_in_a_tab_and_no_query_set_when_off(chrome: harness.Tab) -> None:
    inputs = {"x": np.ones(4000, np.float32)}
    found = pickle.loads(chrome.call(IN_TAB, pickle.dumps((chain(30), inputs))))
    report, steps, wall, plain, timed = found
    assert plain == 0
    assert timed == 1
    check(Profile(report), steps, wall)


def test_overlapping_passes_do_not_inflate() -> None:
    step = ("add", "binary", (1, 1, 1), (64, 1, 1))
    spans = [(1000, 1100), (1050, 1300), (1060, 1200), (1300, 1310)]
    report = Profile(rows([step] * 4, spans))
    assert [r.duration_ns for r in report.rows] == [100, 200, 0, 10]
    assert report.total_ns == 310
    assert [r.start_ns for r in report.rows] == [0, 50, 60, 300]


def test_table_tsv_and_trace() -> None:
    steps = [
        ("mm", "matmul_tile", (4, 2, 1), (32, 1, 1)),
        ("add", "binary", (9, 1, 1), (64, 1, 1)),
        ("add", "binary", (9, 1, 1), (64, 1, 1)),
    ]
    report = Profile(rows(steps, [(5000, 8000), (8000, 8500), (9000, 9700)]))
    lines = str(report).splitlines()
    assert lines[1].split() == ["matmul_tile", "1", "3.00", "3.0", "71.4%"]
    assert lines[2].split() == ["binary", "2", "0.60", "1.2", "28.6%"]
    assert lines[3].split() == ["all", "3", "4.2"]
    table = [line.split("\t") for line in report.tsv().splitlines()]
    assert table[0][-1] == "duration_ns"
    assert table[1] == ["0", "mm", "matmul_tile", "4×2×1", "32×1×1", "0", "3000", "3000"]
    events = json.loads(report.trace())["traceEvents"]
    assert [(e["name"], e["ph"], e["ts"], e["dur"]) for e in events] == [
        ("matmul_tile", "X", 0, 3),
        ("binary", "X", 3, 0.5),
        ("binary", "X", 4, 0.7),
    ]
    assert str(Profile([])) == "no timestamps: the adapter has no timestamp-query"


def stepping() -> tt.Graph:
    """A state that doubles at every step, and its position."""
    g = tt.Graph()
    total, count = g.state("total", (3,)), g.symint("count", 10_000)
    doubled = tt.ops.add(tt.ops.mul(total, 2.0), 1.0)
    g.output("doubled", doubled)
    g.effect(tt.ops.assign(total, doubled))
    g.effect(tt.ops.advance(count))
    return g


def check_steps(outputs: dict[str, np.ndarray], ns: np.ndarray, wall: float) -> None:
    want = 2.0 ** np.arange(1, 6) - 1
    np.testing.assert_array_equal(outputs["doubled"], want[:, None].repeat(3, 1))
    assert ns.shape == (5,)
    assert ns.min() > 0
    assert ns.sum() <= wall * 1e9


def test_steps_are_timed_each(native: harness.Native) -> None:
    session = asyncio.run(native.device.compile(stepping()))
    start = time.perf_counter()
    outputs, ns = asyncio.run(session.time_steps(5))
    check_steps(outputs, ns, time.perf_counter() - start)
    assert session.get("count") == 5
    with pytest.raises(ShapeError, match="steps is 2049, expected at most 2048 timed"):
        session.time_steps(2049)


STEPS_IN_TAB = """
import pickle, time
import tensortab as tt

async def main(payload):
    device = await tt.Device.open("browser")
    session = await device.compile(pickle.loads(payload))
    start = time.perf_counter()
    outputs, ns = await session.time_steps(5)
    wall = time.perf_counter() - start
    again = await session.run_steps(1)
    device.close()
    return pickle.dumps((outputs, ns, wall, again))
"""


def test_steps_are_timed_each_in_a_tab(chrome: harness.Tab) -> None:
    outputs, ns, wall, again = pickle.loads(chrome.call(STEPS_IN_TAB, pickle.dumps(stepping())))
    check_steps(outputs, ns, wall)
    assert again["doubled"][0, 0] == 63


def test_numpy_has_no_clock() -> None:
    device = asyncio.run(tt.Device.open("reference"))
    session = asyncio.run(device.compile(stepping()))
    with pytest.raises(DeviceError, match=r"numpy reference.* has no timestamp-query"):
        session.time_steps(1)
    run = dataclasses.replace(session._prepare(1, {}), timed=True)
    with pytest.raises(DeviceError, match="numpy has no GPU clock"):
        session._recording.submit(run)


def test_an_adapter_without_a_clock_runs_on(native: harness.Native) -> None:
    device = tt.Device(native.device.backend)
    session = asyncio.run(device.compile(chain(3)))
    target = dataclasses.replace(device.info, features=frozenset())
    session._backend = dataclasses.make_dataclass("Blind", [])()
    session._backend.target = target
    with pytest.warns(
        RuntimeWarning, match=r"native.* has no timestamp-query, so nothing is timed"
    ):
        report = asyncio.run(session.profile(x=np.ones(8)))
    assert not report.rows
    assert report.outputs["y"].shape == (8,)


def test_the_variable_turns_it_on(
    native: harness.Native, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEBGPU_TIMESTAMP_QUERY", "1")
    session = asyncio.run(native.device.compile(chain(2)))
    want = asyncio.run(session.run(x=np.ones(8)))["y"]
    assert "unary" in capsys.readouterr().err
    monkeypatch.delenv("WEBGPU_TIMESTAMP_QUERY")
    session = asyncio.run(native.device.compile(chain(2)))
    np.testing.assert_array_equal(asyncio.run(session.run(x=np.ones(8)))["y"], want)
    assert not capsys.readouterr().err
