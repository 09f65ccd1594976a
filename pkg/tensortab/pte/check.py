"""Whether a program's methods can be run here: asked before a device is."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import FormatError, UnsupportedError
from . import blob, portable, schema
from .build import build
from .calls import check_operators
from .delegate import Delegate
from .schema import DelegateCall, KernelCall


async def check(made: schema.Program, method: schema.Method) -> list[Delegate]:
    """The delegates of a method; each is built for its largest sizes once, which checks it."""
    where = f"{made.source.name}: {method.name}"
    found = []
    for number, part in enumerate(method.delegates):
        name = f"{where}: delegate {number}"
        if part.id != blob.BACKEND:
            raise UnsupportedError(f"{name} is for {part.id!r}, expected {blob.BACKEND!r}")
        delegate = Delegate(name, f"{method.name}/{number}/", await blob.read(made, part.blob))
        check_operators(name, delegate.blob)
        if delegate.bounds is not None:
            build(name, delegate.prefix, delegate.blob, delegate.bounds)
        found.append(delegate)
    for call in method.instructions:
        check_call(where, call, found)
    return found


def check_call(where: str, call: schema.Instruction, delegates: Sequence[Delegate]) -> None:
    """Refuse a call that cannot be made."""
    if isinstance(call, DelegateCall):
        graph = delegates[call.delegate].blob
        more = len(graph.inputs) + len(graph.outputs) - len(call.args)
        if 0 < more <= len(graph.outputs):
            raise UnsupportedError(
                f"{where}: delegate {call.delegate} has {more} outputs that its call does not take:"
                " buffers that it changes, without saying which. Export the program with"
                ' VulkanPartitioner({"alias_buffer_mutations": True})'
            )
        if more:
            raise FormatError(
                f"{where}: delegate {call.delegate} is called with {len(call.args)} values, it has"
                f" {len(graph.inputs)} inputs and {len(graph.outputs)} outputs"
            )
    if isinstance(call, KernelCall):
        if call.name not in portable.FUNCTIONS:
            raise UnsupportedError(
                f"{where}: {call.name} is outside of a delegate and not implemented"
            )
        if len(call.args) < 2:
            raise FormatError(f"{where}: {call.name} has {len(call.args)} arguments")
