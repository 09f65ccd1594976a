# ruff: noqa: INP001  # a file the page fetches, not part of a package
"""A text as a language model reads it: each head's attention, and what it expects to follow.

A graph of the model's own parts over its own weights gives, beside the logits, every layer's
queries, norms and rotary positions applied; the keys lie in the caches. From them numpy has

    weights[h, s, t] = softmax over t ≤ s of q[s, h] · k[t, h // group] · scale      float32

(Vaswani et al., arXiv 1706.03762), within the layer's window where it has one, and

    p[s, v] = softmax over v of logits[s, v]                                      float64

The graph is compiled for one reading, and shares weights and caches with the model, which
afterwards holds this text's tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tensortab as tt
from tensortab.errors import ShapeError
from tensortab.graph import Graph, order
from tensortab.models import decoder
from tensortab.op import Tensor, buffer_of
from tensortab.ops.attention import causal_bias
from tensortab.session import Session
from tensortab.text.generator import Generator

Array = np.ndarray[Any, Any]

LONGEST = 48  # tokens that are read: more would not be told apart in a picture
BEST = 8  # tokens that may follow


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
class Expected:
    """What a model expects after a token: its best ids and their probabilities, best first."""

    best: tuple[int, ...]
    shares: tuple[float, ...]
    came: float | None  # the probability of what did follow; None after the last token


@dataclass(frozen=True)
class Reading:
    """A text's tokens, what was expected after each, and its layers."""

    ids: list[int]
    left: int  # tokens of the text that were not read
    layers: list[Layer]
    expected: list[Expected]


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
        layers = [await _layer(session, found[i], t) for i, t in enumerate(attends)]
    finally:
        session.destroy()
    model.held = ids
    return Reading(ids, len(whole) - len(ids), layers, expectations(found[-1], ids))


def expectations(logits: Array, ids: Sequence[int]) -> list[Expected]:
    """What logits [T, vocab] expect after each token."""
    found = []
    for row, after in zip(logits, [*ids[1:], None], strict=True):
        shares = _softmax(row.astype(np.float64))
        best = np.argsort(-shares, kind="stable")[:BEST]
        came = None if after is None else float(shares[after])
        found.append(Expected(tuple(best.tolist()), tuple(shares[best].tolist()), came))
    return found


def _graph(model: Generator) -> tuple[Graph, list[Tensor]]:
    """The scores' graph with each layer's queries as outputs before them; its attention ops."""
    rows = tt.Sym("rows", model.scorer.rows, min=1)
    graph, _ = decoder.build(
        model.config, model.scorer.recipe, rows=rows, scores=True, most=model.scorer.most
    )
    logits = graph.outputs.pop("logits")
    attends = [t for t in order([logits]) if t.op is tt.ops.attend]
    for i, attend in enumerate(attends):
        graph.output(f"queries {i}", attend.args[0])
    graph.output("logits", logits)
    return graph, attends


async def _fed(session: Session, ids: Sequence[int], rows: int) -> list[Array]:
    """Each output of all tokens: the layers' queries [T, heads, head_dim], logits [T, vocab]."""
    session.truncate(pos=0)
    parts = [await session.run(ids=[ids[at : at + rows]]) for at in range(0, len(ids), rows)]
    *queries, logits = (list(a) for a in zip(*(p.values() for p in parts), strict=True))
    return [*(np.concatenate([a[0] for a in layer]) for layer in queries), np.concatenate(logits)]


async def _layer(session: Session, queries: Array, attend: Tensor) -> Layer:
    """A layer by its attention op: its keys are the first rows of its cache."""
    state = session.state(buffer_of(attend.args[1]).name)
    _, _, kv_heads, width = state.held.spec.at({})
    dtype, count = np.dtype(state.held.spec.dtype), len(queries)
    # No more is read back than was written: a cache may hold thousands of rows.
    data = await state.backend.read(state.held.buffer, count * kv_heads * width * dtype.itemsize)
    keys = np.frombuffer(data, dtype).reshape(count, kv_heads, width)
    scale = attend.kwargs["scale"]
    return Layer(queries, keys, width**-0.5 if scale is None else scale, attend.kwargs["window"])


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))
