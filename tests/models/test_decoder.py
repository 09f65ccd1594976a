"""A tiny decoder: prompt, then single tokens, sampled and fed back on the GPU."""

import asyncio
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from checkpoints import constants, dequantized, random_tensors
from decoder_torch import logits
from tensortab.models import decoder
from tensortab.quant.recipe import FLOAT, Format, Recipe

CONFIG = decoder.Config(64, 2, 4, 2, 32, 96, 97, 40)
PROMPT = [3, 14, 15, 92, 65]


def weights(recipe: Recipe) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Random constants by name, and the tensors they stand for."""
    _, made = decoder.build(CONFIG, recipe)
    tensors = random_tensors(made)
    return constants(made, tensors), dequantized(made, tensors)


def in_torch(tensors: dict[str, np.ndarray], ids: Sequence[int]) -> np.ndarray:
    """Logits after the last id."""
    return logits({n: torch.from_numpy(t) for n, t in tensors.items()}, CONFIG, ids).numpy()


def graphs(recipe: Recipe, cache: str = "float32", *, scores: bool = True) -> list[tt.Graph]:
    """Prompt and decode, their constants filled."""
    values, _ = weights(recipe)
    found = []
    for rows, fed in ((tt.Sym("rows", 16, min=1), True), (1, False)):
        graph, _ = decoder.build(CONFIG, recipe, rows=rows, fed=fed, cache=cache, logits=scores)
        graph.values |= values
        found.append(graph)
    return found


async def generate(
    device: tt.Device, made: list[tt.Graph], bursts: Sequence[int], **sampling: float
) -> list[int]:
    """The tokens after PROMPT, `bursts` of them a submission, all submitted before any is read."""
    prompt = await device.compile(made[0])
    decode = await device.compile(made[1], share=prompt)
    decode.state("sampling").write(tt.ops.Sampling(**sampling).encode())
    first = prompt.run_steps(1, ids=[PROMPT])
    pending = [decode.run_steps(n) for n in bursts]
    tokens = [int((await first)["token"][0, 0])]
    for burst in pending:
        tokens += (await burst)["token"].reshape(-1).tolist()
    assert decode.get("pos") == len(PROMPT) + sum(bursts)
    decode.destroy()
    prompt.destroy()
    return tokens


@pytest.mark.parametrize("recipe", [Recipe(FLOAT), Recipe(Format("q4gsw"))], ids=["float", "q4"])
def test_logits_and_greedy_tokens_agree_with_torch(native: harness.Native, recipe: Recipe) -> None:
    made, (_, tensors) = graphs(recipe), weights(recipe)

    async def work() -> None:
        prompt = await native.device.compile(made[0])
        decode = await native.device.compile(made[1], share=prompt)
        ids = list(PROMPT)
        decode.state("sampling").write(tt.ops.Sampling(temperature=0).encode())
        for part in (PROMPT[:3], PROMPT[3:]):  # a prompt in chunks
            out = await prompt.run(ids=[part])
        for _ in range(12):
            want = in_torch(tensors, ids)
            np.testing.assert_allclose(out["logits"][0], want, atol=2e-4, rtol=1e-3)
            assert out["token"][0] == want.argmax()
            ids.append(int(out["token"][0]))
            out = await decode.run()

    asyncio.run(work())


IN_TAB = """
import pickle
import tensortab as tt
from tensortab.ops import Sampling

async def main(payload):
    source, made, calls = pickle.loads(payload)
    scope = {"tt": tt, "Sequence": list, "PROMPT": calls.pop("prompt")}
    exec(source, scope)
    device = await tt.Device.open("browser")
    found = [await scope["generate"](device, made, bursts, **s) for bursts, s in calls["runs"]]
    device.close()
    return pickle.dumps(found)
"""

RUNS = [
    ([1] * 12, {"temperature": 0}),
    ([5, 7], {"temperature": 0}),
    ([1] * 12, {"temperature": 0.9, "top_k": 20, "top_p": 0.95, "seed": 7}),
    ([4, 4, 4], {"temperature": 0.9, "top_k": 20, "top_p": 0.95, "seed": 7}),
    ([12], {"temperature": 1.5, "min_p": 0.02, "repetition_penalty": 1.3, "seed": 8}),
]


def test_n_steps_are_n_steps_and_a_seed_is_a_seed_everywhere(
    native: harness.Native, chrome: harness.Tab
) -> None:
    import inspect

    made = graphs(Recipe(Format("q4gsw")), "float16", scores=False)

    async def work(device: tt.Device) -> list[list[int]]:
        return [await generate(device, made, bursts, **s) for bursts, s in RUNS]

    natively = asyncio.run(work(native.device))
    assert natively[0] == natively[1], "greedy"
    assert natively[2] == natively[3], "a seed gives the same tokens"
    assert len({*map(tuple, natively)}) == 3, "settings and seeds matter"
    calls = {"prompt": PROMPT, "runs": RUNS}
    payload = pickle.dumps((inspect.getsource(generate), made, calls))
    assert pickle.loads(chrome.call(IN_TAB, payload)) == natively
    reference = asyncio.run(tt.Device.open("reference"))
    assert asyncio.run(work(reference)) == natively
