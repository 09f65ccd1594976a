"""What every architecture checks of a config.json: sizes, and settings with one known value."""

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
