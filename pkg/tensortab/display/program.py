"""An ExecuTorch program: its methods, what they take and give, and the graphs of its delegates."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from ..graph import Graph
from ..pte.build import build
from ..pte.delegate import Delegate
from ..pte.describe import value_text
from ..pte.module import Method, Module
from ..words import count, listed
from . import graph as graphs
from .svg import element
from .table import figure, folded, table


def html(module: Module) -> Element:
    """Each method: inputs and outputs, and the graph of each delegate; all of it as text, too."""
    parts = [element("p", f"{module.program.source.name} · {count(len(module.methods), 'method')}")]
    for name, method in module.methods.items():
        parts += [element("h4", name), *_method(method)]
    return figure(*parts, folded("in words", element("pre", module.describe())))


def graph_of(delegate: Delegate) -> Graph | None:
    """The graph it was compiled to last, or for its largest sizes; None where it has none yet."""
    if delegate.sessions:
        return [built.graph for built, _ in delegate.sessions.values()][-1]
    if delegate.bounds is None:
        return None
    return build(delegate.name, delegate.prefix, delegate.blob, delegate.bounds).graph


def _method(method: Method) -> list[Element]:
    plan = method.plan
    values = [
        (f"{what} {i}", value_text(plan.values[index]))
        for what, indices in (("input", plan.inputs), ("output", plan.outputs))
        for i, index in enumerate(indices)
    ]
    parts = [table(("", "dtype and shape"), values)]
    for number, delegate in enumerate(method.delegates):
        made = graph_of(delegate)
        title = listed([f"delegate {number}", count(len(delegate.blob.calls), "call")])
        if made is None:
            why = "its graph depends on the integers it is called with"
            parts.append(element("p", f"{title}: {why}"))
        elif len(method.delegates) == 1:
            parts.append(graphs.html(made))
        else:
            parts.append(folded(title, graphs.html(made)))
    return parts
