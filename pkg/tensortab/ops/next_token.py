"""next_token: a decoder's step from the logits to the next step, in the dispatches of `sample`.

    token     int32 of one element, a state: the token that was fed; becomes the one that follows
    logits    float32 [1, V]
    settings  uint32 [8], Sampling(…).encode()
    pos       the live scalar of the fed token's position; becomes pos + 1
    seen      int32 [V], a state; the fed token is flagged, then what is flagged is penalized

The same as

    chosen = sample(logits, settings, pos, mark(seen, token))
    assign(token, chosen), advance(pos)

whose kernels' work its last dispatch does beside its own. A token fed from outside of the
vocabulary flags nothing.
"""

from __future__ import annotations

from ..dim import Dim, upper
from ..errors import ShapeError
from ..op import Array, Dispatch, Op, Spec, Tensor
from ..target import Target
from .layout import rows_of
from .sample import mark, sample, steps


def _shape(
    token: Tensor,
    logits: Tensor,
    settings: Tensor,
    pos: Tensor,
    seen: Tensor,
    *,
    strategy: str | None = None,
) -> Spec:
    sample.shape(logits, settings, pos, seen, strategy=strategy)
    _ = pos.dim
    if token.spec.nbytes != 4 or token.dtype != "int32" or upper(rows_of(logits)) != 1:
        raise ShapeError(
            f"next_token: token is {token.spec}, logits is {logits.spec}, expected int32[1] and"
            " one row"
        )
    return token.spec


def _reference(
    token: Array,
    logits: Array,
    settings: Array,
    pos: Array,
    seen: Array,
    *,
    strategy: str | None = None,
) -> tuple[Array, Array, Array]:
    flagged = mark.reference(seen, token)
    chosen = sample.reference(logits, settings, pos, flagged)
    return chosen.reshape(token.shape), pos + 1, flagged


def _lower(
    target: Target,
    y: Tensor,
    token: Tensor,
    logits: Tensor,
    settings: Tensor,
    pos: Tensor,
    seen: Tensor,
    *,
    strategy: str | None = None,
) -> list[Dispatch]:
    return steps(target, y, logits, settings, pos, seen, strategy, step=True)


def _becomes(
    token: Tensor,
    logits: Tensor,
    settings: Tensor,
    pos: Tensor,
    seen: Tensor,
    *,
    strategy: str | None = None,
) -> Dim:
    return pos.dim + 1


next_token = Op(
    "next_token", _shape, _reference, _lower, writes=0, updates=(3, 4), becomes=(3, _becomes)
)
