"""A GPU that has WebGPU's guaranteed limits and no optional feature: asked for, not imagined.

128 MiB to a binding, 16 KiB of workgroup memory, 256 invocations, 8 storage buffers. The kernels
are those of a GPU, so a tiny decoder's tokens are compared with what software's give.
"""

import asyncio
import dataclasses
import inspect
import pickle

import numpy as np
from test_decoder import PROMPT, generate, graphs

import harness
import tensortab as tt
from tensortab.quant.recipe import Format, Recipe
from tensortab.target import DEFAULT_LIMITS

IN_TAB = """
import dataclasses
import pickle
import numpy as np
import tensortab as tt

async def main(payload):
    source, *given = pickle.loads(payload)
    scope = {"dataclasses": dataclasses, "np": np, "tt": tt}
    exec(source, scope)
    return pickle.dumps(await scope["as_a_gpu"]("browser", *given))
"""


async def as_a_gpu(
    kind: str, made: list[tt.Graph], prompt: list[int]
) -> tuple[dict[str, int], list[str], list[str], list[int]]:
    """Limits, features, kernels and greedy tokens of a device with the least of both."""
    device = await tt.Device.open(kind, least=True)
    target = dataclasses.replace(device.info, software=False)
    plans = [tt.plan.plan(graph, target) for graph in made]
    fed = await device.compile(made[0], planned=plans[0])
    decode = await device.compile(made[1], share=fed, planned=plans[1])
    decode.state("sampling").write(tt.ops.Sampling(temperature=0).encode())
    tokens = [int((await fed.run(ids=[prompt]))["token"][0])]
    tokens += (await decode.run_steps(12))["token"].reshape(-1).tolist()
    kernels = sorted({step.kernel.name for plan in plans for step in plan.steps})
    device.close()
    return device.limits, sorted(device.features), kernels, tokens


def test_a_decoder_on_the_least_there_is(native: harness.Native, chrome: harness.Tab) -> None:
    made = graphs(Recipe(Format("q4gsw")), "float16")[:2]
    want = asyncio.run(generate(native.device, made, [12], temperature=0))
    source = inspect.getsource(as_a_gpu)
    told = [
        asyncio.run(as_a_gpu("native", made, PROMPT)),
        pickle.loads(chrome.call(IN_TAB, pickle.dumps((source, made, PROMPT)))),
    ]
    for limits, features, kernels, tokens in told:
        assert limits == DEFAULT_LIMITS
        assert features == []
        assert tokens == want
        assert {"linear_qgsw_gemv", "linear_qgsw_dots", "sdpa_decode", "sdpa_tile"} <= {*kernels}
        assert not {"linear_qgsw_tile", "sdpa_row"} & {*kernels}


def test_kernels_of_many_rows_on_the_least_there_is() -> None:
    async def work() -> None:
        device = await tt.Device.open("native", least=True)
        r = np.random.default_rng(0)
        x = r.standard_normal((70, 64), np.float32)
        packed, scales = tt.quant.q4gsw.quantize(r.standard_normal((130, 64), np.float32), 32)
        q = r.standard_normal((1, 2, 70, 64), np.float32)
        g = tt.Graph()
        a, b, c = (g.constant(n, v) for n, v in (("x", x), ("packed", packed), ("scales", scales)))
        g.output("y", tt.ops.linear_q4gsw(a, b, c, group=32, act="silu", strategy="gemm"))
        g.output("z", tt.ops.sdpa(*[g.constant("q", q)] * 3, causal=True, strategy="tile"))
        session = await device.compile(g)
        found, want = await session.run(), tt.evaluate(g)
        for name, got in found.items():
            np.testing.assert_allclose(got, want[name], atol=1e-3)
        device.close()

    asyncio.run(work())
