"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def size(nbytes: float) -> str:
    """Bytes with a unit: 1 KB is 1,000 bytes, as downloads and disks count."""
    if nbytes < 1000:
        return count(int(nbytes), "byte")
    return _scaled(nbytes / 1000, ("KB", "MB", "GB"))


def time(ns: float) -> str:
    """A duration with a unit."""
    return _scaled(ns, ("ns", "µs", "ms", "s")) if ns else "0"


def _scaled(number: float, units: Sequence[str]) -> str:
    """Three digits, and the unit that this takes, each a thousand of the one before."""
    power = 0
    while number >= 999.5 and power < len(units) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.3g} {units[power]}"


def count(n: int, what: str, many: str = "") -> str:
    """A number and its noun."""
    return f"{n:,} {what if n == 1 else many or what + 's'}"


def listed(parts: Iterable[str]) -> str:
    """Parts with a dot between; those that are empty are left out."""
    return " · ".join(filter(None, parts))
