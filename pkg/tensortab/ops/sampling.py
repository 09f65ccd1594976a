"""How a token is drawn: the settings, what they mean, and the integers both sides compute with.

The meaning is that of the Hugging Face processors in their order: repetition penalty, temperature,
top-k, top-p, min-p. Tokens that tie with the last one kept are kept too, by top-k (as there) and
by top-p (where a sort's order decides there).

The settings travel as uint32 [8], so that they change between runs without compiling anything:

    0, 1  the seed, low word first
    2     float32 log2(e) / temperature · 2²², which makes of a difference of scores a distance in
          2⁻²² of a factor 2 in probability; 0 means greedy
    3     top_k, 0 where it is off
    4     (1 − top_p) · 2³², 0 where it is off
    5     the greatest distance that min_p keeps
    6, 7  float32 repetition_penalty and 1 / repetition_penalty

The distances are integers below 2²⁷, and so are all later steps: masses of 31 bits, 64-bit sums, a
random word of Philox-4x32-10 with the seed as its key and (position, row) as its counter. Floats
come in before that by one product and one difference, which WGSL has correctly rounded.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011); Keskar et al., arXiv
1909.05858 (penalty); Fan et al., 1805.04833 (top-k); Holtzman et al., 1904.09751 (top-p);
Nguyen et al., 2407.01082 (min-p).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Integral, Real

import numpy as np

from ..errors import UnsupportedError
from ..op import Array

WORDS = 8
FAR = 2**27 - 1  # a distance of no mass
_POLYNOMIAL = (2016033, 19732393, 118712300, 515765849, 1488511653, 2147483487)
_STEEPEST = 1e30  # what a temperature next to 0 gives; any difference is FAR then
_U32 = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


@dataclass(frozen=True)
class Sampling:
    """Settings of `sample`; the defaults draw from the softmax of the logits as they are."""

    temperature: float = 1.0  # 0 takes the likeliest token
    top_k: int = 0  # the k likeliest; 0 is off
    top_p: float = 1.0  # the fewest likeliest whose probabilities reach top_p; 1 is off
    min_p: float = 0.0  # those at least min_p times as likely as the likeliest; 0 is off
    repetition_penalty: float = 1.0  # of tokens seen: positive logits over it, others times it
    seed: int = 0

    def __post_init__(self) -> None:
        for f in fields(self):
            got, whole = getattr(self, f.name), f.type == "int"
            if isinstance(got, bool) or not isinstance(got, Integral if whole else Real):
                expected = "an integer" if whole else "a number"
                raise UnsupportedError(f"sampling: {f.name} is {got!r}, expected {expected}")
        for name, sound, expected in (
            ("temperature", 0 <= self.temperature <= 1e6, "0 (greedy) to 1e6"),
            ("top_k", 0 <= self.top_k < 2**31, "0 (off) to 2**31 - 1"),
            ("top_p", 0 <= self.top_p <= 1, "0 to 1"),
            ("min_p", 0 <= self.min_p <= 1, "0 to 1"),
            ("repetition_penalty", 1e-3 <= self.repetition_penalty <= 1e3, "0.001 to 1000"),
            ("seed", 0 <= self.seed < 2**64, "0 to 2**64 - 1"),
        ):
            if not sound:
                raise UnsupportedError(
                    f"sampling: {name} is {getattr(self, name)}, expected {expected}"
                )

    def encode(self) -> Array:
        """The uint32 [8] that `sample` reads."""
        steep = math.log2(math.e) / self.temperature * 2**22 if self.temperature else 0.0
        keep = math.floor(-math.log2(self.min_p) * 2**22) if self.min_p else FAR - 1
        floats = [min(steep, _STEEPEST), self.repetition_penalty, 1 / self.repetition_penalty]
        bits = np.array(floats, np.float32).view(np.uint32)
        drop = min(round((1 - self.top_p) * 2**32), 2**32 - 1)
        seed = int(self.seed) & 0xFFFFFFFF, int(self.seed) >> 32
        return np.array([*seed, bits[0], self.top_k, drop, min(keep, FAR - 1), *bits[1:]], "uint32")

    def probabilities(self, logits: Array, seen: Array | None = None) -> Array:
        """What `sample` draws from: float64, the shape of `logits`, in floating point."""
        x = np.array(logits, np.float64)
        if seen is not None:
            factor = np.where(x > 0, 1 / self.repetition_penalty, self.repetition_penalty)
            x = np.where(seen != 0, x * factor, x)
        if self.temperature == 0:
            return np.asarray(np.eye(x.shape[-1])[x.argmax(-1)])
        x /= self.temperature
        if 0 < self.top_k < x.shape[-1]:
            x[x < np.sort(x)[..., -self.top_k, None]] = -np.inf
        p = _softmax(x)
        if self.top_p < 1:
            p[_mass_up_to(p) <= 1 - self.top_p] = 0
        p[p < self.min_p * p.max(-1, keepdims=True)] = 0
        return np.asarray(p / p.sum(-1, keepdims=True))


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _mass_up_to(p: Array) -> Array:
    """For each token the sum over those no likelier; more than 1 for the likeliest, which stay."""
    flat = p.reshape(-1, p.shape[-1])
    out = np.empty_like(flat)
    for row, mass in zip(flat, out, strict=True):
        ranked = np.sort(row)
        mass[:] = np.cumsum(ranked)[np.searchsorted(ranked, row, "right") - 1]
        mass[row == ranked[-1]] = 2
    return out.reshape(p.shape)


def draw(scores: Array, settings: Array, position: int) -> Array:
    """Tokens [rows] of penalized float32 scores [rows, V]: the kernel's integers, by sorting."""
    flushed = np.where(np.abs(scores) < np.finfo(np.float32).tiny, np.float32(0), scores)
    likeliest = np.asarray(flushed.argmax(-1))
    steep = settings[2:3].view(np.float32)[0]
    if not steep:
        return likeliest
    words = random(settings[:2], position, len(scores))
    tokens = [
        _draw_row(row, row[best], steep, settings[3:6], word, int(best))
        for row, best, word in zip(scores, likeliest, words, strict=True)
    ]
    return np.array(tokens, np.int32).reshape(len(scores))


def _draw_row(
    row: Array, top: np.float32, steep: np.float32, limits: Array, word: int, likeliest: int
) -> int:
    top_k, drop, keep = map(int, limits)
    away = np.full(len(row), FAR, np.int64)
    finite = row > -np.inf
    with np.errstate(over="ignore"):
        away[finite] = np.minimum((top - row[finite]) * steep, np.float32(FAR)).astype(np.int64)
    mass = masses(away)
    cut = FAR - 1
    if 0 < top_k <= np.count_nonzero(away < FAR):
        cut = int(np.sort(away)[top_k - 1])
    kept = away <= cut
    if drop:
        farthest, mine = np.unique(-away[kept], return_inverse=True)
        sums = np.cumsum(np.bincount(mine, mass[kept].astype(np.float64)).astype(np.uint64))
        if len(sums):
            cut = int(-farthest[_first_beyond(sums, drop)])
    kept = away <= min(cut, keep)
    sums = np.cumsum(np.where(kept, mass, np.uint64(0)))
    return _first_beyond(sums, word) if sums[-1] else likeliest


def _first_beyond(sums: Array, fraction: int) -> int:
    goal = int(sums[-1]) * fraction >> 32
    return int(np.searchsorted(sums, np.uint64(goal), "right"))


def masses(away: Array) -> Array:
    """2³¹ · 2^(−away / 2²²), rounded, as the kernel's polynomial has it; uint64."""
    u = away.astype(np.uint64)
    fraction = (u << np.uint64(10)) & _U32
    m = np.full(u.shape, _POLYNOMIAL[0], np.uint64)
    for c in _POLYNOMIAL[1:]:
        m = np.uint64(c) - (m * fraction >> _HALF)
    n = u >> np.uint64(22)
    rounded = (m + ((np.uint64(1) << n) >> np.uint64(1))) >> n
    return np.where(u < FAR, rounded, np.uint64(0))


def random(seed: Array, position: int, rows: int) -> list[int]:
    """The first word of Philox-4x32-10 for each row."""
    c = [np.full(rows, position & 0xFFFFFFFF, np.uint64), np.arange(rows, dtype=np.uint64)]
    c += [np.zeros(rows, np.uint64), np.zeros(rows, np.uint64)]
    return [int(w) for w in philox(c, (int(seed[0]), int(seed[1])))[0]]


def philox(c: list[Array], key: tuple[int, int]) -> list[Array]:
    """Philox-4x32-10 of four counter words (arrays of uint64 below 2³²) and two key words."""
    k0, k1 = key
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [
            (b >> _HALF) ^ c[1] ^ np.uint64(k0),
            b & _U32,
            (a >> _HALF) ^ c[3] ^ np.uint64(k1),
            a & _U32,
        ]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c
