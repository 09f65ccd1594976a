import asyncio
import pickle

import numpy as np
import pytest

import harness
import tensortab as tt
from close import leaf
from tensortab.errors import ShapeError
from tensortab.ops import Sampling

V = 1030
SETTINGS = {
    "greedy": Sampling(temperature=0, repetition_penalty=2.5),
    "sampled": Sampling(temperature=1.5, top_k=300, repetition_penalty=2.5, seed=4),
}


def graph(strategy: str | None, *, joined: bool) -> tt.Graph:
    """Logits from a table by position and by the token fed: as one op, and as the ops it is of."""
    g = tt.Graph()
    pos = g.symint("pos", max=20)
    token, seen = g.state("token", (1, 1), "int32"), g.state("seen", (V,), "int32")
    settings = g.state("settings", (8,), "uint32")
    rng = np.random.default_rng(5)
    rows = [
        tt.ops.embedding(at, g.constant(name, rng.standard_normal((20, V)).astype(np.float32)))
        for at, name in ((pos, "by position"), (tt.ops.reshape(token, (1,)), "by token"))
    ]
    logits = tt.ops.add(*rows)
    if joined:
        chosen = tt.ops.next_token(token, logits, settings, pos, seen, strategy=strategy)
    else:
        flagged = tt.ops.mark(seen, tt.ops.reshape(token, (1,)))
        chosen = tt.ops.assign(token, tt.ops.sample(logits, settings, pos, flagged))
        g.effect(tt.ops.advance(pos))
    g.output("token", tt.ops.reshape(chosen, (1,)))
    return g


async def generate(
    device: tt.Device, made: tt.Graph, options: Sampling
) -> tuple[list[int], list[int], int]:
    """Tokens of a run and of two bursts, the tokens flagged, the position."""
    session = await device.compile(made)
    session.state("settings").write(options.encode())
    session.state("token").write([[V]])  # flags nothing
    tokens = [(await session.run())["token"]]
    bursts = [session.run_steps(n) for n in (4, 7)]
    tokens += [(await b)["token"][:, 0] for b in bursts]
    seen = np.flatnonzero(await session.state("seen").read())
    result = np.concatenate(tokens).tolist(), seen.tolist(), session.get("pos")
    session.destroy()
    return result


@pytest.mark.parametrize("strategy", ["narrow", "wide"])
@pytest.mark.parametrize("name", SETTINGS)
def test_it_is_the_ops_it_is_of(native: harness.Native, name: str, strategy: str) -> None:
    reference = asyncio.run(tt.Device.open("reference"))
    tokens, seen, pos = found = asyncio.run(
        generate(native.device, graph(strategy, joined=True), SETTINGS[name])
    )
    for device in (native.device, reference):
        apart = generate(device, graph(strategy, joined=False), SETTINGS[name])
        assert asyncio.run(apart) == found
    assert asyncio.run(generate(reference, graph(None, joined=True), SETTINGS[name])) == found
    assert seen == sorted({*tokens[:-1]})
    assert pos == len(tokens) == 12


@pytest.mark.parametrize("software", [True, False])
def test_its_dispatches_are_those_of_sample(software: bool) -> None:
    target = tt.target.Target("native", software=software)
    steps = tt.plan.plan(graph(None, joined=True), target).steps
    names = [s.kernel.name for s in steps if s.op == "next_token"]
    assert names == [*["argmax"] * (1 + software), "sample_masses", "sample"]
    assert all(len(s.slots) <= 8 for s in steps)  # storage buffers that every adapter binds


IN_TAB = """
import pickle
import tensortab as tt

async def main(payload):
    made, options, start = pickle.loads(payload)
    device = await tt.Device.open("browser")
    session = await device.compile(made)
    session.state("settings").write(options)
    session.state("token").write(start)
    tokens = [(await session.run_steps(n))["token"] for n in (1, 4, 7)]
    seen = await session.state("seen").read()
    result = tokens, seen, session.get("pos")
    device.close()
    return pickle.dumps(result)
"""


@pytest.mark.parametrize("strategy", ["narrow", "wide"])
def test_the_same_in_a_tab(native: harness.Native, chrome: harness.Tab, strategy: str) -> None:
    made, options = graph(strategy, joined=True), SETTINGS["sampled"]
    payload = pickle.dumps((made, options.encode(), [[V]]))
    tokens, seen, pos = pickle.loads(chrome.call(IN_TAB, payload))
    found = np.concatenate(tokens)[:, 0].tolist(), np.flatnonzero(seen).tolist(), pos
    assert found == asyncio.run(generate(native.device, made, options))


def test_operands_that_do_not_fit() -> None:
    g = tt.Graph()
    rest = leaf((8,), "uint32"), g.symint("pos", max=3), leaf((5,), "int32")
    for token, logits in (((2,), (1, 5)), ((1,), (2, 5))):
        with pytest.raises(ShapeError, match=r"next_token: token is .* expected int32\[1\] and"):
            tt.ops.next_token(leaf(token, "int32"), leaf(logits), *rest)
    with pytest.raises(ShapeError, match="no live scalar"):
        tt.ops.next_token(leaf((1,), "int32"), leaf((1, 5)), rest[0], leaf((1,), "int32"), rest[2])
