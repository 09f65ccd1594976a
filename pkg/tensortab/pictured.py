"""How things come by their picture: `_repr_html_ = html` in a class, which a notebook asks for."""

from importlib import import_module
from typing import Any


def html(thing: Any) -> str:
    """What display/ makes of a thing; it stands above what it draws, so it is looked up late."""
    made: str = import_module("tensortab.display").html(thing)
    return made
