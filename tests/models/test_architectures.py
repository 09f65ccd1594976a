"""Every architecture against transformers in float32, from folders that transformers wrote."""

import asyncio
import inspect
import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import harness
import hf_checkpoints
import tensortab as tt
from checkpoints import dequantized
from close import assert_close
from hf_checkpoints import CASES, VOCAB
from tensortab.models import architectures, decoder

PROMPT = [int(i) for i in np.random.default_rng(1).integers(3, VOCAB, 60)]
CHUNKS = (33, 1, 26)
STEPS = 32
NEAR = 1e-3  # greedy tokens may differ where the two best logits are this close


async def measure(
    device: Any, folder: str, prompt: list, chunks: tuple, steps: int, options: dict
) -> tuple:
    """Greedy tokens after a prompt fed in chunks, and the logits of all of them, fed anew."""
    import numpy as np

    import tensortab as tt
    from tensortab.models import architectures, decoder
    from tensortab.models.sessions import open_sessions
    from tensortab.quant.recipe import recipe
    from tensortab.weights import open_checkpoint, open_folder

    config = options["config"]
    sizes = architectures.find(config, folder).read(config, options["context"])
    chosen = recipe(options["quantize"], decoder.DEFAULT_RECIPE)
    many = tt.Sym("rows", 40, min=1)
    kinds = ({"rows": many, "fed": True}, {}, {"rows": many, "scores": True})
    graphs = [decoder.build(sizes, chosen, cache=options["cache"], **kind) for kind in kinds]
    checkpoint = await open_checkpoint(open_folder(folder))
    opened = await open_sessions(device, [g for g, _ in graphs], graphs[0][1], checkpoint)
    session, decode, scores = opened

    session.state("sampling").write(tt.ops.Sampling(temperature=0).encode())
    ends = np.cumsum(chunks)
    for end, rows in zip(ends, chunks, strict=True):
        first = await session.run(ids=[prompt[end - rows : end]])
    rest = await decode.run_steps(steps - 1)
    tokens = [int(first["token"][0]), *rest["token"].reshape(-1).tolist()]

    scores.truncate(pos=0)
    ids, logits = prompt + tokens, []
    while ids:
        logits.append((await scores.run(ids=[ids[:40]]))["logits"])
        ids = ids[40:]
    for s in (scores, decode, session):
        s.destroy()
    return tokens, np.concatenate(logits)


IN_TAB = """
import pathlib
import pickle
import tensortab as tt
from typing import Any

{source}

async def main(payload):
    if not hasattr(tt, "shared_device"):
        tt.shared_device = await tt.Device.open("browser")
    folder, files, arguments = pickle.loads(payload)
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        pathlib.Path(folder, name).write_bytes(data)
    return pickle.dumps(await measure(tt.shared_device, folder, *arguments))
"""


def on(device: harness.Device, folder: Path, **options: Any) -> tuple[list[int], np.ndarray]:
    """`measure`, here or in the tab."""
    prompt = options.pop("prompt", PROMPT)
    chunks = options.pop("chunks", CHUNKS)
    config = json.loads((folder / "config.json").read_text())
    defaults = {"context": len(prompt) + STEPS, "quantize": None, "cache": "float32"}
    settings = {"config": config, **defaults, **options}
    arguments = (prompt, chunks, STEPS, settings)
    if isinstance(device, harness.Native):
        return asyncio.run(measure(device.device, str(folder), *arguments))
    files = {"model.safetensors": (folder / "model.safetensors").read_bytes()}
    source = IN_TAB.format(source=inspect.getsource(measure))
    payload = pickle.dumps((f"/home/{folder.name}", files, arguments))
    return pickle.loads(device.call(source, payload))


def assert_greedy(tokens: Sequence[int], want: np.ndarray, near: float = NEAR) -> None:
    """Each is the best by the logits `want` before it, or as good as."""
    rows = want[-len(tokens) - 1 : -1]
    short = rows.max(-1) - rows[np.arange(len(tokens)), tokens]
    assert short.max() <= near, f"token {short.argmax()} falls short of the best by {short.max()}"
    assert len({*tokens}) > 4, f"these tokens say little: {tokens}"


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The checkpoint of a case, written once."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = hf_checkpoints.write(tmp_path_factory.mktemp(name), name)
        return made[name]

    return folder


@pytest.mark.parametrize("name", CASES)
def test_logits_and_greedy_tokens_are_those_of_transformers(
    native: harness.Native, folder_of: Callable[[str], Path], name: str
) -> None:
    folder = folder_of(name)
    tokens, got = on(native, folder)
    want = hf_checkpoints.logits(folder, PROMPT + tokens)
    print(name, "largest error", np.abs(got - want).max(), "of logits up to", np.abs(want).max())
    assert_close(got, want, atol=2e-4, rtol=0)
    assert_greedy(tokens, want)


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "gemma3", "phi4-mini"])
def test_the_same_in_chrome(
    chrome: harness.Tab, folder_of: Callable[[str], Path], name: str
) -> None:
    folder = folder_of(name)
    tokens, got = on(chrome, folder)
    want = hf_checkpoints.logits(folder, PROMPT + tokens)
    assert_close(got, want, atol=2e-4, rtol=0)
    assert_greedy(tokens, want)


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "gemma3", "phi4-mini"])
def test_four_bits_are_the_dequantized_weights(
    native: harness.Native, folder_of: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    folder, tensors = folder_of(name), load_file(folder_of(name) / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    sizes = architectures.find(config, name).read(config, None)
    _, weights = decoder.build(sizes, decoder.DEFAULT_RECIPE)
    left = hf_checkpoints.with_tensors(folder, dequantized(weights, tensors), tmp_path)
    tokens, got = on(native, folder, quantize="q4gsw")
    want = hf_checkpoints.logits(left, PROMPT + tokens)
    print(name, "largest error", np.abs(got - want).max(), "of logits up to", np.abs(want).max())
    assert_close(got, want, atol=2e-4, rtol=0)
    assert_greedy(tokens, want)
    assert np.abs(want - hf_checkpoints.logits(folder, PROMPT + tokens)).max() > 0.1, "it quantizes"


@pytest.mark.parametrize("name", CASES)
def test_caches_of_halves(
    native: harness.Native, folder_of: Callable[[str], Path], name: str
) -> None:
    """What long contexts get: keys and values are off by 2**-12 of themselves at most."""
    folder = folder_of(name)
    tokens, got = on(native, folder, cache="float16")
    want = hf_checkpoints.logits(folder, PROMPT + tokens)
    print(name, "largest error", np.abs(got - want).max(), "of logits up to", np.abs(want).max())
    assert_close(got, want, atol=5e-2, rtol=0)
    assert_greedy(tokens, want, near=5e-2)


def test_longrope_short_of_what_it_was_trained_on(
    native: harness.Native, folder_of: Callable[[str], Path]
) -> None:
    folder = folder_of("phi4-mini")
    tokens, got = on(native, folder, prompt=PROMPT[:30], chunks=(29, 1))  # 62 tokens, of 64
    want = hf_checkpoints.logits(folder, PROMPT[:30] + tokens)
    assert_close(got, want, atol=2e-4, rtol=0)
    assert_greedy(tokens, want)
    _, longer = on(native, folder, prompt=PROMPT[:30], chunks=(29, 1), context=65)
    assert np.abs(longer - got).max() > 0.1, "caches for 65 take the long factors from the start"


@pytest.mark.parametrize("name", CASES)
def test_load_and_generate(
    native: harness.Native, folder_of: Callable[[str], Path], name: str
) -> None:
    """Through the folder's own files, with what a user gets by default but for float weights."""
    folder = folder_of(name)

    async def work() -> tuple[list[int], np.ndarray]:
        model = await tt.load(str(folder), quantize=None, context=92, device=native.device)
        try:
            tokens = await model.generate_ids(PROMPT, max_new_tokens=STEPS, ignore_eos=True)
            return tokens, await model.logits(PROMPT + tokens)
        finally:
            model.destroy()

    tokens, got = asyncio.run(work())
    assert len(tokens) == STEPS
    want = hf_checkpoints.logits(folder, PROMPT + tokens)
    assert_close(got, want, atol=2e-3, rtol=0)
    assert_greedy(tokens, want)
