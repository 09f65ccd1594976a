"""A graph on numpy: the definition every GPU result is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .dim import Env, Expr, Sym, value
from .errors import ShapeError
from .graph import Graph, check_limits
from .op import Array, Tensor, advanced, buffer_of, overwritten


def compute(tensor: Tensor, values: dict[int, Array], env: Env) -> Array:
    """Run one op's reference on the arrays of its operands, symbolic attributes made ints.

    The new contents of what the op updates replace the old ones in `values`. A result without
    elements takes no computing; numpy, say, reshapes nothing to sizes with a −1.
    """
    if 0 in (shape := tensor.spec.at(env)) and not overwritten(tensor):
        return np.zeros(shape, tensor.dtype)

    def concrete(a: Any) -> Any:
        if isinstance(a, Tensor):
            return values[id(a)]
        if isinstance(a, Sym | Expr):
            return value(a, env)
        return tuple(map(concrete, a)) if isinstance(a, tuple | list) else a

    assert tensor.op
    # Bound to the op's own names first: numpy's functions, as references, have others.
    given = tensor.op.signature.bind(*tensor.args, **tensor.kwargs)
    kwargs = {k: concrete(v) for k, v in given.kwargs.items()}
    with np.errstate(all="ignore"):  # at the edges of its domain an op gives what IEEE 754 says
        result = tensor.op.reference(*map(concrete, given.args), **kwargs)
        if tensor.op.updates:
            result, *contents = result
            for i, array in zip(tensor.op.updates, contents, strict=True):
                for t in (tensor.args[i], buffer_of(tensor.args[i])):
                    values[id(t)] = np.asarray(array, t.dtype).reshape(values[id(t)].shape)
        return np.asarray(result, tensor.dtype)


def evaluate(graph: Graph, **given: ArrayLike | int) -> dict[str, Array]:
    """Run `graph` on numpy: inputs, symints, and by name constants and states it has no value for.

    States are zeros and symints their least value unless given; what the run writes is dropped
    (`advance` gives it).
    """
    leaves = {n: np.asarray(a) for n, a in given.items() if n in graph.constants | graph.states}
    live = {n: a for n, a in given.items() if n in graph.symints}
    inputs = {n: a for n, a in given.items() if n not in leaves and n not in live}
    return advance(graph, inputs, graph.values | leaves, live)[0]  # type: ignore[arg-type]


def advance(
    graph: Graph,
    inputs: Mapping[str, ArrayLike],
    held: Mapping[str, Array],
    live: Mapping[str, int],
) -> tuple[dict[str, Array], dict[str, Array], dict[str, int]]:
    """One run on numpy: outputs, the states it leaves, and the symints it leaves."""
    cast, env = graph.bind(inputs)
    for name, number in live.items():
        graph.check_symint(name, number)
    env = {n: s.min for n, s in graph.symints.items()} | dict(live) | env
    check_limits(graph.limits(), env)
    values: dict[int, Array] = {}
    states = {n: held.get(n, np.zeros(t.spec.at({}), t.dtype)) for n, t in graph.states.items()}
    scalars = dict(env)
    for t in graph.nodes():
        if t.op:
            values[id(t)] = compute(t, values, env)
            for leaf in overwritten(t):
                if leaf.role == "state":
                    array = values[id(t if buffer_of(t) is leaf else leaf)]
                    states[leaf.name] = array.reshape(leaf.spec.at({}))
            if moved := advanced(t):
                scalars[moved[0]] = value(moved[1], env)
        elif t.role == "scalar":
            values[id(t)] = np.array([value(t.dim, env)], np.int32)
        elif t.role == "constant" and t.name not in held:
            raise ShapeError(f"the constant {t.name!r} ({t.spec}) has no value yet")
        else:
            values[id(t)] = {"input": cast, "constant": held, "state": states}[t.role][t.name]
    outputs = {name: values[id(t)] for name, t in graph.outputs.items()}
    return outputs, states, {n: scalars[n] for n in graph.symints}
