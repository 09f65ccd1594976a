"""Attention by a GPU's matrix units, where the browser has them; float16 products, float32 sums."""

import functools

import numpy as np
import pytest
from test_attention import operands, torch_sdpa
from test_cached_attention import Arrays, cached, feeds, goldens, on, play, tokens

import harness
import tensortab as tt
from close import assert_close, graph_of, leaf
from tensortab.errors import UnsupportedError
from tensortab.plan import plan
from tensortab.target import Target

NEAR = 2e-3  # of the largest magnitude


def assert_near(got: np.ndarray, want: np.ndarray, near: float = NEAR) -> None:
    assert_close(got, want, atol=near * float(np.abs(want).max()), rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "d", "size", "batch", "window", "sizes"),
    [
        (4, 2, 64, 330, 1, None, (64, 200, 1, 65)),
        (2, 2, 16, 90, 2, None, (1, 70, 19)),
        (6, 2, 80, 140, 1, None, (33, 100)),
        (8, 1, 128, 150, 1, None, (97, 50, 3)),
        (4, 2, 64, 300, 1, 1, (70, 5, 200)),  # only itself
        (4, 4, 32, 300, 1, 100, (90, 9, 150, 51)),  # up to the window, and past it
        (4, 2, 128, 200, 1, 9, (120, 70)),  # rows of a tile that share no key
    ],
)
def test_prefill_in_pieces(
    matrices: harness.Tab,
    heads: int,
    kv_heads: int,
    d: int,
    size: int,
    batch: int,
    window: int | None,
    sizes: tuple[int, ...],
    dtype: str,
) -> None:
    a = tokens(heads, kv_heads, d, size, batch)
    build = functools.partial(cached, heads, kv_heads, d, size, batch, rows=max(sizes))
    graph = build(strategy="matrix", window=window, dtype=dtype)
    limit = {} if window is None else {"window": window}
    (found,) = on(matrices, play, [graph], feeds(a, sizes))
    for got, want in zip(found, goldens(a, sizes, **limit), strict=True):
        assert_near(got, want)


@pytest.mark.parametrize("factor", [1, 20])
def test_scores_that_grow_from_key_to_key(matrices: harness.Tab, factor: int) -> None:
    """Sums are rescaled again and again, each row's by a factor of its own."""
    a = tokens(4, 2, 64, 400)
    a["k"] = np.sort(a["k"], axis=1)
    a["q"] = np.abs(a["q"]) * np.linspace(0, factor, 400, dtype=np.float32)[:, None, None]
    sizes = (300, 100)
    graph = cached(4, 2, 64, 400, rows=300, strategy="matrix", dtype="float16")
    (found,) = on(matrices, play, [graph], feeds(a, sizes))
    halves = a | {n: a[n].astype(np.float16).astype(np.float32) for n in "kv"}
    for got, want in zip(found, goldens(halves, sizes), strict=True):
        assert_near(got, want, 1e-2 if factor > 1 else NEAR)


PLAIN: list[tuple[Arrays, dict[str, object]]] = [
    (operands(2, 6, 2, 37, 66, 80), {"scale": 0.3}),
    (operands(1, 4, 1, 133, 133, 32), {"causal": True}),
    (operands(1, 2, 2, 140, 3, 16), {"causal": True}),
    (operands(2, 2, 2, 65, 200, 64), {}),
]


@pytest.mark.parametrize(("a", "options"), PLAIN)
def test_torch_is_device(matrices: harness.Tab, a: Arrays, options: dict[str, object]) -> None:
    named = dict(options)
    want = torch_sdpa(a, is_causal=named.pop("causal", False), **named)
    for layout in ("bhsd", "bshd"):
        given = {n: x if layout == "bhsd" else np.swapaxes(x, 1, 2) for n, x in a.items()}
        attend = functools.partial(tt.ops.sdpa, layout=layout, strategy="matrix", **options)
        got = matrices.run(graph_of(attend, given), **given)["y"]
        assert_near(got if layout == "bhsd" else got.swapaxes(1, 2), want)


def test_it_is_chosen_where_it_is_there() -> None:
    def kernels(target: Target, d: int = 64, rows: int = 64) -> list[str]:
        return [s.kernel.name for s in plan(cached(4, 2, d, 90, rows=rows), target).steps][2:]

    there = Target("browser", matrices=True)
    assert kernels(there) == kernels(there, d=128) == ["sdpa_matrix"]
    assert kernels(Target("browser")) == ["sdpa_tile"]
    assert kernels(there, d=72) == kernels(there, d=256) == kernels(there, rows=63) == ["sdpa_tile"]
    assert kernels(Target("browser", matrices=True, software=True)) == ["sdpa_row"]
    masked = graph_of(tt.ops.sdpa, operands(1, 2, 2, 64, 64, 64, (64, 64)))
    assert [s.kernel.name for s in plan(masked, there).steps] == ["sdpa_tile"]


def test_what_it_does_not_take() -> None:
    q, k = leaf((1, 4, 64, 72)), leaf((1, 4, 64, 64))
    refused = "the strategy 'matrix' takes no mask and a head_dim .* 128 at most; it is"
    with pytest.raises(UnsupportedError, match=f"sdpa: {refused} 72$"):
        tt.ops.sdpa(q, q, q, strategy="matrix")
    with pytest.raises(UnsupportedError, match=f"attend: {refused} 256$"):
        tt.ops.attend(*[leaf((1, 64, 4, 256))] * 3, 0, strategy="matrix")
    with pytest.raises(UnsupportedError, match=f"sdpa: {refused} 64, with a mask"):
        tt.ops.sdpa(k, k, k, leaf((64, 64)), strategy="matrix")
