"""The embedded model: what it completes has to be Python."""

import asyncio
import importlib.util
from collections import Counter
from pathlib import Path

import harness
import tensortab as tt
from tensortab import assets

ROOT = Path(__file__).parents[2]


def rule() -> object:
    """tools/embedded/verdict.py: no package, a script's module."""
    spec = importlib.util.spec_from_file_location("verdict", ROOT / "tools/embedded/verdict.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_completions_are_python(native: harness.Native) -> None:
    judge = rule()
    most = 64

    async def work() -> list[str]:
        model = await tt.load(str(assets.EMBEDDED), device=native.device)
        found = []
        for prompt in judge.PROMPTS:
            ids = model.tokenizer.encode(prompt)
            tokens = await model.generate_ids(ids, max_new_tokens=most, seed=1)
            text = prompt + model.tokenizer.decode(tokens)
            found.append(judge.verdict(prompt, text, ended=len(tokens) < most))
        model.destroy()
        return found

    verdicts = Counter(asyncio.run(work()))
    assert verdicts.total() == 50
    assert verdicts["passes"] >= 40, verdicts
    assert verdicts["repeats"] == 0, verdicts


def test_it_is_small_enough_to_carry() -> None:
    size = sum(f.stat().st_size for f in assets.EMBEDDED.iterdir())
    assert size <= 12_000_000
    assert "perplexity" in (assets.EMBEDDED / "MODEL_CARD.md").read_text().lower()
