"""Sampling: what is drawn, how often, and that every device draws the same."""

import asyncio
import math
import pickle

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import Arrays, graph_of
from tensortab.errors import ShapeError, UnsupportedError
from tensortab.ops import Sampling
from tensortab.ops.sampling import masses, philox

DRAWS = 20_000
LOGITS = np.random.default_rng(8).standard_normal(37).astype(np.float32) * 2
SEEN = np.array(np.random.default_rng(9).random(37) < 0.4, np.int32)
EVERYTHING = Sampling(
    temperature=0.8, top_k=20, top_p=0.9, min_p=0.03, repetition_penalty=1.3, seed=11
)
SETTINGS = {
    "as they are": Sampling(seed=3),
    "temperature": Sampling(temperature=0.6, seed=4),
    "hot": Sampling(temperature=3.0, seed=5),
    "top_k": Sampling(top_k=5, seed=6),
    "top_p": Sampling(top_p=0.8, seed=7),
    "min_p": Sampling(min_p=0.1, seed=8),
    "penalty": Sampling(repetition_penalty=1.7, seed=9),
    "reward": Sampling(repetition_penalty=0.7, seed=2**64 - 10),
    "everything": EVERYTHING,
}


def feeds(
    logits: np.ndarray, options: Sampling, seen: np.ndarray | None = None, position: int = 0
) -> Arrays:
    arrays = {
        "logits": np.asarray(logits, np.float32),
        "settings": options.encode(),
        "position": np.array([position], np.int32),
    }
    return arrays if seen is None else arrays | {"seen": seen}


def build(strategy: str | None = None) -> object:
    return lambda **leaves: tt.ops.sample(**leaves, strategy=strategy)


def drawn(
    device: harness.Device | None,
    logits: np.ndarray,
    options: Sampling,
    seen: np.ndarray | None = None,
    position: int = 0,
    strategy: str | None = None,
) -> np.ndarray:
    """The tokens that a device draws, which are the reference's; None asks the reference alone."""
    arrays = feeds(logits, options, seen, position)
    graph = graph_of(build(strategy), arrays)
    want = tt.evaluate(graph, **arrays)["y"]
    if device:
        np.testing.assert_array_equal(device.run(graph, **arrays)["y"], want)
    return want


def processed(logits: np.ndarray, o: Sampling, seen: np.ndarray) -> np.ndarray:
    """The processors one after the other, on the sorted scores, as their papers write them."""
    x = torch.from_numpy(logits).double()
    flags = torch.from_numpy(seen).bool()
    x[flags] = torch.where(x > 0, x / o.repetition_penalty, x * o.repetition_penalty)[flags]
    order = torch.argsort(x, descending=True)
    p = torch.softmax(x[order] / o.temperature, 0)
    if o.top_k:
        p[o.top_k :] = 0
        p /= p.sum()
    before = torch.cumsum(p, 0) - p  # the mass of likelier tokens
    p[before >= o.top_p] = 0
    p[p < o.min_p * p[0]] = 0
    out = torch.zeros_like(p)
    out[order] = p / p.sum()
    return out.numpy()


def excess(tokens: np.ndarray, p: np.ndarray) -> float:
    """Pearson's chi-squared as a standard normal deviate (Wilson & Hilferty 1931)."""
    counts = np.bincount(tokens, minlength=len(p))
    assert not counts[p == 0].any(), "tokens that were filtered out were drawn"
    rare = (p > 0) & (p * len(tokens) < 5)  # in one class together
    observed = [*counts[(p > 0) & ~rare], counts[rare].sum()]
    expected = np.array([*p[(p > 0) & ~rare], p[rare].sum()]) * len(tokens)
    some = expected > 0
    chi = (np.square(np.array(observed) - expected)[some] / expected[some]).sum()
    free = some.sum() - 1
    assert free > 1, "a test of nothing"
    return float(((chi / free) ** (1 / 3) - (1 - 2 / (9 * free))) / math.sqrt(2 / (9 * free)))


@pytest.mark.parametrize("name", SETTINGS)
def test_the_meaning_of_each_filter(name: str) -> None:
    options = SETTINGS[name]
    np.testing.assert_allclose(
        options.probabilities(LOGITS, SEEN), processed(LOGITS, options, SEEN), atol=1e-12
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_distribution(native: harness.Native, name: str) -> None:
    """Chi-squared over 20,000 draws; 3.5 deviates is one chance in 4000, once for all as seeded."""
    options = SETTINGS[name]
    logits = np.tile(LOGITS, (DRAWS // 4, 1))
    arrays = [feeds(logits, options, SEEN, position) for position in range(4)]
    graph = graph_of(build(), arrays[0])
    session = asyncio.run(native.device.compile(graph))
    tokens = np.concatenate([asyncio.run(session.run(**a))["y"] for a in arrays])
    session.destroy()
    assert excess(tokens, processed(LOGITS, options, SEEN)) < 3.5
    want = tt.evaluate(graph, **arrays[3])["y"]
    np.testing.assert_array_equal(tokens[-len(want) :], want)


@pytest.mark.parametrize("wrong", [Sampling(seed=3, temperature=1.1), Sampling(seed=3, min_p=0.01)])
def test_the_test_of_distributions_sees_differences(wrong: Sampling) -> None:
    tokens = drawn(None, np.tile(LOGITS, (DRAWS, 1)), wrong)
    p = processed(LOGITS, Sampling(), SEEN)
    assert excess(tokens, p) > 3.5


@pytest.mark.parametrize("strategy", ["narrow", "wide"])
@pytest.mark.parametrize("v", [1, 2, 5, 513, 8192])
def test_a_seed_gives_the_same_tokens_everywhere(
    device: harness.Device, v: int, strategy: str
) -> None:
    rng = np.random.default_rng(v)
    logits = rng.standard_normal((2, 3, v)) * 4
    seen = np.array(rng.random((2, 3, v)) < 0.3, np.int32)
    tokens = drawn(device, logits, EVERYTHING, seen, position=5, strategy=strategy)
    assert tokens.shape == (2, 3)
    assert ((tokens >= 0) & (tokens < v)).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_each_filter_on_each_device(device: harness.Device, name: str) -> None:
    logits = np.random.default_rng(1).standard_normal((64, 700)) * 3
    seen = np.array(np.random.default_rng(2).random(700) < 0.3, np.int32)
    drawn(device, logits, SETTINGS[name], seen)


@pytest.mark.parametrize("options", [Sampling(), EVERYTHING])
@pytest.mark.parametrize("strategy", ["narrow", "wide"])
def test_a_vocabulary(native: harness.Native, options: Sampling, strategy: str) -> None:
    logits = np.random.default_rng(0).standard_normal((2, 128_256)) * 3
    drawn(native, logits, options, np.zeros(128_256, np.int32), strategy=strategy)


def test_more_than_two_digits_of_index(native: harness.Native) -> None:
    logits = np.random.default_rng(0).standard_normal(300_001)
    logits[:262_144] -= 40
    assert drawn(native, logits, Sampling(seed=1)) >= 262_144


def test_greedy_is_argmax(device: harness.Device) -> None:
    logits = np.random.default_rng(0).standard_normal((4, 3000)).astype(np.float32)
    logits[1, [7, 2999]] = logits[2, [512, 511]] = 9
    greedy = Sampling(temperature=0, top_k=3, top_p=0.5)
    np.testing.assert_array_equal(drawn(device, logits, greedy), logits.argmax(-1))


@pytest.mark.parametrize(
    "options",
    [
        Sampling(top_k=1),
        Sampling(top_p=0),
        Sampling(top_p=1e-9),
        Sampling(min_p=1),
        Sampling(temperature=1e-6),
        Sampling(temperature=1e-30),
    ],
)
def test_one_token_is_left(device: harness.Device, options: Sampling) -> None:
    logits = np.random.default_rng(3).standard_normal((50, 100)).astype(np.float32)
    np.testing.assert_array_equal(drawn(device, logits, options), logits.argmax(-1))


@pytest.mark.parametrize("options", [Sampling(top_k=2), Sampling(top_p=0.1), Sampling(min_p=0.9)])
def test_ties_stay_together(device: harness.Device, options: Sampling) -> None:
    tokens = drawn(device, np.tile([0.0, 3, 1, 3, 3, 2], (300, 1)), options)
    assert set(tokens) == {1, 3, 4}
    assert set(drawn(device, np.zeros((500, 7)), options)) == set(range(7))


def test_limits_beyond_the_vocabulary(device: harness.Device) -> None:
    logits = np.random.default_rng(4).standard_normal((100, 7))
    free = drawn(device, logits, Sampling(seed=1))
    np.testing.assert_array_equal(drawn(device, logits, Sampling(top_k=7, seed=1)), free)
    np.testing.assert_array_equal(drawn(device, logits, Sampling(top_k=8000, seed=1)), free)


def test_masked_and_extreme_logits(device: harness.Device) -> None:
    logits = np.full((4, 600), -np.inf, np.float32)
    logits[0, [3, 500]] = 1
    logits[1, 599] = -3e38
    logits[2] = np.linspace(-1e30, 1e30, 600)
    for options in (Sampling(), EVERYTHING):
        tokens = drawn(device, logits, options)
        assert tokens[0] in (3, 500)
        np.testing.assert_array_equal(tokens[1:], [599, 599, 0])


def test_penalties_are_hugging_face_s(device: harness.Device) -> None:
    """score / p if it is positive, score · p if not; by way of who is then greatest."""
    logits = np.array([[4, 3.1, -1], [4, 2.9, -1], [-2, -2.5, -9], [-2, -2.7, -9]], np.float32)
    greedy = Sampling(temperature=0, repetition_penalty=1.3)
    seen = np.array([1, 0, 0], np.int32)
    np.testing.assert_array_equal(drawn(device, logits, greedy, seen), [1, 0, 1, 0])
    each = np.array([[1, 0, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0]], np.int32)
    np.testing.assert_array_equal(drawn(device, logits, greedy, each), [1, 0, 0, 0])


def test_draws_differ_by_seed_position_and_row() -> None:
    flat = np.zeros((1000, 1 << 16))[:, :50]
    base = drawn(None, flat, Sampling(seed=1))
    assert (np.bincount(base, minlength=50) > 0).all()
    for other in (
        drawn(None, flat, Sampling(seed=2)),
        drawn(None, flat, Sampling(seed=1 + 2**32)),
        drawn(None, flat, Sampling(seed=1), position=1),
        np.roll(base, 1),
    ):
        assert 0.0 < (base == other).mean() < 0.05


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


def marking(
    seen: np.ndarray, ids: np.ndarray, dims: tuple[tt.dim.Dim, ...] | None = None
) -> object:
    g = tt.Graph()
    flags = g.state("seen", seen.shape, seen.dtype.name)
    g.output("seen", tt.ops.mark(flags, g.input("ids", dims or ids.shape, ids.dtype.name)))
    return g


@pytest.mark.parametrize(
    ("shape", "ids"),
    [
        ((5,), [3]),
        ((5,), 4),
        ((70,), [[0, 69, 69], [3, 3, 0]]),
        ((5,), [-1, 5, 2, 2**31 - 1, -(2**31)]),  # past the table: padding, say
        ((2, 5), [1, 4]),
        ((2, 5), [[1, 4, -1], [0, 0, 5]]),
    ],
)
def test_mark(device: harness.Device, shape: tuple[int, ...], ids: object) -> None:
    array = np.array(ids, np.int32)
    graph = marking(np.zeros(shape, np.int32), array)
    want = tt.evaluate(graph, ids=array)["seen"]
    np.testing.assert_array_equal(device.run(graph, ids=array)["seen"], want)
    flat = want.reshape(-1, shape[-1])
    for row, mine in zip(flat, array.reshape(len(flat), -1), strict=True):
        assert set(np.flatnonzero(row)) == {int(i) for i in mine if 0 <= i < shape[-1]}


@pytest.mark.parametrize("count", [1, 9])
def test_mark_takes_a_symbolic_count(device: harness.Device, count: int) -> None:
    ids = np.arange(count, dtype=np.int32) * 2
    graph = marking(np.zeros(20, np.int32), ids, (tt.Sym("count", 9),))
    assert device.run(graph, ids=ids)["seen"].sum() == count


def test_what_is_marked_stays() -> None:
    ids = np.array([1], np.int32)
    graph = marking(np.zeros(4, np.int32), ids)
    out = tt.evaluate(graph, ids=ids, seen=np.array([0, 0, 1, 0], np.int32))
    np.testing.assert_array_equal(out["seen"], [0, 1, 1, 0])


@pytest.mark.parametrize(("software", "v", "lanes"), [
    (True, 1, 4), (True, 8192, 4), (True, 128_256, 4), (True, 2**24, 256), (False, 1, 256),
])  # fmt: skip
def test_choice_follows_shapes_and_device(software: bool, v: int, lanes: int) -> None:
    g = tt.Graph()
    leaves = g.input("x", (1, v)), g.input("s", (8,), "uint32"), g.symint("pos", 3)
    g.output("y", tt.ops.sample(*leaves))
    steps = tt.plan.plan(g, tt.target.Target("native", software=software)).steps
    assert [s.kernel.name for s in steps] == ["argmax", "argmax", "sample_masses", "sample"]
    assert steps[-1].kernel["LANES"] == lanes


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


def test_operands_that_do_not_fit() -> None:
    sound = feeds(LOGITS, Sampling(), SEEN)
    for name, array, message in (
        ("logits", LOGITS.astype(np.float16), r"sample: logits is float16\[37\], expected float32"),
        ("logits", np.float32(1), r"logits is float32\[\], expected \[…, V\] with V from 1"),
        ("logits", np.zeros((2, 0), np.float32), r"logits is float32\[2, 0\], expected \[…, V\]"),
        ("settings", np.ones(5, np.float32), r"settings is float32\[5\], expected uint32\[8\] \(S"),
        ("position", np.zeros(2, np.int32), r"position is int32\[2\], expected int32\[1\], a live"),
        ("seen", SEEN[:36], r"seen is int32\[36\], expected int32\[37\] or the shape of logits"),
        ("seen", SEEN.astype(np.float32), r"seen is float32\[37\], expected int32\[37\] or"),
    ):
        with pytest.raises(ShapeError, match=message):
            graph_of(build(), {**sound, name: array})
    with pytest.raises(UnsupportedError, match="strategy is 'tall', expected one of narrow, wide"):
        graph_of(build("tall"), sound)
    ids = np.zeros(3, np.int32)
    for seen, given, message in (
        (ids.astype(np.float32), ids, r"mark: seen is float32\[3\], expected int32\[V\] or int32"),
        (np.zeros((2, 2, 2), np.int32), ids, r"mark: seen is int32\[2, 2, 2\], expected int32\[V"),
        (ids, ids.astype(np.float32), r"mark: ids is float32\[3\], expected int32\[…\]"),
        (
            np.zeros((2, 9), np.int32),
            ids,
            r"mark: ids is int32\[3\], expected int32\[2, …\] \(seen",
        ),
    ):
        with pytest.raises(ShapeError, match=message):
            marking(seen, given)
