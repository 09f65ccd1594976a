from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError
from tensortab.ops import batch_norm, group_mean, group_norm, group_rstd

SHAPES = [((1, 1), 1), ((2, 6, 3, 5), 3), ((3, 4, 7), 4), ((1, 8, 12, 12), 1), ((2, 2, 600), 2)]
shapes = pytest.mark.parametrize(("shape", "groups"), SHAPES)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32) * 2 + 1


def vectors(c: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(c)
    return {n: rng.standard_normal(c, np.float32) for n in ("weight", "bias")}


def statistics(c: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(c)
    return {"mean": rng.standard_normal(c, np.float32), "var": rng.random(c, np.float32) + 0.1}


@shapes
@pytest.mark.parametrize("given", [("weight", "bias"), ("bias",), ()])
def test_batch_norm(device: harness.Device, shape: Any, groups: int, given: Any) -> None:
    del groups
    affine = {n: v for n, v in vectors(shape[1]).items() if n in given}
    arrays = {"x": normal(*shape), **statistics(shape[1]), **affine}
    tensors = {n: torch.from_numpy(a) for n, a in arrays.items()}
    want = F.batch_norm(
        tensors["x"],
        tensors["mean"],
        tensors["var"],
        tensors.get("weight"),
        tensors.get("bias"),
        eps=1e-3,
    )
    build = lambda **t: batch_norm(**t, eps=1e-3)  # noqa: E731
    assert_close(reference(build, arrays), want.numpy(), atol=1e-5, rtol=1e-5)
    assert_agrees(device, build, arrays, atol=1e-5)


@shapes
def test_group_norm(device: harness.Device, shape: Any, groups: int) -> None:
    x = normal(*shape)
    arrays = {"x": x, **vectors(shape[1])}
    want = torch.native_group_norm(
        *map(torch.from_numpy, arrays.values()),
        shape[0],
        shape[1],
        int(np.prod(shape[2:])),
        groups,
        1e-3,
    )
    builds = [
        (lambda **t: group_norm(**t, groups=groups, eps=1e-3), arrays),
        (lambda x: group_mean(x, groups=groups), {"x": x}),
        (lambda x: group_rstd(x, groups=groups, eps=1e-3), {"x": x}),
    ]
    for (build, given), in_torch in zip(builds, want, strict=True):
        assert_close(reference(build, given), in_torch.numpy(), atol=1e-5, rtol=1e-5)
        assert_agrees(device, build, given, atol=1e-5)


@pytest.mark.parametrize("lanes", [1, 64])
def test_groups_shared_or_not(
    native: harness.Native, monkeypatch: pytest.MonkeyPatch, lanes: int
) -> None:
    """Both ways to share a group, whatever the device would choose."""

    def forced(kernel: tt.kernel.Kernel, target: Any, d: int, **knobs: int) -> tt.kernel.Kernel:
        del target, d
        return kernel.specialise(LANES=lanes, ROWS=3, **knobs)

    monkeypatch.setattr("tensortab.ops.channel_norm.shared_rows", forced)
    arrays = {"x": normal(2, 6, 3, 11), **vectors(6)}
    assert_agrees(native, lambda **t: group_norm(**t, groups=2), arrays, atol=1e-5)
    for op in (group_mean, group_rstd):
        only = {"x": arrays["x"]}
        assert_agrees(native, lambda x, op=op: op(x, groups=3), only, atol=1e-5)


def test_symbolic_sizes(device: harness.Device) -> None:
    sizes = {"x": (tt.Sym("n", 3), 4, tt.Sym("length", 9, min=1))}
    arrays = {"x": normal(2, 4, 5), **vectors(4)}
    assert_agrees(device, lambda **t: group_norm(**t, groups=2), arrays, shapes=sizes, atol=1e-5)
    arrays = {"x": normal(2, 4, 5), **statistics(4)}
    assert_agrees(device, batch_norm, arrays, shapes=sizes, atol=1e-5)


def test_operands_that_do_not_fit() -> None:
    x = normal(2, 6, 3)
    with pytest.raises(ShapeError, match=r"group_mean: groups is 4, expected a divisor of C = 6"):
        graph_of(lambda x: group_mean(x, groups=4), {"x": x})
    with pytest.raises(ShapeError, match=r"batch_norm: var is float32\[5\], expected float32\[6\]"):
        graph_of(batch_norm, {"x": x, **statistics(6), "var": np.ones(5, np.float32)})
    with pytest.raises(ShapeError, match=r"group_rstd: x is float32\[6\], expected \[N, C, …\]"):
        graph_of(lambda x: group_rstd(x, groups=1), {"x": normal(6)})
