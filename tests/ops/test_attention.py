"""Attention without a cache, against torch in float64: natively and in Chrome."""

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, leaf, reference
from tensortab.errors import ShapeError, UnsupportedError

CLOSE = {"atol": 1e-4, "rtol": 0.0}


Arrays = dict[str, np.ndarray]


def operands(
    b: int, heads: int, kv_heads: int, s: int, keys: int, d: int, mask: tuple[int, ...] = ()
) -> Arrays:
    """q, k, v as torch lays them out, and a mask of that shape with −∞ in it."""
    r = np.random.default_rng([b, heads, s, keys, d])
    q, k, v = (
        r.standard_normal((b, h, n, d), np.float32)
        for h, n in ((heads, s), (kv_heads, keys), (kv_heads, keys))
    )
    bias = r.standard_normal(mask or (1,), np.float32)
    bias = np.where(r.random(bias.shape) < 0.3, -np.inf, bias).astype(np.float32)
    bias[..., :1] = 0  # no row is masked entirely: torch gives NaN there
    return {"q": q, "k": k, "v": v} | ({"mask": bias} if mask else {})


def torch_sdpa(a: Arrays, **options: object) -> np.ndarray:
    q, k, v = (torch.from_numpy(a[n]).double() for n in "qkv")
    mask = torch.from_numpy(np.atleast_2d(a["mask"])).double() if "mask" in a else None
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(q, k, v, attn_mask=mask, enable_gqa=True, **options).numpy()


PLAIN = [
    (operands(1, 1, 1, 1, 1, 4), {}),
    (operands(2, 3, 3, 5, 7, 8, (2, 1, 1, 7)), {}),
    (operands(2, 6, 2, 37, 66, 80, (6, 37, 66)), {"scale": 0.3}),
    (operands(1, 4, 1, 33, 33, 32), {"causal": True}),
    (operands(1, 2, 2, 40, 3, 16), {"causal": True}),
    (operands(1, 4, 2, 3, 70, 256, (70,)), {}),
    (operands(2, 2, 1, 34, 40, 68, (34, 1)), {}),
]


@pytest.mark.parametrize(("a", "options"), PLAIN)
@pytest.mark.parametrize("strategy", ["row", "tile"])
def test_torch_is_device(
    device: harness.Device, a: Arrays, options: dict[str, object], strategy: str
) -> None:
    named = dict(options)
    want = torch_sdpa(a, is_causal=named.pop("causal", False), **named)
    assert_close(reference(lambda **t: tt.ops.sdpa(**t, **options), a), want, **CLOSE)

    def turned(
        q: tt.Tensor, k: tt.Tensor, v: tt.Tensor, mask: tt.Tensor | None = None
    ) -> tt.Tensor:
        return tt.ops.sdpa(q, k, v, mask, layout="bshd", strategy=strategy, **options)

    g = graph_of(lambda **t: tt.ops.sdpa(**t, strategy=strategy, **options), a)
    rows_first = {n: np.swapaxes(x, 1, 2) if n != "mask" else x for n, x in a.items()}
    assert_close(device.run(g, **a)["y"], want, **CLOSE)
    got = device.run(graph_of(turned, rows_first), **rows_first)["y"]
    assert_close(got.swapaxes(1, 2), want, **CLOSE)


@pytest.mark.parametrize("strategy", ["row", "tile"])
@pytest.mark.parametrize("masked", [4, 66])
def test_a_sentence_of_padding_gives_zeros(
    device: harness.Device, strategy: str, masked: int
) -> None:
    """Where torch gives NaN, or zeros, as its backend likes."""
    a = operands(2, 2, 2, 3, masked, 8, (2, 1, 1, masked))
    a["mask"][1] = -np.inf

    def build(**t: tt.Tensor) -> tt.Tensor:
        return tt.ops.sdpa(**t, strategy=strategy)

    assert_agrees(device, build, a, atol=1e-5)
    assert not device.run(graph_of(build, a), **a)["y"][1].any()
    a["mask"][1] = -1e9  # finite, so large that float32 forgets the scores: all keys count alike
    got = device.run(graph_of(build, a), **a)["y"][1]
    assert_close(got, np.broadcast_to(a["v"][1].mean(1, keepdims=True), got.shape), **CLOSE)


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 35), (2, 4)])
@pytest.mark.parametrize("strategy", ["row", "tile"])
def test_symbolic_sizes(device: harness.Device, batch: int, length: int, strategy: str) -> None:
    b, s = tt.Sym("batch", 3, min=1), tt.Sym("length", 40, min=1)
    shapes = dict.fromkeys("qkv", (b, 2, s, 8)) | {"mask": (b, 1, 1, s)}
    a = operands(batch, 2, 2, length, length, 8, (batch, 1, 1, length))
    assert_agrees(
        device, lambda **t: tt.ops.sdpa(**t, strategy=strategy), a, shapes=shapes, atol=1e-5
    )


def test_operands_that_do_not_fit() -> None:
    q, k = leaf((1, 6, 5, 32)), leaf((1, 2, 7, 32))
    with pytest.raises(ShapeError, match=r"sdpa: q is .*, v is float32\[1, 2, 6, 32\], expected"):
        tt.ops.sdpa(q, k, leaf((1, 2, 6, 32)))
    with pytest.raises(ShapeError, match=r"q has 6 heads, k and v have 4, expected a divisor of 6"):
        tt.ops.sdpa(q, leaf((1, 4, 7, 32)), leaf((1, 4, 7, 32)))
    with pytest.raises(UnsupportedError, match="head_dim is 30, expected a multiple of 4 from 4"):
        tt.ops.sdpa(*[leaf((1, 2, 3, 30))] * 3)
    with pytest.raises(UnsupportedError, match="head_dim is 260"):
        tt.ops.sdpa(*[leaf((1, 2, 3, 260))] * 3)
    with pytest.raises(
        ShapeError, match=r"mask is float32\[5, 6\], .* broadcast to \[1, 6, 5, 7\]"
    ):
        tt.ops.sdpa(q, k, k, leaf((5, 6)))
    with pytest.raises(
        ShapeError, match=r"mask is float32\[1, 1, 1, 5, 7\], expected to broadcast"
    ):
        tt.ops.sdpa(q, k, k, leaf((1, 1, 1, 5, 7)))
    with pytest.raises(UnsupportedError, match="sdpa: strategy is 'split', expected one of row, t"):
        tt.ops.sdpa(q, k, k, strategy="split")
    with pytest.raises(UnsupportedError, match=r"layout is 'sbhd', expected one of .'bhsd', 'b"):
        tt.ops.sdpa(q, k, k, layout="sbhd")
