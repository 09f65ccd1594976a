"""A loaded program: its face, its state, live sizes, and what it refuses."""

from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import catalogue
import harness
import tensortab as tt
from catalogue import cases
from tensortab import cli
from tensortab.errors import ShapeError


@pytest.fixture
def load(loop: harness.Loop, native: harness.Native) -> Any:
    opened = []

    def open_case(name: str) -> Any:
        program = loop.run(tt.load_pte(cases()[name].pte, device=native.device))
        opened.append(program)
        return program

    yield open_case
    for program in opened:
        program.close()


def test_forward_gives_the_methods_dtypes(loop: harness.Loop, load: Any) -> None:
    program = load("float64")
    x = np.array([[1, 2, 3, 4]] * 3, np.float64)
    (y,) = loop.run(program.forward(x))
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, x * 2 + 1)
    (again,) = loop.run(program.method("forward")(x))
    np.testing.assert_array_equal(again, y)


def test_lists_and_python_numbers_are_arrays(loop: harness.Loop, load: Any) -> None:
    program = load("rank_0")
    scaled, more = loop.run(program.forward([1, 2, 3], 2.5))
    assert scaled.tolist() == [2.5, 5, 7.5]
    assert more.shape == ()
    assert more == 3.5


def test_a_cache_lives_between_calls_until_reset(loop: harness.Loop, load: Any) -> None:
    case, program = cases()["update_cache_dyn_inbuf"], load("update_cache_dyn_inbuf")
    first = loop.run(program.forward(*case.inputs[0]))[0]
    second = loop.run(program.forward(*case.inputs[1]))[0]
    assert (second != first).any()
    loop.run(program.reset())
    np.testing.assert_array_equal(loop.run(program.forward(*case.inputs[0]))[0], first)


def test_sizes_are_live_up_to_their_bound(loop: harness.Loop, load: Any) -> None:
    program = load("live_mlp")
    x = np.random.default_rng(0).standard_normal((1, 12, 32), np.float32)
    (whole,) = loop.run(program.forward(x))
    for rows in (1, 2, 3, 5, 7, 11):  # more shapes than are kept
        (y,) = loop.run(program.forward(x[:, :rows]))
        np.testing.assert_allclose(y, whole[:, :rows], atol=1e-6)
    (delegate,) = program.method("forward").delegates
    assert len(delegate.sessions) == 4
    with pytest.raises(ShapeError, match=r"input 0 has shape \[1, 13, 32\], expected .* at most"):
        loop.run(program.forward(np.zeros((1, 13, 32), np.float32)))


def test_sessions_of_other_shapes_share_weights_and_caches(loop: harness.Loop, load: Any) -> None:
    case, program = cases()["llama_live"], load("llama_live")
    for arrays in case.inputs:
        loop.run(program.forward(*arrays))
    (delegate,) = program.method("forward").delegates
    assert len(delegate.sessions) == 3  # five, one and two tokens
    stores = {id(session.store) for _, session in delegate.sessions.values()}
    assert len(stores) == 1


def test_profile_times_every_dispatch(loop: harness.Loop, load: Any) -> None:
    case, program = cases()["mlp_fp32"], load("mlp_fp32")
    report = loop.run(program.profile(*case.inputs[0]))
    (wanted,) = loop.run(program.forward(*case.inputs[0]))
    np.testing.assert_array_equal(report.outputs["0"], wanted)
    assert [r.op for r in report.rows] == ["linear", "gelu", "linear", "clamp", "linear"]


def test_describe(load: Any) -> None:
    assert load("mixed_portable_cumsum").describe().splitlines() == [
        "<bytes>: 5,824 bytes",
        "method forward",
        "  input 0: float32[4, 16]",
        "  output 0: float32[4, 16]",
        "  delegate 0: VulkanBackend, 2 calls, 1,088 bytes of constants",
        "        1 aten.linear.default",
        "        1 aten.relu.default",
        "  delegate 1: VulkanBackend, 1 call, 1,088 bytes of constants",
        "        1 aten.linear.default",
        "  outside of delegates, on numpy:",
        "        1 aten::cumsum.out",
    ]
    assert load("sdpa_gqa31_decode").describe().splitlines()[2:] == [
        "  input 0: float32[1, 2, 6, 8]",
        "  inputs 1–2: float32[1, 2, 2, 8]",
        "  inputs 3–4: float32[1, 16, 2, 8]",
        "  outputs 0–1: float32[1, 16, 2, 8]",
        "  output 2: float32[1, 2, 6, 8]",
        "  delegate 0: VulkanBackend, 1 call",
        "        1 sdpa_with_kv_cache.default",
        "  outside of delegates, on numpy:",
        "        2 aten::copy_",
    ]
    whole = "59 calls, 240,128 bytes of constants, 32,768 bytes of state between calls"
    assert f"  delegate 0: VulkanBackend, {whole}" in load("llama_tiny_q4_decode").describe()


def test_inspect_prints_it(tmp_path: Any) -> None:
    file = tmp_path / "live.pte"
    file.write_bytes(cases()["live_mlp"].pte)
    result = CliRunner().invoke(cli.main, ["inspect", str(file)])
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == f"{file}: {file.stat().st_size:,} bytes"
    assert "  input 0: float32[1, ≤ 12, ≤ 32]" in lines
    assert "        2 aten.linear.default" in lines
    file.write_bytes(b"no program at all")
    result = CliRunner().invoke(cli.main, ["inspect", str(file)])
    assert result.exit_code == 1
    assert "expected b'ET12' of an ExecuTorch program" in result.stderr


def test_from_a_file_on_numpy(loop: harness.Loop, tmp_path: Any) -> None:
    """The reference device computes the same."""
    case = cases()["swiglu_q4"]
    (tmp_path / "swiglu.pte").write_bytes(case.pte)

    async def run() -> tuple:
        device = await tt.Device.open("reference")
        program = await tt.load_pte(tmp_path / "swiglu.pte", device=device)
        return await program.forward(*case.inputs[0])

    (y,) = loop.run(run())
    catalogue.assert_within(y, case.goldens[0][0], case.atol, case.rtol)


def test_what_does_not_fit_is_refused(loop: harness.Loop, load: Any) -> None:
    program = load("trivial_add")
    x = np.zeros((4, 8), np.float32)
    for arrays, match in (
        ((x,), r"<bytes>: forward takes 2 inputs, got 1"),
        ((x, x[:3]), r"forward: input 1 has shape \[3, 8\], expected \[4, 8\]"),
        ((x, x.astype(np.complex64)), r"forward: input 1 is complex64, expected float32"),
    ):
        with pytest.raises(ShapeError, match=match):
            loop.run(program.forward(*arrays))
    with pytest.raises(ShapeError, match=r"has no method 'backward'; it has \['forward'\]"):
        program.method("backward")


def test_integers_beyond_32_bits_are_refused(loop: harness.Loop, load: Any) -> None:
    program = load("embedding_q4gsw_small")
    with pytest.raises(ShapeError, match=r"input 'in0' .*int32"):
        loop.run(program.forward(np.array([0, 1, 2, 1 << 40])))


def test_a_position_past_the_cache_is_refused(loop: harness.Loop, load: Any) -> None:
    case, program = cases()["llama_tiny_q4_decode"], load("llama_tiny_q4_decode")
    tokens = case.inputs[0][0]
    with pytest.raises(ShapeError, match=r"= 33, expected at most 32"):
        loop.run(program.forward(tokens, np.array([32])))
