"""What every architecture checks of a config.json: sizes, numbers, flags, one known value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import FormatError, UnsupportedError

Settings = Mapping[str, Any]


def size(config: Settings, key: str, default: int | None = None) -> int:
    """A positive integer; `default` where the key is missing or null, FormatError without one."""
    got = config.get(key)
    if got is None and default is not None:
        return default
    if not isinstance(got, int) or isinstance(got, bool) or got < 1:
        raise FormatError(f"config.json: {key} is {got!r}, expected a positive integer")
    return got


def require(config: Settings, known: Settings) -> None:
    """Refuse by name a setting that is there with another value than the one implemented."""
    for key, value in known.items():
        if (got := config.get(key, value)) != value:
            raise UnsupportedError(f"config.json: {key} is {got!r}, expected {value!r}")


def number(config: Settings, key: str, default: float | None = None) -> float:
    """A number above 0; `default` where the key is missing or null, FormatError without one."""
    got = config.get(key)
    if got is None and default is not None:
        return default
    if not isinstance(got, int | float) or isinstance(got, bool) or got <= 0:
        raise FormatError(f"config.json: {key} is {got!r}, expected a number above 0")
    return float(got)


def flag(config: Settings, key: str, default: bool = False) -> bool:
    """True or false; `default` where the key is missing or null, FormatError for another value."""
    got = config.get(key)
    if got is None:
        return default
    if not isinstance(got, bool):
        raise FormatError(f"config.json: {key} is {got!r}, expected true or false")
    return got
