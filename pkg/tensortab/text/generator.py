"""Text from a language model: a prompt's tokens in, sampled tokens out, a burst of steps late.

    model = await load("models/python-16m/")
    async for piece in model.generate("def fib(n):", max_new_tokens=64):
        print(piece, end="")

Two sessions share weights, caches and the live position: one takes a prompt in chunks of up to 128
tokens, one a token a step. Tokens are sampled on the GPU and stay there; bursts are submitted two
ahead and read late, so the host never waits for a single token. What a call leaves in the caches
is kept: a prompt that begins like the last one's text continues from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, fields
from itertools import takewhile
from typing import Any

import numpy as np

from ..dim import Sym
from ..errors import FormatError, ShapeError, UnsupportedError
from ..models import decoder
from ..models.fill import Progress
from ..models.sessions import open_sessions
from ..op import Array
from ..ops import Sampling
from ..quant.recipe import Recipe
from ..runtime import Device
from ..session import Session
from ..weights import Checkpoint
from .tokenizer import Tokenizer, check_tokens

CHUNK = 128  # tokens of a prompt a run
_AHEAD = 2  # bursts on their way before the first is read
_BROKEN = "\ufffd"  # what a tokenizer makes of half a character


@dataclass
class Generator:
    """A decoder and its tokenizer on a device."""

    device: Device
    tokenizer: Tokenizer
    config: decoder.Config
    prompt: Session
    decode: Session
    bits: float  # a weight, over the quantized matrices
    eos: frozenset[int]
    defaults: Mapping[str, Any] = field(default_factory=dict)  # of Sampling
    held: list[int] = field(default_factory=list)  # tokens whose keys and values the caches hold

    @classmethod
    async def create(
        cls,
        device: Device,
        config: decoder.Config,
        tokenizer: Tokenizer,
        checkpoint: Checkpoint,
        recipe: Recipe,
        generation: Mapping[str, Any],
        progress: Progress | None = None,
    ) -> Generator:
        """Compile both graphs and fill the weights from `checkpoint`.

        A file that does not fit the config, or a device that cannot hold the model, is refused
        before memory is spent; a load that fails leaves nothing on the device.
        """
        check_tokens(tokenizer, config.vocab)
        eos = _ends(generation, config.vocab)
        rows = Sym("rows", min(CHUNK, config.context), min=1)
        most = device.info.largest
        graph, weights = decoder.build(config, recipe, rows=rows, fed=True, most=most)
        single, _ = decoder.build(config, recipe, most=most)
        prompt, decode = await open_sessions(device, [graph, single], weights, checkpoint, progress)
        known = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
        defaults = {k: generation[k] for k in known if generation.get(k) is not None}
        if not generation.get("do_sample", True):
            defaults["temperature"] = 0.0
        return cls(device, tokenizer, config, prompt, decode, weights.bits, eos, defaults)

    async def generate(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 64,
        stop: Sequence[str] = (),
        **sampling: Any,
    ) -> AsyncGenerator[str, None]:
        """Yield the text after `prompt` in pieces, never half a character.

        Ends at an end token, before any of the `stop` strings, after `max_new_tokens`, or where
        the context is full. `sampling` is what `Sampling` takes (temperature, top_k, top_p, min_p,
        repetition_penalty, seed), on top of the model's generation_config.json.
        """
        tokens: list[int] = []
        sent = 0
        keep = max(map(len, stop), default=1) - 1  # the tail that may yet become a stop string
        ids = self.tokenizer.encode(prompt)
        async with aclosing(self._tokens(ids, max_new_tokens, self.eos, sampling)) as stream:
            async for token in stream:
                tokens.append(token)
                text = self.tokenizer.decode(tokens)
                found = [at for s in stop if (at := text.find(s)) >= 0]
                if found:
                    yield text[sent : min(found)]
                    return
                end = len(text.rstrip(_BROKEN)) - keep
                if end > sent:
                    yield text[sent:end]
                    sent = end
        if rest := self.tokenizer.decode(tokens)[sent:]:
            yield rest

    async def generate_ids(
        self,
        ids: Sequence[int],
        *,
        max_new_tokens: int = 64,
        ignore_eos: bool = False,
        **sampling: Any,
    ) -> list[int]:
        """The tokens after `ids`, the end token left out."""
        eos = frozenset[int]() if ignore_eos else self.eos
        return [t async for t in self._tokens(list(ids), max_new_tokens, eos, sampling)]

    async def _tokens(
        self, ids: list[int], most: int, eos: frozenset[int], sampling: Mapping[str, Any]
    ) -> AsyncGenerator[int, None]:
        known = [f.name for f in fields(Sampling)]
        if unknown := [*sampling.keys() - known]:
            raise UnsupportedError(f"sampling option {unknown}; there are {', '.join(known)}")
        settings = Sampling(**{**self.defaults, **sampling})
        if not 0 < len(ids) <= self.config.context:
            raise ShapeError(
                f"the prompt has {len(ids)} tokens, expected 1 to {self.config.context}, the"
                " context this model was opened with"
            )
        # The last token needs no room in the caches, which hold what was fed.
        left = min(most, self.config.context - len(ids) + 1)
        if left < 1:
            return
        first = self._feed(ids, settings)
        pending: deque[Awaitable[dict[str, Array]]] = deque([first])
        left -= 1
        burst = 2 if self.device.info.software else 8
        try:
            while pending:
                while left and len(pending) <= _AHEAD:
                    steps = min(burst, left)
                    pending.append(self.decode.run_steps(steps))
                    left -= steps
                for token in (await pending.popleft())["token"].reshape(-1).tolist():
                    if token in eos:
                        return
                    self.held.append(token)
                    yield token
        finally:  # also where the caller stops early: what is on its way still moves the position
            for burst_read in pending:
                await burst_read
            fed = min(self.decode.get("pos"), len(self.held))
            self.held = self.held[:fed]
            self.decode.truncate(pos=fed)

    def _feed(self, ids: list[int], settings: Sampling) -> Awaitable[dict[str, Array]]:
        """Feed what the caches do not hold yet; the token after it, on its way."""
        same = sum(1 for _ in takewhile(lambda p: p[0] == p[1], zip(ids, self.held, strict=False)))
        start = min(same, len(ids) - 1)  # the last is fed again: its logits are wanted
        self.prompt.truncate(pos=start)
        seen = np.zeros(self.config.vocab, np.int32)
        seen[[i for i in ids[:start] if i < len(seen)]] = 1
        self.prompt.state("seen").write(seen)
        self.prompt.state("sampling").write(settings.encode())
        chunks = [ids[at : at + CHUNK] for at in range(start, len(ids), CHUNK)]
        results = [self.prompt.run_steps(1, ids=[chunk]) for chunk in chunks]
        self.held = list(ids)
        return _last(results)

    def destroy(self) -> None:
        """Free the device's memory."""
        self.decode.destroy()
        self.prompt.destroy()


def _ends(generation: Mapping[str, Any], vocab: int) -> frozenset[int]:
    """The end tokens of a generation_config.json."""
    found = generation.get("eos_token_id")
    ends = found if isinstance(found, list) else [] if found is None else [found]
    for end in ends:
        if type(end) is not int or not 0 <= end < vocab:
            raise FormatError(
                f"generation_config.json: eos_token_id is {found!r}, expected ids from 0 to"
                f" {vocab - 1} (vocab_size in config.json)"
            )
    return frozenset(ends)


async def _last(results: Sequence[Awaitable[dict[str, Array]]]) -> dict[str, Array]:
    for result in results:
        found = await result
    return found
