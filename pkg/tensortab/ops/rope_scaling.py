"""Rotary frequencies, as trained or stretched over a longer context than that.

The pair j of R/2 turns by f_j = theta^(−2j / R) rad a position (rope.py). `scaling` is what a
config.json says of it in rope_scaling or rope_parameters, by its rope_type (or type):

    default    f_j
    linear     f_j / factor;                                    Chen et al., arXiv 2306.15595
    llama3     f_j / factor for waves that turn less than low_freq_factor times over
               original_max_position_embeddings positions, f_j for those that turn more than
               high_freq_factor times, a ramp between;          Llama 3.1, arXiv 2407.21783
    yarn       the same with beta_slow and beta_fast turns (1 and 32 where not given), the ramp
               linear in j and not in the turns;                Peng et al., arXiv 2309.00071
    longrope   f_j / long_factor[j] where the context is longer than
               original_max_position_embeddings, else f_j / short_factor[j] ("su" is its old
               name);                                           Ding et al., arXiv 2402.13753

yarn and longrope multiply cosines and sines by an attention factor, too.

transformers chooses longrope's factors anew at every call, by the sequence's length. Here the
context that the caches are opened for decides, once: the keys in a cache are turned already and
cannot be turned again when the sequence grows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ..errors import ShapeError, UnsupportedError
from ..op import Array
from .layout import float32

Scaling = Mapping[str, object]

_LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
_ORIGINAL = "original_max_position_embeddings"


def rope_frequencies(
    head_dim: int,
    theta: float = 10000.0,
    scaling: Scaling | None = None,
    *,
    context: int = 0,
) -> Array:
    """Inverse frequencies in rad a position, float32 [head_dim / 2]; for partial rotary give R.

    `context` is how many positions there will be. UnsupportedError for an unknown rope_type.
    """
    if head_dim < 2 or head_dim % 2:
        raise ShapeError(f"rope_frequencies: head_dim is {head_dim}, expected an even number")
    inverse = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    scaling = scaling or {}
    return float32(_TYPES[rope_type(scaling)](inverse, theta, scaling, context))


def rope_attention_factor(scaling: Scaling | None) -> float:
    """What cosines and sines are multiplied by; 1 but for yarn and longrope."""
    scaling = scaling or {}
    kind = rope_type(scaling)
    if kind not in ("yarn", "longrope"):
        return 1.0
    if scaling.get("attention_factor") is not None:
        return _numbers(scaling, ("attention_factor",))[0]
    (factor,) = _numbers(scaling, ("factor",))
    if factor <= 1:
        return 1.0
    if kind == "yarn":
        return 0.1 * math.log(factor) + 1
    (original,) = _numbers(scaling, (_ORIGINAL,))
    return math.sqrt(1 + math.log(factor) / math.log(original))


def rope_type(scaling: Scaling) -> str:
    """The type `scaling` names; UnsupportedError for one there is not."""
    guess = "llama3" if "low_freq_factor" in scaling else "linear" if scaling else "default"
    kind = scaling.get("rope_type") or scaling.get("type") or guess
    if kind == "su":
        return "longrope"
    if kind not in _TYPES:
        raise UnsupportedError(
            f"rope scaling: rope_type is {kind!r}, expected one of {', '.join(_TYPES)}"
        )
    return str(kind)


def _default(inverse: Array, theta: float, scaling: Scaling, context: int) -> Array:
    return inverse


def _linear(inverse: Array, theta: float, scaling: Scaling, context: int) -> Array:
    (factor,) = _numbers(scaling, ("factor",))
    result: Array = inverse / factor
    return result


def _llama3(inverse: Array, theta: float, scaling: Scaling, context: int) -> Array:
    factor, low, high, original = _numbers(scaling, _LLAMA3)
    turns = original * inverse / (2 * math.pi)  # of a pair within the original context
    kept = np.clip((turns - low) / (high - low), 0, 1)
    result: Array = inverse * (kept + (1 - kept) / factor)
    return result


def _yarn(inverse: Array, theta: float, scaling: Scaling, context: int) -> Array:
    for name in ("mscale", "mscale_all_dim"):
        if scaling.get(name):
            raise UnsupportedError(f"rope scaling: {name} is {scaling[name]!r}, expected none")
    defaults = {"beta_fast": 32, "beta_slow": 1}
    given = defaults | {k: v for k, v in scaling.items() if v is not None}
    factor, original, fast, slow = _numbers(given, ("factor", _ORIGINAL, "beta_fast", "beta_slow"))
    width = 2 * len(inverse)

    def pair(turns: float) -> float:
        """Which pair, in fractions, turns that often within the original context."""
        return width * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = pair(fast), pair(slow)
    if given.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    span = high - low if high != low else 1e-3  # one pair wide: a step, as transformers has it
    ramp = np.clip((np.arange(len(inverse)) - low) / span, 0, 1)
    result: Array = inverse * (1 - ramp + ramp / factor)
    return result


def _longrope(inverse: Array, theta: float, scaling: Scaling, context: int) -> Array:
    (original,) = _numbers(scaling, (_ORIGINAL,))
    name = "long_factor" if context > original else "short_factor"
    factors = scaling.get(name)
    if not isinstance(factors, list | tuple) or len(factors) != len(inverse):
        got = f"{len(factors)} numbers" if isinstance(factors, list | tuple) else repr(factors)
        raise UnsupportedError(
            f"rope scaling: {name} is {got}, expected {len(inverse)} numbers, one a pair"
        )
    each = {f"{name}[{i}]": f for i, f in enumerate(factors)}
    result: Array = inverse / np.array(_numbers(each, tuple(each)))
    return result


_TYPES: Mapping[str, Callable[[Array, float, Scaling, int], Array]] = {
    "default": _default,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}


def _numbers(scaling: Scaling, names: tuple[str, ...]) -> list[float]:
    found = [scaling.get(n) for n in names]
    for name, number in zip(names, found, strict=True):
        if isinstance(number, bool) or not isinstance(number, int | float) or number <= 0:
            raise UnsupportedError(f"rope scaling: {name} is {number!r}, expected a number above 0")
    return [float(n) for n in found if isinstance(n, int | float)]
