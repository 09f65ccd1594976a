"""Graphs, plans, profiles, quantized weights and programs as pictures and tables.

    tt.display.html(thing)         what a notebook shows of it, as HTML
    tt.display.graph_svg(graph)    a picture alone, as an SVG; also plan_svg, profile_bars,
                                   profile_timeline and error_svg

A notebook asks the things themselves, which call `html`. The texts hold no script, style, id or
address, and all that comes from outside (names, files) is escaped (svg.py): they may be put into
any page as they are. In a page an `svg.tensortab` wants max-width and overflow as it has room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

from ..errors import UnsupportedError
from ..graph import Graph
from ..plan import Plan
from ..profile import Profile
from ..pte.module import Module
from ..quant import Comparison
from . import graph as graphs
from . import plan as plans
from . import profile as profiles
from . import program, quantized
from .svg import written

_HTML: dict[type, Callable[[Any], Element]] = {
    Graph: graphs.html,
    Plan: plans.html,
    Profile: profiles.html,
    Comparison: quantized.html,
    Module: program.html,
}


def html(thing: Any) -> str:
    """What a notebook shows of a thing; UnsupportedError for what has no picture."""
    if type(thing) not in _HTML:
        known = ", ".join(kind.__name__ for kind in _HTML)
        raise UnsupportedError(f"{type(thing).__name__} has no picture; there are those of {known}")
    return written(_HTML[type(thing)](thing))


def graph_svg(graph: Graph, *, most: int = graphs.MOST) -> str:
    """A graph from top to bottom; equal layers are folded, and more than `most` ops cut."""
    return written(graphs.svg(graph, most=most))


def plan_svg(plan: Plan) -> str:
    """Which buffer holds a value at which dispatch."""
    return written(plans.svg(plan))


def profile_bars(report: Profile) -> str:
    """Time by kernel."""
    return written(profiles.bars(report))


def profile_timeline(report: Profile) -> str:
    """Dispatch by dispatch."""
    return written(profiles.timeline(report))


def error_svg(found: Comparison) -> str:
    """The error of a quantized weight."""
    return written(quantized.svg(found))
