"""What a model is asked for, checked before anything of its state is touched.

A context of C holds the keys and values of C tokens. The last new token needs no room in it, so a
prompt of n tokens leaves C − n + 1 new ones. A prompt that does not fit is refused, or, with
overflow="truncate", loses its oldest tokens: as many as make room for max_new_tokens, or for half a
context of them where that is less. What the tokenizer begins every text with (a BOS) stays.

Errors: ShapeError for a prompt of no or too many tokens, or ids outside of the vocabulary;
UnsupportedError for an option that is unknown or out of its bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from ..errors import FormatError, ShapeError, UnsupportedError
from ..ops import Sampling

Overflow = Literal["refuse", "truncate"]
OVERFLOWS = ("refuse", "truncate")


@dataclass(frozen=True)
class Limits:
    """What a model's prompts have to keep to."""

    vocab: int
    context: int
    beginning: list[int]  # what the tokenizer puts before every text


@dataclass(frozen=True)
class Request:
    """A prompt that fits, how many tokens may follow it, and how they are drawn."""

    ids: list[int]
    dropped: int
    room: int
    settings: Sampling


def settle(
    ids: Iterable[int],
    limits: Limits,
    max_new_tokens: int,
    overflow: str,
    sampling: Mapping[str, Any],
) -> Request:
    """Check everything; `sampling` is what `Sampling` takes, the model's own defaults included."""
    settings = _settings(sampling)
    if not _is_int(max_new_tokens) or max_new_tokens < 0:
        raise UnsupportedError(f"max_new_tokens is {max_new_tokens!r}, expected 0 or more")
    if overflow not in OVERFLOWS:
        raise UnsupportedError(
            f"overflow is {overflow!r}, expected one of {', '.join(map(repr, OVERFLOWS))}"
        )
    prompt = check_ids(ids, limits.vocab)
    kept = _kept(prompt, limits, max_new_tokens, overflow)
    room = min(max_new_tokens, limits.context - len(kept) + 1)
    return Request(kept, len(prompt) - len(kept), room, settings)


def ends(generation: Mapping[str, Any], vocab: int) -> frozenset[int]:
    """The tokens that end a text: a generation_config.json's eos_token_id, one, many or none."""
    found = generation.get("eos_token_id")
    several = found if isinstance(found, list) else [] if found is None else [found]
    for end in several:
        if not _is_int(end) or not 0 <= end < vocab:
            raise FormatError(
                f"generation_config.json: eos_token_id is {found!r}, expected ids from 0 to"
                f" {vocab - 1} (vocab_size in config.json)"
            )
    return frozenset(several)


def sampling_defaults(generation: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling options of a generation_config.json."""
    known = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    found = {k: generation[k] for k in known if generation.get(k) is not None}
    return found if generation.get("do_sample", True) else found | {"temperature": 0.0}


def check_ids(ids: Iterable[int], vocab: int) -> list[int]:
    """The ids as a list, at least one, each of the vocabulary."""
    found = list(ids)
    if not found:
        raise ShapeError("the prompt has 0 tokens, expected at least 1: it is empty")
    if set(map(type, found)) == {int} and min(found) >= 0 and max(found) < vocab:
        return found  # as a rule; to look at one after the other takes Python in a browser long
    for i, token in enumerate(found):
        if not _is_int(token) or not 0 <= token < vocab:
            raise ShapeError(
                f"token {i} of the prompt is {token!r}, expected 0 to {vocab - 1} (vocab_size)"
            )
    return list(map(int, found))


def check_stop(stop: str | Sequence[str]) -> list[str]:
    """The stop strings as a list; each has at least one character."""
    found = [stop] if isinstance(stop, str) else list(stop)
    for text in found:
        if not isinstance(text, str) or not text:
            raise UnsupportedError(f"stop has {text!r}, expected texts of at least one character")
    return found


def _kept(ids: list[int], limits: Limits, most: int, overflow: str) -> list[int]:
    room = max(1, min(most, limits.context // 2))
    keep = limits.context + 1 - room
    if overflow == "truncate" and len(ids) > keep:
        begun = ids[: len(limits.beginning)] == limits.beginning
        start = limits.beginning if begun else []
        return [*start, *ids[len(ids) - (keep - len(start)) :]]
    if len(ids) > limits.context:
        raise ShapeError(
            f"the prompt has {len(ids)} tokens, expected 1 to {limits.context}, the context this"
            " model was opened with: shorten it, load the model with a larger context=, or take"
            f" overflow='truncate', which keeps the newest {keep} and leaves {room} for new ones"
        )
    return ids


def _settings(given: Mapping[str, Any]) -> Sampling:
    known = [f.name for f in fields(Sampling)]
    if unknown := [*given.keys() - known]:
        raise UnsupportedError(f"sampling option {unknown}; there are {', '.join(known)}")
    return Sampling(**given)


def _is_int(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
