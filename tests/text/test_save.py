"""A model written and loaded again is the same model, to the bit."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
import hf_checkpoints
import tensortab as tt
import tiny_llama
from tensortab.errors import FormatError

IDS = [5, 17, 60, 3, 250, 41, 7]
TEMPLATE = "{{ messages[0].content }}!"


async def answers(model: Any) -> tuple[np.ndarray, list[int]]:
    return await model.logits(IDS), await model.generate_ids(
        IDS, max_new_tokens=12, ignore_eos=True, temperature=0
    )


def saved(native: harness.Native, folder: Path, out: Path, **options: Any) -> list[Any]:
    """What a model answers before and after, and the bits of both."""

    async def work() -> list[Any]:
        found = []
        for place in (folder, out):
            model = await tt.load(str(place), device=native.device, **options)
            if options.get("quantize"):
                options.clear()  # the folder itself says
            found.append((*await answers(model), model.bits))
            if place is folder:
                await tt.save(model, out)
            model.destroy()
        return found

    return asyncio.run(work())


@pytest.mark.parametrize("name", ["phi4-mini", "gemma3", "qwen2"])
def test_the_same_answers(native: harness.Native, tmp_path: Path, name: str) -> None:
    (tmp_path / "a").mkdir()
    folder = hf_checkpoints.write(tmp_path / "a", name)
    before, after = saved(native, folder, tmp_path / "b")
    np.testing.assert_array_equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert json.loads((tmp_path / "b" / "config.json").read_text()) == {
        **json.loads((folder / "config.json").read_text()),
        "quantization_config": {"quant_method": "tensortab"},
    }


@pytest.mark.parametrize("choice", [None, {"lm_head|down": "q8gsw", "q_proj": None}])
def test_other_formats_from_shards(native: harness.Native, tmp_path: Path, choice: Any) -> None:
    (tmp_path / "a").mkdir()
    folder = tiny_llama.shard(tiny_llama.write_checkpoint(tmp_path / "a"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "README.md").write_text("about it")
    before, after = saved(native, folder, tmp_path / "b", quantize=choice)
    np.testing.assert_array_equal(before[0], after[0])
    assert before[1:] == after[1:]
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    assert ("quantization_config" in config) is (choice is not None)
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert (tmp_path / "b" / "chat_template.jinja").read_text() == TEMPLATE


def test_a_folder_is_read_in_its_own_formats_alone(native: harness.Native, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    saved(native, tiny_llama.write_checkpoint(tmp_path / "a"), tmp_path / "b")
    for choice in ("q8gsw", None):
        with pytest.raises(FormatError, match=r"embed_tokens\.weight.*expected|there is no tensor"):
            asyncio.run(tt.load(str(tmp_path / "b"), device=native.device, quantize=choice))


def test_a_sentence_model(native: harness.Native, tmp_path: Path) -> None:
    from tensortab import vendor

    async def work() -> list[np.ndarray]:
        found = []
        for place in (vendor.model("all-MiniLM-L6-v2"), tmp_path / "b"):
            model = await tt.load(str(place), device=native.device)
            found.append(await model.embed(["a sentence", "another one"]))
            if not (tmp_path / "b").exists():
                await tt.save(model, tmp_path / "b")
            model.destroy()
        return found

    before, after = asyncio.run(work())
    np.testing.assert_array_equal(before, after)
    assert (tmp_path / "b" / "model.safetensors").stat().st_size < 64e6
