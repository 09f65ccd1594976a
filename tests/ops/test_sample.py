import asyncio
import math

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import Arrays, graph_of
from tensortab.errors import ShapeError, UnsupportedError
from tensortab.ops import Sampling

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


@pytest.mark.parametrize("strategy", ["narrow", "wide"])
@pytest.mark.parametrize(
    "options",
    [
        Sampling(top_k=40, temperature=0.8),
        Sampling(top_k=1000),
        Sampling(top_k=40, top_p=0.5, min_p=0.1),
        Sampling(top_p=0.2, temperature=0.3),
        Sampling(top_p=0.999),
        Sampling(top_p=0.9, min_p=0.2),
        Sampling(min_p=0.01),
    ],
)
def test_short_lists_and_long_ones(
    device: harness.Device, options: Sampling, strategy: str
) -> None:
    """Peaked, flat, tied and almost empty rows: candidates that fit in a list and that do not."""
    rng = np.random.default_rng(6)
    logits = rng.standard_normal((9, 4099)) * [[8], [3], [1], [0.1], [1e-3], [0], [4], [4], [4]]
    logits[6] = np.round(logits[6])
    logits[7, 11:] = -np.inf
    logits[8] = -np.inf
    drawn(device, logits, options, strategy=strategy)


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


@pytest.mark.parametrize(("software", "v", "lanes"), [
    (True, 1, 4), (True, 8192, 4), (True, 128_256, 4), (True, 2**24, 256), (False, 1, 256),
])  # fmt: skip
def test_choice_follows_shapes_and_device(software: bool, v: int, lanes: int) -> None:
    g = tt.Graph()
    leaves = g.input("x", (1, v)), g.input("s", (8,), "uint32"), g.symint("pos", 3)
    g.output("y", tt.ops.sample(*leaves))
    steps = tt.plan.plan(g, tt.target.Target("native", software=software)).steps
    best = ["argmax"] * (1 + software)
    assert [s.kernel.name for s in steps] == [*best, "sample_masses", "sample"]
    assert steps[-1].kernel["LANES"] == lanes


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
