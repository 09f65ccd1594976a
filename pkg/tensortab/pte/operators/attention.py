"""Attention, caches and rotary position embedding."""

from __future__ import annotations

import math

from ... import ops
from ...dim import Dim, minimum, product
from ...op import Tensor
from ..registry import Call, operator

_WHOLE = 4  # head_dim is a multiple of it in the fused kernels, and no larger than …
_LARGEST = 256


@operator("et_vk.sdpa.default")
def _sdpa(
    call: Call, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None
) -> Tensor:
    width = q.shape[-1] if q.shape else 0
    if not isinstance(width, int) or width < 1:
        raise call.malformed(f"q is {q.spec}, expected [B, heads, S, D]")
    mask = None if mask is None else _additive(mask)
    if width % _WHOLE == 0 and width <= _LARGEST and len(q.shape) == 4 and k.spec == v.spec:
        return ops.sdpa(q, k, v, mask, scale=scale)
    scores = ops.mul(ops.bmm(q, k, transposed=True), scale or width**-0.5)
    return ops.bmm(ops.softmax(scores if mask is None else ops.add(scores, mask)), v)


@operator("sdpa_with_kv_cache.default", mutates=(3, 4))
def _sdpa_with_kv_cache(
    call: Call,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    start: Dim,
    _rows: Dim,  # 1 after ExecuTorch's fusion, whatever q has
    mask: Tensor | None,
    dropout: float,
    causal: bool,
    scale: float | None,
) -> Tensor:
    if dropout or causal is not (mask is None):
        raise call.unsupported(
            f"mask {mask!r}, dropout {dropout}, is_causal {causal}, expected a mask or is_causal,"
            " and no dropout"
        )
    pos = call.scalar(start)
    k_all, v_all = ops.update_cache(k_cache, k, pos), ops.update_cache(v_cache, v, pos)
    call.update(3, k_all)
    call.update(4, v_all)
    if mask is None:
        return ops.attend(q, k_all, v_all, pos, scale=scale)
    # The rows of the caches in use; a mask may be as wide as they are, or as the caches.
    end = minimum(start + q.shape[1], k_cache.shape[1])
    k_used, v_used = (ops.slice(t, 1, 0, end) for t in (k_all, v_all))
    seen = ops.slice(_additive(mask), -1, 0, end)
    return ops.sdpa(q, k_used, v_used, seen, scale=scale, layout="bshd")


def _additive(mask: Tensor) -> Tensor:
    """A mask to add: of bools 0 where a key is seen, −∞ where not."""
    if mask.dtype != "bool":
        return mask
    return ops.where(mask, ops.full((), 0.0), ops.full((), -math.inf))


@operator("update_cache.default", mutates=(1,))
def _update_cache(call: Call, value: Tensor, cache: Tensor, start: Dim) -> Tensor:
    # ExecuTorch's runtime has these limits; what it turns away is not to pass here unnoticed.
    if call.stored[1] != "float32" or cache.shape[0] != 1:
        raise call.unsupported(f"cache is {call.stored[1]}{list(cache.shape)}, expected float32 and"
                               " a batch of 1")  # fmt: skip
    call.update(1, ops.update_cache(cache, value, call.scalar(start)))
    return ops.full((1,), 0.0, call.out.dtype)


@operator("et_vk.apply_rotary_emb.default")
def _rotary(call: Call, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
    return tuple(_turn(x, cos, sin) for x in (q, k))


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs (2j, 2j + 1) of x [B, S, H, D] turned by the angles of their row, [S, D/2]."""
    tables = [ops.reshape(t, (product(t.shape[:-1]), *t.shape[-1:])) for t in (cos, sin)]
    return ops.apply_rotary_emb(x, tables[0], tables[1], 0, interleaved=True)


@operator("et_vk.apply_rotary_emb_interleaved.default")
def _rotary_interleaved(call: Call, x: Tensor, angles: Tensor) -> Tensor:
    if len(x.shape) != 3:
        raise call.malformed(f"x is {x.spec}, expected [B, N, C]")
    batch, rows, width = x.shape
    flat = ops.reshape(angles, (rows, width))
    cos, sin = (ops.slice(flat, 1, first, None, 2) for first in (0, 1))
    turned = _turn(ops.reshape(x, (batch, rows, 1, width)), cos, sin)
    return ops.reshape(turned, x.shape)


@operator("et_vk.apply_rotary_emb_hf.default")
def _rotary_hf(
    call: Call, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, start: Dim
) -> tuple[Tensor, ...]:
    return tuple(_rotated(call, x, cos, sin, start) for x in (q, k))


def _rotated(call: Call, x: Tensor, cos: Tensor, sin: Tensor, start: Dim) -> Tensor:
    """Give x · cos + (−x₂, x₁) · sin: halves of the first R of D elements; the rest stays.

    The tables [positions, R] have an angle for each element, so the halves' may differ.
    """
    if len(x.shape) != 4 or len(cos.shape) != 2 or cos.spec != sin.spec:
        raise call.malformed(f"x is {x.spec}, cos is {cos.spec}, sin is {sin.spec}")
    rows, width, turned = x.shape[1], x.shape[3], cos.shape[1]
    if not isinstance(turned, int) or not isinstance(width, int) or turned % 2 or turned > width:
        raise call.malformed(f"cos is {cos.spec}, expected an even R of at most {width}")
    cos, sin = (
        ops.reshape(ops.slice(t, 0, start, start + rows), (rows, 1, turned)) for t in (cos, sin)
    )
    part = ops.slice(x, 3, 0, turned)
    first, second = ops.slice(part, 3, 0, turned // 2), ops.slice(part, 3, turned // 2)
    across = ops.concat(ops.neg(second), first)
    y = ops.add(ops.mul(part, cos), ops.mul(across, sin))
    return y if turned == width else ops.concat(y, ops.slice(x, 3, turned))
