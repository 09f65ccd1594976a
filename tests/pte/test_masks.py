"""Attention with an explicit mask, over keys as given and over a cache."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

import harness
import tensortab as tt
from calls import Evaluated, agree, normal, tensor
from close import assert_close
from tensortab.errors import UnsupportedError
from tensortab.pte.blob import Blob, Call, SymInt
from tensortab.pte.build import build

SEEN = np.random.default_rng(0).random((3, 8)) < 0.7
SEEN[:, 0] = True
HEADS = (1, 3, 4, 8), (1, 8, 2, 8)  # q, and a cache of fewer heads


@pytest.mark.parametrize("width", [8, 6])  # fused, and of single ops
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_sdpa(both: Evaluated, width: int, kind: str) -> None:
    q, k, v = normal(1, 2, 3, width), normal(1, 2, 8, width), normal(1, 2, 8, width) + 1
    mask = SEEN if kind == "bool" else normal(3, 8)
    want = F.scaled_dot_product_attention(*map(torch.from_numpy, (q, k, v, mask)))
    agree(both("et_vk.sdpa.default", [q, k, v, mask, None], [want.numpy()]), want)


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("columns", [5, 8])  # those in use, or as many as the cache has rows
def test_over_a_cache(native: harness.Native, live: bool, columns: int) -> None:
    """Two rows are there; three more see what the mask lets them see."""
    q, cache = (normal(*shape) for shape in HEADS)
    k, v = normal(1, 3, 2, 8), normal(1, 3, 2, 8) + 1
    past, first = np.array([2], np.int32), cache.copy()
    mask = np.where(SEEN[:, :columns], 0, -np.inf).astype(np.float32)
    arrays = [past, q, k, v, first, first * 2, mask]
    values = [*map(tensor, arrays), 0, 0, SymInt(2), 1, 0.0, False, None, tensor(q), 2]
    start = 9 if live else 15
    given = (1, 2, 3, 4, 5, start, 10, 6, 11, 12, 13, 14)
    calls = [Call("sdpa_with_kv_cache.default", given)]
    if live:
        calls.insert(0, Call("et_vk.select_as_symint.default", (0, 7, 8, 9)))
    shapes = tuple(a.shape for a in arrays)
    made = build("test.pte", "", Blob(tuple(calls), tuple(values), (*range(7),), (14,)), shapes)
    named = dict(zip(made.inputs, arrays, strict=True))
    got = native.run(made.graph, **named)["out0"]
    assert_close(got, tt.evaluate(made.graph, **named)["out0"], atol=2e-6, rtol=1e-5)
    heads = [
        np.concatenate([c[:, :2], t], 1).swapaxes(1, 2) for c, t in ((first, k), (2 * first, v))
    ]
    turned = (q.swapaxes(1, 2), *(np.repeat(h, 2, 1) for h in heads), mask[:, :5])
    want = F.scaled_dot_product_attention(*map(torch.from_numpy, turned)).numpy().swapaxes(1, 2)
    assert_close(got, want, atol=2e-6, rtol=1e-5)


def test_a_mask_or_causal() -> None:
    q, cache = (normal(*shape) for shape in HEADS)
    arrays = [q, cache[:, :3], cache[:, :3], cache, cache, normal(3, 8)]
    for mask, causal, dropout in ((5, True, 0.0), (8, False, 0.0), (8, True, 0.5)):
        values: list[Any] = [*map(tensor, arrays), 0, 1, None, dropout, causal, None, tensor(q)]
        call = Call("sdpa_with_kv_cache.default", (0, 1, 2, 3, 4, 6, 7, mask, 9, 10, 11, 12))
        with pytest.raises(UnsupportedError, match=r"expected a mask or is_causal, and no dropout"):
            build("t.pte", "", Blob((call,), tuple(values), (*range(6),), (12,)),
                  tuple(a.shape for a in arrays))  # fmt: skip
