"""Scaled dot-product attention without a cache: softmax(q·kᵀ·scale + mask) · v.

Vaswani et al., arXiv 1706.03762. A composite of bmm, mul, add and softmax.
"""

from __future__ import annotations

from ..op import Tensor
from .elementwise import add, mul
from .matmul import bmm
from .norm import softmax


def sdpa(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *, scale: float | None = None
) -> Tensor:
    """Attend from every row of q to every row of k, in both directions.

    q, k, v are float32 [B, heads, S, head_dim] (k and v may have another S than q). `mask` is
    additive and broadcasts to [B, heads, S, S_k]: 0 where a key counts, −∞ or a large negative
    number where not. `scale` is 1/√head_dim unless given.
    """
    head_dim = q.shape[-1]
    assert isinstance(head_dim, int)
    scores = mul(bmm(q, k, transposed=True), head_dim**-0.5 if scale is None else scale)
    if mask is not None:
        scores = add(scores, mask)
    return bmm(softmax(scores), v)
