"""What a prompt has to keep to, and what becomes of one that is too long."""

from typing import Any

import numpy as np
import pytest

from tensortab.errors import FormatError, ShapeError, UnsupportedError
from tensortab.text.request import (
    Limits,
    check_ids,
    check_stop,
    ends,
    sampling_defaults,
    settle,
)

LIMITS = Limits(vocab=100, context=40, beginning=[7])


def asked(ids: Any, most: Any = 10, overflow: Any = "refuse", **sampling: Any) -> tuple[Any, ...]:
    found = settle(ids, LIMITS, most, overflow, sampling)
    return found.ids, found.dropped, found.room


def test_the_last_new_token_needs_no_room() -> None:
    assert asked([1] * 35, 100) == ([1] * 35, 0, 6)
    assert asked([1] * 40, 100) == ([1] * 40, 0, 1)
    assert asked([1], 3) == ([1], 0, 3)
    assert asked([1], 0) == ([1], 0, 0)
    assert asked(np.array([5, 6]), np.int64(2)) == ([5, 6], 0, 2)


def test_truncating_keeps_the_newest_tokens_and_what_begins_every_text() -> None:
    ids = list(range(8, 58))
    assert asked(ids, 10, "truncate") == (ids[19:], 19, 10)
    assert asked([7, *ids], 10, "truncate") == ([7, *ids[20:]], 20, 10)
    assert asked(ids, 30, "truncate") == (ids[29:], 29, 20), "half a context at most"
    assert asked(ids, 0, "truncate") == (ids[10:], 10, 0)
    assert asked(ids[:31], 10, "truncate") == (ids[:31], 0, 10), "it fits"
    assert asked(ids[:32], 10, "truncate") == (ids[1:32], 1, 10)


@pytest.mark.parametrize(
    ("arguments", "sampling", "error", "message"),
    [
        (
            ([1] * 41, 5),
            {},
            ShapeError,
            "41 tokens, expected 1 to 40, .* shorten it, .* keeps the newest 36 and leaves 5 for",
        ),
        (([],), {}, ShapeError, "the prompt has 0 tokens, expected at least 1"),
        (([1, 100],), {}, ShapeError, "token 1 of the prompt is 100, expected 0 to 99"),
        (([-1],), {}, ShapeError, "token 0 of the prompt is -1, expected 0 to 99"),
        (([1.5],), {}, ShapeError, "token 0 of the prompt is 1.5, expected 0 to 99"),
        (([1], -1), {}, UnsupportedError, "max_new_tokens is -1, expected 0 or more"),
        (([1], 2.5), {}, UnsupportedError, "max_new_tokens is 2.5, expected 0 or more"),
        (([1], True), {}, UnsupportedError, "max_new_tokens is True, expected 0 or more"),
        (([1], None), {}, UnsupportedError, "max_new_tokens is None, expected 0 or more"),
        (
            ([1], 5, "cut"),
            {},
            UnsupportedError,
            "overflow is 'cut', expected one of 'refuse', 'truncate'",
        ),
        (([1],), {"top_q": 1}, UnsupportedError, r"sampling option \['top_q'\]; there are temp"),
        (([1],), {"top_p": 2}, UnsupportedError, "sampling: top_p is 2, expected 0 to 1"),
        (([1],), {"top_p": float("nan")}, UnsupportedError, "top_p is nan, expected 0 to 1"),
        (([1],), {"top_k": 2.5}, UnsupportedError, "top_k is 2.5, expected an integer"),
        (([1],), {"seed": None}, UnsupportedError, "seed is None, expected an integer"),
        (([1],), {"temperature": "hot"}, UnsupportedError, "temperature is 'hot', expected a num"),
        (([1],), {"min_p": True}, UnsupportedError, "min_p is True, expected a number"),
    ],
)
def test_what_is_refused(
    arguments: Any, sampling: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        asked(*arguments, **sampling)


def test_stop_strings() -> None:
    assert check_stop("end") == ["end"], "one text is one stop string, not its letters"
    assert check_stop(("a", "b")) == ["a", "b"]
    for wrong in ("", ["a", ""], [3]):
        with pytest.raises(UnsupportedError, match="expected texts of at least one character"):
            check_stop(wrong)


def test_ids_of_any_integers() -> None:
    found = check_ids(np.array([3, 4], np.uint16), 5)
    assert found == [3, 4]
    assert all(type(i) is int for i in found)


def test_what_a_generation_config_says() -> None:
    assert ends({"eos_token_id": 5}, 9) == {5}
    assert ends({"eos_token_id": [5, 6]}, 9) == {5, 6}
    assert ends({"eos_token_id": None}, 9) == ends({}, 9) == frozenset()
    for wrong in (9, [5, -1], "5", True):
        with pytest.raises(FormatError, match=r"eos_token_id is .*, expected ids from 0 to 8"):
            ends({"eos_token_id": wrong}, 9)
    config = {"temperature": 0.6, "top_k": None, "top_p": 0.9, "max_length": 20}
    assert sampling_defaults(config) == {"temperature": 0.6, "top_p": 0.9}
    assert sampling_defaults(config | {"do_sample": False})["temperature"] == 0
