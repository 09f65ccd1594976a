# ruff: noqa: INP001  # a file the page fetches, not part of a package
"""A text as a language model reads it: each head's attention, and what it expects to follow.

A graph of the model's own parts over its own weights gives, beside the logits, every layer's
queries, norms and rotary positions applied; the keys lie in the caches. From them numpy has

    weights[h, s, t] = softmax over t ≤ s of q[s, h] · k[t, h // group] · scale      float32

(Vaswani et al., arXiv 1706.03762), within the layer's window where it has one. The graph is
compiled for the reading alone, and shares weights and caches with the model, which afterwards holds
this text's tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tensortab as tt
from tensortab.errors import ShapeError
from tensortab.graph import Graph
from tensortab.models import decoder
from tensortab.op import Tensor, buffer_of
from tensortab.ops.attention import causal_bias
from tensortab.session import Session
from tensortab.text.generator import Generator

Array = np.ndarray[Any, Any]

LONGEST = 48  # tokens that are read; more would not be told apart in a picture


@dataclass(frozen=True)
class Layer:
    """Queries [T, heads, head_dim] and keys [T, kv_heads, head_dim] of a text."""

    queries: Array
    keys: Array
    scale: float
    window: int | None

    @property
    def heads(self) -> int:
        """Of the queries."""
        return self.queries.shape[1]

    def weights(self) -> Array:
        """How much each token looks at those before it, float32 [heads, T, T]; rows sum to 1."""
        count = len(self.queries)
        group = self.heads // self.keys.shape[1]
        keys = np.repeat(self.keys.astype(np.float64), group, axis=1)
        scores = np.einsum("shd,thd->hst", self.queries.astype(np.float64), keys) * self.scale
        return _softmax(scores + causal_bias(count, count, 0, self.window)).astype(np.float32)


@dataclass(frozen=True)
class Reading:
    """A text's tokens, its layers, and the logits after each token."""

    tokens: list[str]
    layers: list[Layer]
    logits: Array
    texts: Any  # the tokenizer's decode
    left: int  # tokens of the text that were not read

    def following(self, token: int, most: int) -> list[tuple[str, float]]:
        """The likeliest tokens after one of the text, and their probabilities."""
        shares = _softmax(self.logits[token].astype(np.float64))
        best = np.argsort(-shares, kind="stable")[:most]
        return [(self.texts([int(i)]), float(shares[i])) for i in best]


async def read(model: Generator, text: str) -> Reading:
    """Feed a text from an empty context on; nothing else may use the model meanwhile."""
    whole = model.tokenizer.encode(text)
    ids = whole[: min(LONGEST, model.config.context)]
    if not ids:
        raise ShapeError("the text has no tokens: type some")
    graph, attends = _graph(model)
    session = await model.device.compile(graph, share=model.prompt)
    try:
        model.held = []  # should this break off, the caches hold nothing
        found = await _fed(session, ids, model.scorer.rows)
        layers = [
            await _layer(session, attend, found[f"queries {i}"]) for i, attend in enumerate(attends)
        ]
    finally:
        session.destroy()
    model.held = ids
    decode = model.tokenizer.decode
    return Reading(
        [decode([i]) or f"[{i}]" for i in ids],
        layers,
        found["logits"],
        decode,
        len(whole) - len(ids),
    )


def _graph(model: Generator) -> tuple[Graph, list[Tensor]]:
    """The scores' graph with each layer's queries as outputs, and its attention ops."""
    rows = tt.Sym("rows", model.scorer.rows, min=1)
    graph, _ = decoder.build(
        model.config, model.scorer.recipe, rows=rows, scores=True, most=model.scorer.most
    )
    attends = [t for t in graph.nodes() if t.op is tt.ops.attend]
    for i, attend in enumerate(attends):
        graph.output(f"queries {i}", attend.args[0])
    return graph, attends


async def _fed(session: Session, ids: Sequence[int], rows: int) -> dict[str, Array]:
    """The outputs of all tokens, [T, …]."""
    session.truncate(pos=0)
    parts = [await session.run(ids=[ids[at : at + rows]]) for at in range(0, len(ids), rows)]
    return {
        name: np.concatenate([p[name] if name == "logits" else p[name][0] for p in parts])
        for name in parts[0]
    }


async def _layer(session: Session, attend: Tensor, queries: Array) -> Layer:
    """What an attention op weighs."""
    keys = await _keys(session, buffer_of(attend.args[1]).name, len(queries))
    scale, window = attend.kwargs["scale"], attend.kwargs["window"]
    return Layer(queries, keys, queries.shape[-1] ** -0.5 if scale is None else scale, window)


async def _keys(session: Session, name: str, count: int) -> Array:
    """The first rows of a cache [1, context, kv_heads, head_dim], no more of it read back."""
    state = session.state(name)
    _, _, heads, width = state.held.spec.at({})
    dtype = np.dtype(state.held.spec.dtype)
    nbytes = count * heads * width * dtype.itemsize
    data = await state.backend.read(state.held.buffer, nbytes)
    return np.frombuffer(data, dtype).reshape(count, heads, width)


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))
