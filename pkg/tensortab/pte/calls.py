"""What can be said of a blob's calls before anything is built of them."""

from __future__ import annotations

from collections import Counter

from ..errors import UnsupportedError
from . import operators
from .blob import Blob, ValueList
from .registry import OPERATORS, PREPACK

assert operators.LOADED  # the modules that fill the table


def check_operators(name: str, blob: Blob) -> None:
    """Refuse a blob with operators that are not there, naming all of them."""
    used = Counter(call.name for call in blob.calls)
    if missing := [
        f"{n} ({count})" for n, count in used.items() if n not in OPERATORS and n != PREPACK
    ]:
        raise UnsupportedError(
            f"{name}: the delegate has operators that are not implemented: {', '.join(missing)}"
        )


def mutable(blob: Blob) -> frozenset[int]:
    """The values that operators write in place, and constants that become what one gives."""
    begun = {call.args[-1] for call in blob.calls if call.name == PREPACK and call.args}
    found: set[int] = set()
    for call in blob.calls:
        if call.args and call.name != PREPACK:
            found |= begun & {*targets(blob, call.args[-1])}
        entry = OPERATORS.get(call.name)
        # A call of too few arguments is refused where it is built.
        found |= {call.args[p] for p in (entry.mutates if entry else ()) if p < len(call.args)}
    return frozenset(found)


def targets(blob: Blob, index: int) -> tuple[int, ...]:
    """The values that a call's last argument stands for."""
    value = blob.values[index]
    return value.items if isinstance(value, ValueList) else (index,)
