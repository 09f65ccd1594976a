from typing import Any

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from close import assert_agrees, assert_close, graph_of, reference
from tensortab.errors import ShapeError
from tensortab.ops import (
    adamw_moment,
    adamw_update,
    linear_q4gsw_backward,
    requantize_q4gsw,
)
from tensortab.quant import q4gsw


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def adamw(shape: tuple[int, ...], step: int) -> tt.Graph:
    g = tt.Graph()
    grad = g.input("grad", shape)
    p, m, v = (g.state(n, shape) for n in "pmv")
    first = adamw_moment(m, grad, beta=0.9)
    second = adamw_moment(v, grad, beta=0.99, squared=True)
    corrections = (1 - 0.9**step, 1 - 0.99**step)
    stepped = adamw_update(
        p, first, second, lr=0.1, eps=1e-6, weight_decay=0.3, corrections=corrections
    )
    for name, t in (("p1", stepped), ("m1", first), ("v1", second)):
        g.output(name, t)
    return g


@pytest.mark.parametrize("shape", [(1,), (5, 13), (300,)])
def test_adamw(device: harness.Device, shape: Any) -> None:
    """The first step from zeros, against torch.optim; states start as zeros on a device."""
    grad = normal(*shape)
    weight = torch.nn.Parameter(torch.zeros(shape))
    optimizer = torch.optim.AdamW([weight], lr=0.1, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.3)
    weight.grad = torch.from_numpy(grad)
    optimizer.step()
    state = optimizer.state[weight]
    want = {"p1": weight.detach(), "m1": state["exp_avg"], "v1": state["exp_avg_sq"]}
    graph = adamw(shape, 1)
    for got in (tt.evaluate(graph, grad=grad), device.run(graph, grad=grad)):
        for name, t in want.items():
            assert_close(got[name], t.numpy(), atol=1e-7, rtol=1e-5)


def test_adamw_goes_on_in_place(native: harness.Native) -> None:
    """Three steps that share their states, against torch.optim."""
    grads = [normal(4, 3 + i)[:, :3] for i in range(3)]
    start = normal(4, 3)
    weight = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = torch.optim.AdamW([weight], lr=0.1, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.3)

    async def run() -> dict[str, np.ndarray]:
        session = await native.device.compile(adamw((4, 3), 1))
        session.state("p").write(start)
        for step, grad in enumerate(grads, 1):  # the corrections are part of the graph
            session = await native.device.compile(adamw((4, 3), step), share=session)
            await session.run(grad=grad)
        return {n: await session.state(n).read() for n in "pmv"}

    for grad in grads:
        weight.grad = torch.from_numpy(grad.copy())
        optimizer.step()
    held = native._loop.run(run())
    assert_close(held["p"], weight.detach().numpy(), atol=1e-6, rtol=1e-5)
    assert_close(held["v"], optimizer.state[weight]["exp_avg_sq"].numpy(), atol=1e-6, rtol=1e-5)


def test_adamw_refuses() -> None:
    with pytest.raises(ShapeError, match=r"adamw_moment: g is float32\[3\], expected float32\[4\]"):
        graph_of(lambda s, g: adamw_moment(s, g, beta=0.9), {"s": normal(4), "g": normal(3)})
    adam = {"lr": 0.1, "eps": 1e-6, "weight_decay": 0.0, "corrections": (0, 1)}
    p = {n: normal(4) for n in "smv"}
    with pytest.raises(ShapeError, match=r"corrections are \(0, 1\), expected none of them 0"):
        graph_of(lambda s, m, v: adamw_update(s, m, v, **adam), p)


@pytest.mark.parametrize(
    ("m", "n", "k", "group"), [((), 3, 32, 32), ((1,), 9, 96, 32), ((2, 5), 40, 256, 128)]
)
def test_linear_q4gsw_backward(device: harness.Device, m: Any, n: int, k: int, group: int) -> None:
    packed, scales = q4gsw.quantize(normal(n, k), group)
    arrays = {"g": normal(*m, n), "packed": packed, "scales": scales}
    x = torch.zeros((*m, k), requires_grad=True)
    weight = torch.from_numpy(q4gsw.dequantize(packed, scales))
    torch.nn.functional.linear(x, weight).backward(torch.from_numpy(arrays["g"]))
    assert x.grad is not None
    build = lambda **t: linear_q4gsw_backward(**t, group=group)  # noqa: E731
    assert_close(reference(build, arrays), x.grad.numpy(), atol=1e-5, rtol=1e-5)
    assert_agrees(device, build, arrays, atol=1e-4)


@pytest.mark.parametrize(
    ("n", "k", "group", "extra"), [(1, 1, 32, 0), (3, 7, 4, 2), (5, 96, 32, 0), (4, 64, 64, 4)]
)
def test_requantize(device: harness.Device, n: int, k: int, group: int, extra: int) -> None:
    w = normal(n, k) * 5
    scales = np.random.default_rng(k).random((-(-k // group), n + extra), np.float32) + 0.25
    scales[0, 0] = 0
    full = torch.from_numpy(scales).t()[:n, torch.arange(k) // group]
    codes = torch.where(full != 0, torch.round(torch.from_numpy(w) / full), 0).clamp(-8, 7) + 8
    nibbles = torch.nn.functional.pad(codes, (0, k % 2)).to(torch.uint8)
    want = nibbles[:, ::2] | nibbles[:, 1::2] << 4
    arrays = {"w": w, "scales": scales}
    build = lambda **t: requantize_q4gsw(**t, group=group)  # noqa: E731
    assert_close(reference(build, arrays), want.numpy(), atol=0, rtol=0)
    assert_agrees(device, build, arrays, atol=0, rtol=0)


def test_operands_that_do_not_fit() -> None:
    packed, scales = q4gsw.quantize(normal(4, 64), 32)
    weight = {"packed": packed, "scales": scales}
    with pytest.raises(ShapeError, match=r"g is float32\[3\], packed is uint8\[4, 32\], expected"):
        graph_of(lambda **t: linear_q4gsw_backward(**t, group=32), {"g": normal(3), **weight})
    with pytest.raises(ShapeError, match=r"scales is float32\[2, 4\], group is 64, expected"):
        graph_of(lambda **t: linear_q4gsw_backward(**t, group=64), {"g": normal(4), **weight})
    with pytest.raises(ShapeError, match=r"scales is float32\[2, 4\], expected at least \[3, 4\]"):
        graph_of(
            lambda **t: requantize_q4gsw(**t, group=32), {"w": normal(4, 65), "scales": scales}
        )
