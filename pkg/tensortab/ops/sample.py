"""A token drawn on the GPU from each row of logits, and the flags of what was seen.

sample  y[…] ~ softmax(logits[…, :]) under the settings; the definition is in sampling.py
    logits    float32 […, V], finite or −∞ but one at least finite (a row of −∞ gives its first)
    settings  uint32 [8], Sampling(…).encode(): an input or a state, so it may change at any run
    position  int32 [1], a live scalar: with the seed and the row's number it decides what is drawn
    seen      int32 [V], or the shape of logits; tokens with another flag than 0 are penalized
    y         int32 […]: the same for the same arguments on every device

mark  seen := seen with 1 at every id, in place
    seen      int32 [V], or [B, V]
    ids       int32 […] for a seen of [V], [B, …] for one of [B, V]; ids outside of V mark nothing

Strategies of sample, `lower`'s choice unless one is named:

    narrow  as few invocations a row as finish; the choice for software, where barriers are dear
    wide    256 invocations a row, 512 where the device takes them
"""

from __future__ import annotations

import numpy as np

from ..dim import ceildiv, product
from ..errors import ShapeError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from . import sampling
from .argmax import STRATEGIES, choose, passes
from .layout import require_float32, require_strategy, rows_of

_PENALIZE = load("penalize")
_MASSES = load("sample_masses")
_SAMPLE = load("sample")
_MARK = load("mark")
_GROUP = 256  # tokens whose nearest the kernels know


def _shape(
    logits: Tensor,
    settings: Tensor,
    position: Tensor,
    seen: Tensor | None = None,
    *,
    strategy: str | None = None,
) -> Spec:
    require_float32("sample", logits=logits)
    require_strategy("sample", strategy, STRATEGIES)
    v = logits.shape[-1] if logits.shape else 0
    if not isinstance(v, int) or not 1 <= v <= sampling.FAR:
        raise ShapeError(
            f"sample: logits is {logits.spec}, expected […, V] with V from 1 to 2**27 - 1"
        )
    want = Spec((sampling.WORDS,), "uint32")
    if settings.spec != want:
        raise ShapeError(f"sample: settings is {settings.spec}, expected {want} (Sampling.encode)")
    if position.spec != Spec((1,), "int32"):
        raise ShapeError(f"sample: position is {position.spec}, expected int32[1], a live scalar")
    if seen is not None and (seen.dtype != "int32" or seen.shape not in ((v,), logits.shape)):
        raise ShapeError(
            f"sample: seen is {seen.spec}, expected int32[{v}] or the shape of logits,"
            f" {logits.spec}"
        )
    return Spec(logits.shape[:-1], "int32")


def _reference(
    logits: Array,
    settings: Array,
    position: Array,
    seen: Array | None = None,
    *,
    strategy: str | None = None,
) -> Array:
    scores = logits
    if seen is not None:
        penalty, inverse = settings[6:8].view(np.float32)
        scores = np.where(seen != 0, logits * np.where(logits > 0, inverse, penalty), logits)
    rows = scores.reshape(-1, logits.shape[-1])
    return sampling.draw(rows, settings, int(position[0])).reshape(logits.shape[:-1])


def _lanes(target: Target, strategy: str, v: int) -> int:
    """Invocations a row, a power of two up to the kernel's 512."""
    if strategy == "wide":
        return 512 if target.limits["maxComputeInvocationsPerWorkgroup"] >= 512 else 256
    # Mesa's llvmpipe ends an invocation after 65,535 turns of its loops. One takes 16 tokens, and
    # there are 8 passes; the rest is for the walks over bins.
    return min(max(4, 1 << (-(-v // 65536) - 1).bit_length()), 256)


def _lower(
    target: Target,
    y: Tensor,
    logits: Tensor,
    settings: Tensor,
    position: Tensor,
    seen: Tensor | None = None,
    *,
    strategy: str | None = None,
) -> list[Dispatch]:
    steps, scores = [], logits
    if seen is not None:
        scores, n = Tensor(logits.spec), product(logits.shape)
        steps.append(
            dispatch(
                _PENALIZE,
                fold(target, ceildiv(n, _PENALIZE["WIDTH"])),
                x=logits,
                seen=seen,
                settings=settings,
                y=scores,
                n=n,
                flags=product(seen.shape),
            )
        )
    rows, v = rows_of(logits), logits.shape[-1]
    assert isinstance(v, int)
    best = Tensor(Spec(logits.shape[:-1], "uint32"))
    away, mass = (Tensor(Spec((rows, -(-v // 4) * 4), "uint32")) for _ in range(2))
    groups = rows * -(-v // _GROUP)
    nearest = Tensor(Spec((groups,), "uint32"))
    chosen = choose(target, strategy)
    steps += passes(target, best, scores, strategy)
    given = {"likeliest": best, "settings": settings}
    shared = {**given, "away": away, "mass": mass, "nearest": nearest}
    alone = {"LANES": 1, "GROUPS": 16} if chosen == "narrow" else {}
    masses = _MASSES.specialise(**alone)
    grid = fold(target, ceildiv(groups, masses["GROUPS"]))
    steps.append(dispatch(masses, grid, scores=scores, **shared, rows=rows, V=v))
    kernel = _SAMPLE.specialise(LANES=_lanes(target, chosen, v))
    draw = {"position": position, "token": y}
    steps.append(dispatch(kernel, fold(target, rows), **shared, **draw, rows=rows, V=v))
    return steps


sample = Op("sample", _shape, _reference, _lower)


def _mark_shape(seen: Tensor, ids: Tensor) -> Spec:
    if seen.dtype != "int32" or len(seen.shape) not in (1, 2):
        raise ShapeError(f"mark: seen is {seen.spec}, expected int32[V] or int32[B, V]")
    if ids.dtype != "int32" or ids.shape[: len(seen.shape) - 1] != seen.shape[:-1]:
        rows = f"[{seen.shape[0]}, …]" if len(seen.shape) > 1 else "[…]"
        raise ShapeError(f"mark: ids is {ids.spec}, expected int32{rows} (seen is {seen.spec})")
    return seen.spec


def _mark_reference(seen: Array, ids: Array) -> Array:
    out = seen.reshape(-1, seen.shape[-1]).copy()
    for row, mine in zip(out, ids.reshape(len(out), -1), strict=True):
        row[mine[(mine >= 0) & (mine < len(row))]] = 1
    return out.reshape(seen.shape)


def _mark_lower(target: Target, y: Tensor, seen: Tensor, ids: Tensor) -> list[Dispatch]:
    count = product(ids.shape)
    each = count // product(seen.shape[:-1])
    grid = fold(target, ceildiv(count, _MARK["WIDTH"]))
    return [dispatch(_MARK, grid, ids=ids, seen=y, count=count, each=each, V=seen.shape[-1])]


mark = Op("mark", _mark_shape, _mark_reference, _mark_lower, writes=0)
