import math

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_close
from tensortab.errors import ShapeError, UnsupportedError

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
LONGROPE = {
    "rope_type": "longrope",
    "factor": 8.0,
    "original_max_position_embeddings": 64,
    "short_factor": [1.0, 1.1, 1.2, 1.5],
    "long_factor": [1.0, 2.0, 4.0, 8.0],
}


def turned(rotary: int, *, interleaved: bool, positions: int = 8200, live: bool = True) -> tt.Graph:
    """x turned from the position on that `at` holds."""
    g = tt.Graph()
    at = g.input("at", (1,), "int32")
    pos = g.select_as_symint(at, (0,), "pos", max=positions)
    x = g.input("x", (2, tt.Sym("rows", 5, min=1), 3, 20))
    table = tt.ops.rope_table(tt.ops.rope_frequencies(rotary), positions)
    cos, sin = (g.constant(n, t) for n, t in zip(("cos", "sin"), table, strict=True))
    g.output("y", tt.ops.apply_rotary_emb(x, cos, sin, pos if live else 7, interleaved=interleaved))
    return g


def torch_rope(x: np.ndarray, at: int, rotary: int, *, interleaved: bool) -> np.ndarray:
    """Meta's complex product, or Hugging Face's rotate_half, in float64."""
    wide = torch.from_numpy(x).double()
    # Checkpoints are trained with frequencies in float32; angles are exact from there on.
    inverse = (1 / 10000.0 ** (torch.arange(0, rotary, 2).double() / rotary)).float().double()
    angles = torch.outer(torch.arange(at, at + x.shape[1]).double(), inverse)[:, None]
    head, tail = wide[..., :rotary], wide[..., rotary:]
    if interleaved:
        pairs = torch.view_as_complex(head.reshape(*head.shape[:-1], -1, 2))
        turn = torch.polar(torch.ones_like(angles), angles)
        head = torch.view_as_real(pairs * turn).flatten(-2)
    else:
        a, b = head.chunk(2, -1)
        both = torch.cat((angles, angles), -1)
        head = head * both.cos() + torch.cat((-b, a), -1) * both.sin()
    return torch.cat((head, tail), -1).numpy()


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("rotary", [20, 12])  # the whole head, and a part
@pytest.mark.parametrize(("at", "rows"), [(0, 5), (3, 1), (8195, 5)])
def test_torch_is_reference_is_device(
    device: harness.Device, interleaved: bool, rotary: int, at: int, rows: int
) -> None:
    x = np.random.default_rng(at).standard_normal((2, rows, 3, 20), np.float32)
    want = torch_rope(x, at, rotary, interleaved=interleaved)
    graph = turned(rotary, interleaved=interleaved)
    inputs = {"at": np.array([at]), "x": x}
    # float32 frequencies are off by 6e-8 of themselves: at 8199 rad that is 5e-4.
    atol = 1e-5 if at < 10 else 2e-3
    assert_close(tt.evaluate(graph, **inputs)["y"], want, atol=atol, rtol=0)
    assert_close(
        device.run(graph, **inputs)["y"], tt.evaluate(graph, **inputs)["y"], atol=1e-6, rtol=0
    )
    assert_close(device.run(graph, **inputs)["y"], want, atol=atol, rtol=0)


def test_a_position_known_beforehand(device: harness.Device) -> None:
    x = np.random.default_rng(0).standard_normal((2, 2, 3, 20), np.float32)
    got = device.run(turned(20, interleaved=False, live=False), at=np.array([0]), x=x)["y"]
    assert_close(got, torch_rope(x, 7, 20, interleaved=False), atol=1e-5, rtol=0)


def test_past_the_table_is_refused(native: harness.Native) -> None:
    graph = turned(20, interleaved=False, positions=8)
    with pytest.raises(
        ShapeError, match=r"apply_rotary_emb: pos \+ S, .* is pos \+ rows = 9, expected at most 8"
    ):
        native.run(graph, at=np.array([7]), x=np.zeros((2, 2, 3, 20), np.float32))


def test_frequencies() -> None:
    plain = tt.ops.rope_frequencies(8, 500000.0)
    np.testing.assert_allclose(plain, [1, 500000**-0.25, 500000**-0.5, 500000**-0.75], rtol=1e-7)
    assert plain.dtype == np.float32
    half = tt.ops.rope_frequencies(8, 500000.0, {"type": "linear", "factor": 2})
    np.testing.assert_array_equal(half * 2, plain)
    for scaling in ({}, {"rope_type": "default"}, None):
        np.testing.assert_array_equal(tt.ops.rope_frequencies(8, 500000.0, scaling), plain)


def test_llama3_frequencies() -> None:
    """Llama 3.2's, wave by wave: long ones 32 times as long, short ones as they were."""
    plain, scaled = (tt.ops.rope_frequencies(64, 500000.0, s) for s in (None, LLAMA3))
    ramp = 0
    for before, after in zip(plain.tolist(), scaled.tolist(), strict=True):
        wave = 2 * math.pi / before
        if wave < 8192 / 4:
            want = before
        elif wave > 8192 / 1:
            want = before / 32
        else:
            smooth = (8192 / wave - 1) / (4 - 1)
            want = (1 - smooth) * before / 32 + smooth * before
            ramp += 1
        assert math.isclose(after, want, rel_tol=1e-6)
    assert ramp == 3
    named = {n: v for n, v in LLAMA3.items() if n != "rope_type"}
    np.testing.assert_array_equal(tt.ops.rope_frequencies(64, 500000.0, named), scaled)


def in_transformers(
    scaling: dict[str, object], theta: float, head_dim: int, context: int
) -> tuple[np.ndarray, float]:
    """Frequencies and attention factor as transformers computes them."""
    import transformers
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = transformers.LlamaConfig(
        hidden_size=head_dim * 2,
        num_attention_heads=2,
        max_position_embeddings=4096,
        rope_parameters={"rope_theta": theta, **scaling},
    )
    inverse, factor = ROPE_INIT_FUNCTIONS[scaling["rope_type"]](config, seq_len=context)
    return inverse.numpy(), factor


@pytest.mark.parametrize("context", [64, 65])
@pytest.mark.parametrize("change", [{}, {"attention_factor": 1.25}, {"factor": 1.0}])
@pytest.mark.parametrize(("head_dim", "theta"), [(8, 1e4), (8, 1e6), (8, 30.0)])
@pytest.mark.parametrize("name", ["linear", "llama3", "yarn", "longrope"])
def test_scaled_frequencies_are_those_of_transformers(
    name: str, head_dim: int, theta: float, change: dict[str, object], context: int
) -> None:
    linear = {"rope_type": "linear", "factor": 4.0}
    given = {"linear": linear, "llama3": LLAMA3, "yarn": YARN, "longrope": LONGROPE}[name]
    if name in ("linear", "llama3"):
        change = {k: v for k, v in change.items() if k == "factor"}
    scaling = given | change
    want, factor = in_transformers(scaling, theta, head_dim, context)
    got = tt.ops.rope_frequencies(head_dim, theta, scaling, context=context)
    np.testing.assert_allclose(got, want, rtol=2e-6)
    assert math.isclose(tt.ops.rope_attention_factor(scaling), factor, rel_tol=1e-6)
    if name == "longrope":
        su = {"type": "su", **{k: v for k, v in scaling.items() if k != "rope_type"}}
        np.testing.assert_array_equal(
            tt.ops.rope_frequencies(head_dim, theta, su, context=context), got
        )


def test_yarn_has_a_ramp() -> None:
    plain, scaled = (tt.ops.rope_frequencies(64, 1e6, s) for s in (None, YARN | {"beta_fast": 8}))
    ratio = plain / scaled
    assert ratio[0] == 1
    assert math.isclose(ratio[-1], 4, rel_tol=1e-6)
    assert ((ratio > 1.01) & (ratio < 3.99)).sum() >= 2


def test_the_attention_factor_is_in_the_table() -> None:
    inverse = tt.ops.rope_frequencies(8)
    for plain, wide in zip(
        tt.ops.rope_table(inverse, 9), tt.ops.rope_table(inverse, 9, 1.5), strict=True
    ):
        np.testing.assert_allclose(wide, 1.5 * plain, rtol=1e-6)


def test_what_is_refused() -> None:
    with pytest.raises(ShapeError, match="head_dim is 7, expected an even number"):
        tt.ops.rope_frequencies(7)
    with pytest.raises(
        UnsupportedError, match="rope_type is 'dynamic', expected one of default, linear, llama3, "
    ):
        tt.ops.rope_frequencies(8, scaling={"rope_type": "dynamic", "factor": 2})
    with pytest.raises(UnsupportedError, match=r"rope scaling: mscale is 0\.7, expected none"):
        tt.ops.rope_frequencies(8, scaling=YARN | {"mscale": 0.7})
    with pytest.raises(UnsupportedError, match="long_factor is 4 numbers, expected 3 numbers, one"):
        tt.ops.rope_frequencies(6, scaling=LONGROPE | {"short_factor": [1, 1, 1]}, context=65)
    with pytest.raises(UnsupportedError, match="short_factor is None, expected 4 numbers"):
        tt.ops.rope_frequencies(8, scaling=LONGROPE | {"short_factor": None})
    with pytest.raises(
        UnsupportedError, match=r"short_factor\[1\] is 'a', expected a number above 0"
    ):
        tt.ops.rope_frequencies(8, scaling=LONGROPE | {"short_factor": [1, "a", 1, 1]})
    with pytest.raises(UnsupportedError, match="rope scaling: factor is None, expected a number"):
        tt.ops.rope_frequencies(8, scaling={"rope_type": "linear"})
    with pytest.raises(UnsupportedError, match="rope scaling: low_freq_factor is '1', expected"):
        tt.ops.rope_frequencies(8, scaling=LLAMA3 | {"low_freq_factor": "1"})

    def leaf(*shape: int) -> tt.Tensor:
        return tt.Tensor(tt.Spec(shape), "t", "input")

    x, table = leaf(1, 2, 3, 8), leaf(9, 4)
    with pytest.raises(ShapeError, match=r"x is float32\[2, 3, 8\], expected \[B, S, H, D\]"):
        tt.ops.apply_rotary_emb(leaf(2, 3, 8), table, table, 0)
    with pytest.raises(ShapeError, match=r"cos is .*, sin is .*, expected \[positions, R/2\]"):
        tt.ops.apply_rotary_emb(x, table, leaf(9, 3), 0)
    with pytest.raises(ShapeError, match=r"cos is float32\[9, 5\], so R = 10; x is .*at least R"):
        tt.ops.apply_rotary_emb(x, leaf(9, 5), leaf(9, 5), 0)
