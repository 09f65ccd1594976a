import asyncio
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from bert_torch import encode
from tensortab import vendor
from tensortab.errors import FormatError, UnsupportedError
from tensortab.models import bert
from tensortab.profile import Profile
from tensortab.text import Tokenizer
from tensortab.weights import safetensors

NAME = "all-MiniLM-L6-v2"
RECIPE = bert.default_recipe(bert.Config(384, 6, 12, 1536, 30522, 512, 2, 1e-12))
SENTENCES = (Path(__file__).parents[1] / "data" / "sentences.txt").read_text().splitlines()

EMBED = """
import pickle
import re
import tensortab as tt

async def main(payload):
    url, texts = pickle.loads(payload)
    stages = []
    model = await tt.load(url, progress=lambda *at: stages.append(at))
    vectors = await model.embed(texts, progress=lambda *at: stages.append(at))
    model.session.destroy()
    return pickle.dumps((vectors, stages, model.bits))
"""


@pytest.fixture(scope="module")
def folder() -> str:
    return str(vendor.model(NAME))


def test_profile_times_each_dispatch_of_a_batch(native: harness.Native, folder: str) -> None:
    async def work() -> tuple[Profile, list[str]]:
        model = await tt.load(folder, device=native.device)
        report = await model.profile(SENTENCES[:3])
        want = await model.embed(SENTENCES[:3])
        np.testing.assert_allclose(report.outputs["vectors"], want, atol=1e-6)
        ops = [step.op for step in model.session.plan.steps]
        model.destroy()
        return report, ops

    report, ops = asyncio.run(work())
    assert [row.op for row in report.rows] == ops


def in_torch(folder: str, *, dequantized: bool) -> np.ndarray:
    """Vectors of SENTENCES by torch, one at a time, so that nothing is padded."""

    async def tensors() -> dict[str, np.ndarray]:
        file = await safetensors.open(f"{folder}/model.safetensors")
        return {n: np.array(await file.array(n)) for n in file.tensors}

    arrays = asyncio.run(tensors())
    for name in arrays if dequantized else ():
        form = RECIPE.format(name)
        if re.search(r"^encoder.*(dense|query|key|value)\.weight$", name):
            arrays[name] = form.packing.dequantize(*form.quantize(arrays[name], name))
    w = {n: torch.from_numpy(a) for n, a in arrays.items()}
    tokenizer = asyncio.run(Tokenizer.open(folder))
    rows = [np.array([ids[:256]]) for ids in tokenizer.encode_batch(SENTENCES, max_length=256)]
    ones = (np.ones(ids.shape, np.float32) for ids in rows)
    return np.concatenate(
        [encode(w, i, m, heads=12, layers=6) for i, m in zip(rows, ones, strict=True)]
    )


@pytest.fixture(scope="module")
def native_vectors(folder: str, native: harness.Native) -> np.ndarray:
    async def work() -> np.ndarray:
        model = await tt.load(folder, device=native.device)
        assert model.bits < 5.9
        return await model.embed(SENTENCES)

    return asyncio.run(work())


def in_tab(tab: harness.Tab) -> tuple[np.ndarray, list[tuple[str, int, int]], float]:
    url = f"{tab.page.address}models/{NAME}"
    return pickle.loads(tab.call(EMBED, pickle.dumps((url, SENTENCES)), timeout=300))


def test_native_agrees_with_torch_on_the_same_weights(
    folder: str, native_vectors: np.ndarray
) -> None:
    want = in_torch(folder, dequantized=True)
    assert np.abs(native_vectors - want).max() <= 1e-3


def test_chrome_agrees_with_torch_on_the_same_weights(folder: str, chrome: harness.Tab) -> None:
    vectors, stages, bits = in_tab(chrome)
    assert np.abs(vectors - in_torch(folder, dequantized=True)).max() <= 1e-3
    assert bits < 5.9
    for stage in ("weights", "embed"):
        done = [(d, total) for s, d, total in stages if s == stage]
        assert [d for d, _ in done] == sorted({d for d, _ in done}), "progress moves on"
        assert done[-1][0] == done[-1][1], "and ends at the total"


def test_firefox_agrees_with_torch_on_the_same_weights(folder: str, firefox: harness.Tab) -> None:
    assert np.abs(in_tab(firefox)[0] - in_torch(folder, dequantized=True)).max() <= 1e-3


def test_quality_against_the_float_model(folder: str, native_vectors: np.ndarray) -> None:
    exact = in_torch(folder, dequantized=False)
    cosine = (native_vectors * exact).sum(1)
    assert cosine.mean() >= 0.978
    assert cosine.min() >= 0.92
    nearest = [(v @ v.T - 2 * np.eye(len(v))).argmax(1) for v in (native_vectors, exact)]
    assert (nearest[0] == nearest[1]).sum() >= 60


def test_vectors_do_not_depend_on_the_batch(
    folder: str, native: harness.Native, native_vectors: np.ndarray
) -> None:
    async def work() -> np.ndarray:
        model = await tt.load(folder, device=native.device)
        assert (await model.embed([])).shape == (0, 384)
        return await model.embed([SENTENCES[3]])

    np.testing.assert_allclose(asyncio.run(work())[0], native_vectors[3], atol=1e-5)


def test_other_architectures_are_refused_first(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["T5Model"]}')
    with pytest.raises(UnsupportedError, match="architecture 'T5Model'; there are BertModel"):
        asyncio.run(tt.load(str(tmp_path)))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FormatError, match=r"config.json is not JSON"):
        asyncio.run(tt.load(str(tmp_path)))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(FormatError, match="holds a list, expected an object"):
        asyncio.run(tt.load(str(tmp_path)))
