"""Attention and next tokens as the page shows them, against transformers on a tiny model."""

import asyncio
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import harness
import tensortab as tt
import tiny_llama
from tensortab import assets

TEXT = "def add(a, b):\n    return a + b  # naïve"


def fetched(name: str) -> ModuleType:
    """A file that the page fetches, imported as its worker does."""
    sys.path.insert(0, str(assets.WEB / "inside"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def reading() -> ModuleType:
    return fetched("reading")


@pytest.mark.parametrize("window", [None, 4])
def test_attention_is_that_of_transformers(
    native: harness.Native, tmp_path: Path, reading: ModuleType, window: int | None
) -> None:
    own = {"architectures": ["MistralForCausalLM"], "model_type": "mistral"}
    sliding = {"sliding_window": window, "rope_theta": 10000.0}
    folder = tiny_llama.write_checkpoint(tmp_path, **(own | sliding))

    async def work(model: Any) -> Any:
        before = await model.generate_ids(model.tokenizer.encode(TEXT), max_new_tokens=4)
        found = await reading.read(model, TEXT)
        again = await model.generate_ids(model.tokenizer.encode(TEXT), max_new_tokens=4)
        assert again == before, "the model goes on where the text ends"
        assert model.last.reused_tokens > 0
        return found, model.tokenizer.encode(TEXT)

    found, ids = tiny_llama.drive(native, folder, work, quantize=None)
    peer = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    with torch.no_grad():
        want = peer(torch.tensor([ids]), output_attentions=True, use_cache=False)
    assert len(found.layers) == len(want.attentions) == 2
    for layer, golden in zip(found.layers, want.attentions, strict=True):
        np.testing.assert_allclose(layer.weights(), golden[0].numpy(), atol=2e-5)
        np.testing.assert_allclose(layer.weights().sum(-1), 1, atol=1e-6)
    shares = want.logits[0].softmax(-1)
    for token in (0, len(ids) - 1):
        best = found.following(token, 5)
        np.testing.assert_allclose([p for _, p in best], shares[token].topk(5).values, rtol=1e-3)


def test_a_long_text_is_cut_and_an_empty_one_refused(
    native: harness.Native, tmp_path: Path, reading: ModuleType
) -> None:
    folder = tiny_llama.write_checkpoint(tmp_path)

    async def work(model: Any) -> tuple[Any, int]:
        with pytest.raises(tt.errors.ShapeError, match="the text has no tokens"):
            await reading.read(model, "")
        return await reading.read(model, TEXT * 9), len(model.tokenizer.encode(TEXT * 9))

    found, whole = tiny_llama.drive(native, folder, work)
    assert len(found.tokens) == reading.LONGEST
    assert found.left == whole - reading.LONGEST


def test_a_device_without_a_clock_says_so() -> None:
    async def work() -> dict[str, Any]:
        device = await tt.Device.open("reference")
        return await fetched("inside").Inside(device).profile(None, 0)

    assert "has no clock" in asyncio.run(work())["refused"]
