"""A prompt continued by a language model: what `tensortab generate` runs, in a page or natively."""

import json
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import tensortab as tt

Write = Callable[[str], None]


async def complete(
    model: str, prompt: str, max_new_tokens: int, sampling: dict[str, Any], write: Write
) -> dict[str, Any]:
    """Stream the text after `prompt` to `write`; what it took, for `summary`."""
    start = perf_counter()
    loaded = await tt.load(model)
    ready = perf_counter()
    first = None
    stream = loaded.generate(prompt, max_new_tokens=max_new_tokens, **sampling)
    async for piece in stream:
        first = first or perf_counter()
        write(piece)
    end = perf_counter()
    fed = len(loaded.tokenizer.encode(prompt))
    return {
        "device": str(loaded.device.info),
        "load": ready - start,
        "prompt": fed,
        "first": (first or end) - ready,
        "tokens": len(loaded.held) + 1 - fed,
        "rest": end - (first or end),
    }


def summary(took: dict[str, Any]) -> str:
    """One line: device, loading, time to the first text, tokens a second after it."""
    rate = (took["tokens"] - 1) / took["rest"] if took["rest"] > 0 else 0.0
    return (
        f"{took['device']}: loaded in {took['load']:.1f} s; {took['prompt']} tokens of prompt,"
        f" first text after {took['first']:.2f} s; {took['tokens']} tokens, {rate:.1f} a second"
    )


def _write(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()


async def main(payload: bytes) -> bytes:
    """`complete` for Page.call: its arguments as JSON in, what it took as JSON out."""
    return json.dumps(await complete(**json.loads(payload), write=_write)).encode()
