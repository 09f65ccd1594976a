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

Three dispatches: scores penalized and the best of each chunk of them, as argmax has it (narrow has
argmax's second pass, too); distances and masses; the draw. What else a decoder's step does is part
of them (next_token.py).
"""

from __future__ import annotations

import numpy as np

from ..dim import Dim, ceildiv, product
from ..errors import ShapeError
from ..kernel import Kernel, load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from . import sampling
from .argmax import STRATEGIES, best_of_chunks, best_of_pairs, choose, kernel_for
from .layout import require_float32, require_strategy, rows_of

_MASSES = load("sample_masses")
_SAMPLE = load("sample")
_MARK = load("mark")
_GROUPS = 512  # of tokens, in a row, at most: as many as the kernel has bins


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


def _share(n: int, most: int) -> int:
    """The least power of two that makes `most` shares or fewer of n."""
    return 1 << (-(-n // most) - 1).bit_length()


def _kernels(target: Target, strategy: str, v: int) -> tuple[Kernel, Kernel, Kernel]:
    """Of the three steps, their shares of a row set."""
    best, quads = kernel_for(strategy), _share(v, 4 * _GROUPS)
    if strategy == "narrow":
        quads = max(quads, 32)
    masses, draw = _MASSES.specialise(QUADS=quads), _SAMPLE.specialise(QUADS=quads)
    if strategy == "wide":
        # The masses' kernel looks at all chunks again and again.
        best = best.specialise(LANES=256, CHUNK=max(1024, _share(v, 256)))
        across = min(quads, 64)
        masses = masses.specialise(LANES=across, GROUPS=64 // across)
        most = target.limits["maxComputeInvocationsPerWorkgroup"]
        return best, masses, draw.specialise(LANES=512 if most >= 512 else 256)
    # Mesa's llvmpipe ends an invocation after 65,535 turns of its loops. One takes 16 tokens, and
    # there are 8 passes; the rest is for the bins, and for lists with few tokens.
    lanes = min(max(4, _share(v, 65536)), 256)
    masses = masses.specialise(LANES=1, GROUPS=16)
    return best, masses, draw.specialise(LANES=lanes, LIST=128, WIDE=32)


def steps(
    target: Target,
    token: Tensor,
    logits: Tensor,
    settings: Tensor,
    position: Tensor,
    seen: Tensor | None,
    strategy: str | None,
    *,
    step: bool,
) -> list[Dispatch]:
    """The dispatches that fill `token`.

    With `step` they also flag what it held as seen, before drawing, and move `position` on.
    """
    rows, v = rows_of(logits), logits.shape[-1]
    assert isinstance(v, int)
    chosen = choose(target, strategy)
    best, masses, draw = _kernels(target, chosen, v)
    scores, given = logits, dict[str, Tensor | Dim]()
    state = [Tensor(Spec((1,), "uint32")) for _ in range(2)]  # unused
    if seen is not None:
        best = best.specialise(SEEN=True, FED=step)
        scores, flags = Tensor(logits.spec), product(seen.shape)
        given = {"seen": seen, "settings": settings, "scores": scores, "flags": flags}
        given["fed"] = token if step else logits
        state = [seen, position] if step else state
    first, pairs = best_of_chunks(target, best, logits, **given)
    found = [first]
    if chosen == "narrow":
        most = Tensor(Spec((rows, 1, 2), "uint32"))
        found.append(best_of_pairs(target, kernel_for(chosen), most, pairs))
        pairs = most

    quads, groups = ceildiv(v, 4), ceildiv(v, 4 * masses["QUADS"])
    shared: dict[str, Tensor | Dim] = {
        "away": Tensor(Spec((rows, 4 * quads), "uint32")),
        "mass": Tensor(Spec((rows, 4 * quads), "uint32")),
        "known": Tensor(Spec((rows, groups, 4), "uint32")),
        "picked": Tensor(Spec((rows, 2), "uint32")),
        "settings": settings,
        "rows": rows,
        "V": v,
    }
    grid = fold(target, ceildiv(rows * groups + rows, masses["GROUPS"]))
    read = {"scores": scores, "best": pairs, "position": position, "chunks": pairs.shape[1]}
    found.append(dispatch(masses, grid, **shared, **read))
    last = {"token": token, "seen": state[0], "position": state[1]}
    found.append(dispatch(draw.specialise(STEP=step), fold(target, rows), **shared, **last))
    return found


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
    return steps(target, y, logits, settings, position, seen, strategy, step=False)


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
