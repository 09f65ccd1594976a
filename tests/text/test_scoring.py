"""Logits and perplexity against torch; a conversation goes on after them."""

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harness
import tensortab as tt
from decoder_torch import logits
from tensortab import assets
from tensortab.errors import ShapeError
from tensortab.models import llama
from tensortab.quant import q4gsw
from tensortab.text import scoring
from tensortab.text.scoring import windows
from tensortab.weights import safetensors
from tiny_llama import CONFIG, drive, tensors, write_checkpoint

TEXT = "def add(a, b):\n    return a + b  # naïve ☃\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("llama"))


def in_torch(weights: Any, ids: Sequence[int], config: Any = None) -> np.ndarray:
    """Logits after each of the ids."""
    w = {n: torch.from_numpy(np.array(t, np.float32)) for n, t in weights.items()}
    config = config or llama.read(CONFIG)
    rows = [logits(w, config, ids[: i + 1]) for i in range(len(ids))]
    return torch.stack(rows).numpy()


def losses(scores: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """−log p of ids[1:], by scores of the rows before them."""
    x = torch.from_numpy(scores[: len(ids) - 1]).double()
    return torch.nn.functional.cross_entropy(x, torch.tensor(ids[1:]), reduction="none").numpy()


def test_logits_are_torchs(native: harness.Native, folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(scoring, "_SCORES", 4 * CONFIG["vocab_size"] * 5)  # five rows a run
    ids = [int(i) for i in np.random.default_rng(1).integers(0, 299, 23)]

    async def work(model: Any) -> np.ndarray:
        assert model.scorer.rows == 5
        return await model.logits(ids)

    found = drive(native, folder, work, quantize=None)
    assert found.dtype == np.float32
    # Keys and values are held in float16.
    np.testing.assert_allclose(found, in_torch(tensors(), ids), atol=2e-3, rtol=0)


def test_a_perplexity_is_the_exponential_of_the_mean_loss(
    native: harness.Native, folder: Path
) -> None:
    async def work(model: Any) -> tuple[float, list[int], np.ndarray]:
        ids = model.tokenizer.encode(TEXT)
        return await model.perplexity(TEXT), ids, await model.logits(ids)

    found, ids, scores = drive(native, folder, work, quantize=None)
    assert math.isclose(found, np.exp(losses(in_torch(tensors(), ids), ids).mean()), rel_tol=1e-3)
    assert math.isclose(found, np.exp(losses(scores, ids).mean()), rel_tol=1e-5)


def test_a_text_longer_than_the_context_is_read_in_windows(
    native: harness.Native, folder: Path
) -> None:
    async def work(model: Any) -> tuple[float, list[int]]:
        return await model.perplexity(TEXT * 3), model.tokenizer.encode(TEXT * 3)

    found, ids = drive(native, folder, work, quantize=None, context=16)
    assert len(ids) > 40
    want: list[float] = []
    for start in range(0, len(ids), 8):
        part = ids[start : start + 17]
        if start + len(part) - 1 > len(want):
            new = losses(in_torch(tensors(), part[:16]), part)
            want += new[len(want) - start :].tolist()
    assert len(want) == len(ids) - 1
    assert math.isclose(found, math.exp(np.mean(want)), rel_tol=1e-3)


def test_windows_count_each_token_once() -> None:
    assert list(windows(10, 40)) == [(0, 10, 1)]
    assert list(windows(41, 40)) == [(0, 41, 1)]
    assert list(windows(42, 40)) == [(0, 41, 1), (20, 42, 41)]
    for n, context in ((2, 1), (9, 1), (100, 7), (1000, 64)):
        counted = [k for _, end, first in windows(n, context) for k in range(first, end)]
        assert counted == list(range(1, n))
        assert all(end - 1 - start <= context for start, end, _ in windows(n, context))
        assert all(
            first - start >= min(first, context // 2) for start, _, first in windows(n, context)
        )


def test_a_conversation_goes_on_after_scoring(native: harness.Native, folder: Path) -> None:
    async def work(model: Any) -> None:
        ids = model.tokenizer.encode(TEXT)
        first = await model.generate_ids(ids, max_new_tokens=8)
        await model.logits([5, 6, 7])
        assert model.held == [5, 6, 7]
        assert await model.generate_ids(ids, max_new_tokens=8) == first
        await model.perplexity("def add(")
        assert await model.generate_ids(ids, max_new_tokens=8) == first
        await model.logits(ids)
        assert await model.generate_ids([*ids, *first[:2]], max_new_tokens=6) == first[2:]
        assert model.last.reused_tokens == len(ids), "what logits were asked of is held"

    drive(native, folder, work)


def test_what_cannot_be_scored(native: harness.Native, folder: Path) -> None:
    async def work(model: Any) -> None:
        ids = model.tokenizer.encode("def add(a")
        first = await model.generate_ids(ids, max_new_tokens=8)
        held = list(model.held)
        for wrong, message in (
            ([], "the prompt has 0 tokens"),
            ([1] * 41, "logits of 41 tokens, expected 1 to 40"),
            ([300], "token 0 of the prompt is 300, expected 0 to 299"),
        ):
            with pytest.raises(ShapeError, match=message):
                await model.logits(wrong)
        for text, message in (("", "has 0 tokens"), ("a", "perplexity of 1 token, expected a te")):
            with pytest.raises(ShapeError, match=message):
                await model.perplexity(text)
        assert model.held == held
        assert await model.generate_ids(ids, max_new_tokens=8) == first

    drive(native, folder, work, context=40)


def test_the_embedded_models_perplexity_is_torchs(native: harness.Native) -> None:
    text = "def area(width, height):\n    return width * height\n"

    async def work() -> tuple[float, list[int], dict[str, np.ndarray]]:
        model = await tt.load(str(assets.EMBEDDED), device=native.device)
        file = await safetensors.open(str(assets.EMBEDDED / "model.safetensors"))
        weights = {}
        for name in file.tensors:
            if name.endswith(".packed"):
                whole = name.removesuffix(".packed")
                scales = await file.array(f"{whole}.scales")
                weights[whole] = q4gsw.dequantize(await file.array(name), scales)
            elif not name.endswith(".scales"):
                weights[name] = await file.array(name)
        found = await model.perplexity(text), model.tokenizer.encode(text), weights
        model.destroy()
        return found

    found, ids, weights = asyncio.run(work())
    config = llama.read(json.loads((assets.EMBEDDED / "config.json").read_text()))
    want = np.exp(losses(in_torch(weights, ids, config), ids).mean())
    assert math.isclose(found, want, rel_tol=1e-3), (found, want)
