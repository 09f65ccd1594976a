"""What sampling is made of: settings, random numbers, masses; and steps of a generation."""

import asyncio
import math
import pickle

import numpy as np
import pytest

import harness
import tensortab as tt
from tensortab.errors import UnsupportedError
from tensortab.ops import Sampling
from tensortab.ops.sampling import masses, philox


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)  # fmt: skip
def test_philox_s_known_answers(counter: str, key: str, words: str) -> None:
    """Those of Random123, its authors' library."""
    c = [np.array([int(w, 16)], np.uint64) for w in counter.split()]
    k0, k1 = (int(w, 16) for w in key.split())
    assert " ".join(f"{int(w[0]):08x}" for w in philox(c, (k0, k1))) == words


def test_masses_are_powers_of_two() -> None:
    away = np.arange(0, 32 << 22, 997)
    want = 2.0 ** (31 - away / 2**22)
    np.testing.assert_array_less(np.abs(masses(away) - want), 0.501 + 1e-7 * want)
    assert not masses(np.array([2**27 - 1]))[0]


def generating() -> tt.Graph:
    """Draws from row pos of a table, marks what it drew, moves on."""
    g = tt.Graph()
    pos = g.symint("pos", max=50)
    seen = g.state("seen", (33,), "int32")
    settings = g.state("settings", (8,), "uint32")
    table = np.random.default_rng(5).standard_normal((50, 33)).astype(np.float32)
    token = tt.ops.sample(tt.ops.embedding(pos, g.constant("t", table)), settings, pos, seen)
    g.output("token", token)
    g.effect(tt.ops.mark(seen, token))
    g.effect(tt.ops.advance(pos))
    return g


IN_TAB = """
import pickle
import tensortab as tt

async def main(payload):
    device = await tt.Device.open("browser")
    graph, first, second = pickle.loads(payload)
    session = await device.compile(graph)
    session.state("settings").write(first)
    tokens = [(await session.run_steps(6))["token"]]
    session.state("settings").write(second)
    tokens += [(await session.run_steps(n))["token"] for n in (1, 5)]
    seen = await session.state("seen").read()
    device.close()
    return pickle.dumps((tokens, seen))
"""


def test_generation_on_the_gpu(native: harness.Native, chrome: harness.Tab) -> None:
    """Several steps a submission, settings changed between two of them, in a tab and natively."""
    strong = Sampling(repetition_penalty=4.0, temperature=0.7, seed=1).encode()
    second = Sampling(top_k=3, repetition_penalty=4.0, seed=1).encode()
    tokens, seen = pickle.loads(chrome.call(IN_TAB, pickle.dumps((generating(), strong, second))))
    tokens = np.concatenate(tokens)[:, 0]
    np.testing.assert_array_equal(np.flatnonzero(seen), np.unique(tokens))

    async def singly(device: tt.Device) -> list[int]:
        session = await device.compile(generating())
        session.state("settings").write(strong)
        got = []
        for step in range(12):
            if step == 6:
                session.state("settings").write(second)
            got.append(int((await session.run())["token"][0]))
        return got

    assert asyncio.run(singly(native.device)) == tokens.tolist()
    assert asyncio.run(singly(asyncio.run(tt.Device.open("reference")))) == tokens.tolist()
    assert len(set(tokens)) > 6


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("temperature", -0.1, r"0 \(greedy\) to 1e6"),
        ("temperature", math.nan, r"0 \(greedy\) to 1e6"),
        ("top_k", -1, r"0 \(off\) to 2\*\*31 - 1"),
        ("top_p", 1.01, "0 to 1"),
        ("min_p", -1, "0 to 1"),
        ("repetition_penalty", 0, "0.001 to 1000"),
        ("seed", 2**64, r"0 to 2\*\*64 - 1"),
    ],
)
def test_settings_there_are_not(name: str, value: float, expected: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{name} is {value}, expected {expected}"):
        Sampling(**{name: value})
