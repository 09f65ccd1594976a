"""States, live scalars and several steps a submission: natively, on numpy and in Chrome."""

import asyncio
import pickle

import numpy as np
import pytest

import harness
import tensortab as tt
from tensortab.errors import ShapeError
from tensortab.ops.strided import strided
from tensortab.plan import plan
from tensortab.target import Target


def counter(limit: int = 10) -> tt.Graph:
    """total += step; y = total · x[:live]; pos advances on the GPU."""
    g = tt.Graph()
    pos = g.symint("pos", max=limit)
    total = g.state("total", (3,))
    new = tt.ops.assign(total, tt.ops.add(total, g.input("step", (3,))))
    g.output("y", tt.ops.mul(new, 2.0))
    g.output("at", tt.ops.permute(pos, (0,)))  # a copy: the effect comes before the reading
    g.effect(tt.ops.advance(pos))
    return g


@pytest.fixture(params=["native", "reference"])
def opened(request: pytest.FixtureRequest, native: harness.Native) -> tt.Device:
    reference = asyncio.run(tt.Device.open("reference"))
    return native.device if request.param == "native" else reference


def compiled(device: tt.Device, graph: tt.Graph, share: tt.Session | None = None) -> tt.Session:
    return asyncio.run(device.compile(graph, share=share))


def run(session: tt.Session, **inputs: object) -> dict[str, np.ndarray]:
    return asyncio.run(session.run(**inputs))


def steps(session: tt.Session, n: int, **inputs: object) -> dict[str, np.ndarray]:
    async def work() -> dict[str, np.ndarray]:
        return await session.run_steps(n, **inputs)

    return asyncio.run(work())


def test_a_state_outlives_a_run(opened: tt.Device) -> None:
    session = compiled(opened, counter())
    for n in range(1, 4):
        out = run(session, step=[1, 2, 3])
        np.testing.assert_array_equal(out["y"], [2 * n, 4 * n, 6 * n])
    assert session.get("pos") == 3
    np.testing.assert_array_equal(asyncio.run(session.state("total").read()), [3, 6, 9])
    session.reset()
    assert session.get("pos") == 0
    np.testing.assert_array_equal(run(session, step=[1, 1, 1])["y"], [2, 2, 2])
    session.state("total").write([10, 20, 30])
    np.testing.assert_array_equal(run(session, step=[0, 0, 0])["y"], [20, 40, 60])


def test_steps_in_one_submission_are_steps(opened: tt.Device) -> None:
    one, many = compiled(opened, counter()), compiled(opened, counter())
    single = [run(one, step=[1, 2, 3]) for _ in range(7)]
    first, second = steps(many, 3, step=[1, 2, 3]), steps(many, 4, step=[1, 2, 3])
    for name in ("y", "at"):
        want = np.stack([row[name] for row in single])
        np.testing.assert_array_equal(np.concatenate([first[name], second[name]]), want)
    np.testing.assert_array_equal(np.concatenate([first["at"], second["at"]])[:, 0], range(7))
    assert one.get("pos") == many.get("pos") == 7


def test_submissions_are_awaited_late(opened: tt.Device) -> None:
    session = compiled(opened, counter())

    async def work() -> list[dict[str, np.ndarray]]:
        bursts = [session.run_steps(2, step=[1, 0, 0]) for _ in range(3)]
        assert session.get("pos") == 6, "all are on their way before the first is awaited"
        return [await b for b in bursts]

    rows = np.concatenate([b["y"] for b in asyncio.run(work())])
    np.testing.assert_array_equal(rows[:, 0], [2, 4, 6, 8, 10, 12])


def test_steps_past_the_end_change_nothing(opened: tt.Device) -> None:
    session = compiled(opened, counter(limit=5))
    steps(session, 4, step=[1, 1, 1])
    with pytest.raises(ShapeError, match="symint 'pos' is 6, expected 0 to 5"):
        steps(session, 2, step=[1, 1, 1])
    with pytest.raises(ShapeError, match="steps is 0, expected at least 1"):
        steps(session, 0, step=[1, 1, 1])
    assert session.get("pos") == 4
    np.testing.assert_array_equal(asyncio.run(session.state("total").read()), [4, 4, 4])


def test_symint_round_trip(opened: tt.Device) -> None:
    g = tt.Graph()
    pos = g.symint("pos", max=9, min=2)
    g.output("pos", tt.ops.reshape(pos, (1,)))
    g.output("twice", tt.ops.reshape(g.scalar(pos.dim * 2 + 1), (1,)))
    session = compiled(opened, g)
    for n in (2, 9, 5, 5):
        session.set(pos=n)
        assert session.get("pos") == n
        out = run(session)
        assert (out["pos"][0], out["twice"][0]) == (n, 2 * n + 1)
    for wrong, message in (
        ({"pos": 10}, "symint 'pos' is 10, expected 2 to 9"),
        ({"pos": 1}, "symint 'pos' is 1, expected 2 to 9"),
        ({"pos": 2.5}, "symint 'pos' is an integer, got 2.5"),
        ({"pos": 3, "row": 1}, r"no symint 'row'; it has \['pos'\]"),
    ):
        with pytest.raises(ShapeError, match=message):
            session.set(**wrong)
        assert session.get("pos") == 5


def test_hooks_run_once_a_change(native: harness.Native) -> None:
    g = tt.Graph()
    n = g.symint("n", max=8, min=1)
    x = g.input("x", (8,))
    g.output("y", tt.ops.add(x, tt.ops.mul(x, 3.0)))
    resized = tt.Op("head", lambda _x, n: tt.Spec((n,)), lambda x, n: x[:n], _head)
    g.output("z", resized(x, n.dim))
    session = compiled(native.device, g)
    x8 = np.arange(8, dtype=np.float32)
    written: list[object] = []
    submit = session._recording.submit

    def watched(run: object) -> object:
        written.append((len(run.writes), len(run.grids)))
        return submit(run)

    session._recording.submit = watched
    for live, hooks, traffic in ((8, 0, (2, 0)), (3, 1, (3, 1)), (3, 1, (1, 0)), (5, 2, (3, 1))):
        session.set(n=live)
        session.set(n=live)
        out = run(session, x=x8)
        np.testing.assert_array_equal(out["z"], x8[:live])
        assert session.live.hooks == hooks
        assert written[-1] == traffic, "the input; what changed: the scalar, a uniform, a grid"


def _head(target: Target, y: tt.Tensor, x: tt.Tensor, n: tt.dim.Dim) -> list[object]:
    return [strided("head", target, y, x, (n,), (1,), (1,))]


def test_a_symint_from_an_inputs_element_and_dimension(opened: tt.Device) -> None:
    g = tt.Graph()
    ids = g.input("ids", (2, tt.Sym("length", 6)), "int32")
    pos = g.select_as_symint(ids, (1, 0), "pos", max=50)
    g.output("pos", tt.ops.reshape(pos, (1,)))
    g.output("end", tt.ops.reshape(g.scalar(pos.dim + ids.shape[1]), (1,)))
    session = compiled(opened, g)
    out = run(session, ids=[[1, 2, 3], [40, 5, 6]])
    assert (out["pos"][0], out["end"][0]) == (40, 43)
    with pytest.raises(ShapeError, match="symint 'pos' is 51, expected 0 to 50"):
        run(session, ids=[[1], [51]])
    assert run(session, ids=[[1], [7]])["end"][0] == 8
    with pytest.raises(ShapeError, match=r"index \(0,\) of int32\[2, length\], one number each"):
        g.select_as_symint(ids, (0,), "q", max=3)


def test_snapshot_restore_truncate(opened: tt.Device) -> None:
    session = compiled(opened, counter())
    steps(session, 3, step=[1, 1, 1])
    kept = session.snapshot()
    steps(session, 2, step=[5, 5, 5])
    session.restore(kept)
    assert session.get("pos") == 3
    np.testing.assert_array_equal(run(session, step=[0, 0, 0])["y"], [6, 6, 6])
    session.truncate(pos=1)
    assert session.get("pos") == 1
    with pytest.raises(ShapeError, match="truncate: pos = 2 is beyond the present 1"):
        session.truncate(pos=2)
    kept.destroy()
    with pytest.raises(ShapeError, match=r"no state 'k'; it has .'total'"):
        session.state("k")
    with pytest.raises(ShapeError, match=r"state 'total' is float32\[3\], got an array \[2\]"):
        session.state("total").write([1, 2])


def test_sessions_share_state_and_scalars(opened: tt.Device) -> None:
    first = compiled(opened, counter())
    second = compiled(opened, counter(), share=first)
    run(first, step=[1, 1, 1])
    np.testing.assert_array_equal(run(second, step=[1, 1, 1])["y"], [4, 4, 4])
    assert first.get("pos") == second.get("pos") == 2
    first.destroy()
    assert run(second, step=[0, 0, 0])["at"] == [2]
    odd = tt.Graph()
    odd.output("y", tt.ops.add(odd.state("total", (4,)), 1.0))
    with pytest.raises(ShapeError, match=r"'total' is float32\[4\]; the session it is shared with"):
        compiled(opened, odd, share=second)


def test_reading_what_was_overwritten_is_refused() -> None:
    g = tt.Graph()
    total = g.state("total", (3,))
    new = tt.ops.assign(total, tt.ops.mul(total, 2.0))
    g.output("new", new)
    g.output("late", tt.ops.add(total, 1.0))
    with pytest.raises(ShapeError, match=r"reads <total float32.3.> after <assign .* overwrote it"):
        plan(g, Target("native"))


def test_an_output_is_read_after_the_effects() -> None:
    g = tt.Graph()
    pos = g.symint("pos", max=4)
    g.output("at", tt.ops.reshape(pos, (1,)))
    g.effect(tt.ops.advance(pos))
    with pytest.raises(
        ShapeError, match=r"output 'at' reads <reshape .* after <advance .* overwrote"
    ):
        plan(g, Target("native"))


def test_uniforms_that_would_move_between_steps(opened: tt.Device) -> None:
    g = tt.Graph()
    n = g.symint("n", max=8, min=1)
    x = g.input("x", (8,))
    resized = tt.Op("head", lambda _x, n: tt.Spec((n,)), lambda x, n: x[:n], _head)
    g.output("y", tt.ops.add(resized(x, n.dim), 1.0))
    g.effect(tt.ops.advance(n))
    session = compiled(opened, g)
    assert run(session, x=np.ones(8))["y"].shape == (1,)
    assert run(session, x=np.ones(8))["y"].shape == (2,)
    with pytest.raises(ShapeError, match=r"head .* its uniform depends on n, which moves"):
        steps(session, 2, x=np.ones(8))


IN_TAB = """
import pickle
import tensortab as tt

async def main(payload):
    device = await tt.Device.open("browser")
    graph, inputs = pickle.loads(payload)
    session = await device.compile(graph)
    bursts = [session.run_steps(n, **inputs) for n in (1, 4, 2)]
    rows = [await b for b in bursts]
    kept = session.snapshot()
    await session.run(**inputs)
    session.restore(kept)
    total = await session.state("total").read()
    result = rows, total, session.get("pos")
    device.close()
    return pickle.dumps(result)
"""


def test_all_of_it_in_a_tab(chrome: harness.Tab) -> None:
    inputs = {"step": np.array([1, 2, 3], np.float32)}
    rows, total, pos = pickle.loads(chrome.call(IN_TAB, pickle.dumps((counter(), inputs))))
    y = np.concatenate([r["y"] for r in rows])
    np.testing.assert_array_equal(y[:, 0], [2, 4, 6, 8, 10, 12, 14])
    np.testing.assert_array_equal(np.concatenate([r["at"] for r in rows])[:, 0], range(7))
    np.testing.assert_array_equal(total, [7, 14, 21])
    assert pos == 7
