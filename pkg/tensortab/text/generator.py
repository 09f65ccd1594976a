"""Text from a language model: a prompt's tokens in, sampled tokens out, a burst of steps late.

    model = await load("models/python-16m/")
    async for piece in model.generate("def fib(n):", max_new_tokens=64):
        print(piece, end="")

Two sessions share weights, caches and the live position: one takes a prompt in chunks, one a
token a step. Tokens are sampled on the GPU and stay there; chunks and bursts of steps
are submitted two ahead and read late, so the host never waits for a single token. What a call
leaves in the caches is kept: a prompt that begins like the last one's text continues from there.

A model does one thing at a time, and the newest call wins: a stream that was left, or that another
call takes over from, submits nothing more. What is refused is refused before anything has changed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Container, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import takewhile
from time import perf_counter
from typing import Any

import numpy as np

from ..bars import Progress
from ..dim import Sym
from ..errors import ShapeError
from ..models import decoder
from ..models.checkpoint import Weights
from ..models.sessions import open_sessions, prompt_rows
from ..op import Array
from ..ops import Sampling
from ..profile import Profile
from ..quant.recipe import Recipe
from ..runtime import Device
from ..session import Session
from ..weights import Checkpoint
from .chat import ChatTemplate, Messages
from .pieces import Pieces
from .request import (
    Limits,
    Overflow,
    Request,
    check_ids,
    check_stop,
    ends,
    sampling_defaults,
    settle,
)
from .scoring import Scorer, windows
from .tokenizer import Tokenizer, check_tokens
from .turn import Outputs, Turn
from .usage import Timings, Usage

_BEFORE = 8  # tokens of the prompt that the first piece is decoded after


@dataclass
class Generator:
    """A decoder and its tokenizer on a device."""

    device: Device
    tokenizer: Tokenizer
    config: decoder.Config
    chunk: int  # tokens of a prompt a run
    prompt: Session
    decode: Session
    scorer: Scorer
    weights: Weights
    eos: frozenset[int]
    defaults: Mapping[str, Any] = field(default_factory=dict)  # of Sampling
    held: list[int] = field(default_factory=list)  # tokens whose keys and values the caches hold
    last: Usage = field(default_factory=Usage)  # of the latest call to generate or generate_ids
    template: ChatTemplate | None = None  # read when messages first come
    _turn: Turn | None = None
    _drawn_by: Sampling | None = None  # what the device's settings were made of

    @classmethod
    async def create(
        cls,
        device: Device,
        config: decoder.Config,
        tokenizer: Tokenizer,
        checkpoint: Checkpoint | None,
        recipe: Recipe,
        generation: Mapping[str, Any],
        progress: Progress | None = None,
    ) -> Generator:
        """Compile both graphs and fill the weights from `checkpoint`, where there is one.

        A file that does not fit the config, or a device that cannot hold the model, is refused
        before memory is spent; a load that fails leaves nothing on the device.
        """
        check_tokens(tokenizer, config.vocab)
        eos, defaults = ends(generation, config.vocab), sampling_defaults(generation)
        chunk, most = prompt_rows(config, device.info), device.info.largest
        rows = Sym("rows", chunk, min=1)
        graph, weights = decoder.build(config, recipe, rows=rows, fed=True, most=most)
        single, _ = decoder.build(config, recipe, most=most)
        prompt, decode = await open_sessions(device, [graph, single], weights, checkpoint, progress)
        scorer = Scorer(device, config, recipe, prompt, chunk, most)
        return cls(device, tokenizer, config, chunk, prompt, decode, scorer, weights, eos, defaults)

    async def generate(
        self,
        prompt: str | Messages,
        *,
        max_new_tokens: int = 64,
        stop: str | Sequence[str] = (),
        overflow: Overflow = "refuse",
        chat_template_kwargs: Mapping[str, Any] | None = None,
        **sampling: Any,
    ) -> AsyncGenerator[str, None]:
        """Yield the text after `prompt` in pieces, never half a character.

        A prompt is a text, or messages ({"role": …, "content": …}) that the checkpoint's chat
        template lays out, with `chat_template_kwargs` for variables of its own (enable_thinking).

        Ends at an end token, before any of the `stop` strings, after `max_new_tokens`, or where
        the context is full. A prompt that is longer than the context is refused, or with
        overflow="truncate" cut at its beginning (request.py). `sampling` is what `Sampling` takes
        (temperature, top_k, top_p, min_p, repetition_penalty, seed), on top of the model's
        generation_config.json. `model.last` has the call's counts and times.
        """
        stops, before = check_stop(stop), 0
        if isinstance(prompt, str):
            ids, before = self.tokenizer.encode(prompt), _BEFORE
        else:
            ids = await self._lay_out(prompt, chat_template_kwargs or {})
        request = self._request(ids, max_new_tokens, overflow, sampling)
        pieces = Pieces(self.tokenizer.decode, stops, ids[len(ids) - before :])
        async with aclosing(self._tokens(request, self.eos)) as stream:
            async for token in stream:
                if piece := pieces.add(token):
                    yield piece
                if pieces.stopped:
                    return
        if piece := pieces.end():
            yield piece

    async def generate_ids(
        self,
        ids: Sequence[int],
        *,
        max_new_tokens: int = 64,
        ignore_eos: bool = False,
        overflow: Overflow = "refuse",
        **sampling: Any,
    ) -> list[int]:
        """The tokens after `ids`, the end token left out."""
        request = self._request(ids, max_new_tokens, overflow, sampling)
        async with aclosing(self._tokens(request, set() if ignore_eos else self.eos)) as stream:
            return [token async for token in stream]

    async def logits(self, ids: Sequence[int]) -> Array:
        """Scores of the token after each of `ids`, float32 [len(ids), vocab].

        The caches hold `ids` afterwards: a conversation's prefix is computed again.
        """
        fed = check_ids(ids, self.config.vocab)
        if len(fed) > self.config.context:
            raise ShapeError(
                f"logits of {len(fed)} tokens, expected 1 to {self.config.context}, the context"
                " this model was opened with"
            )
        session = await self.scorer.session(losses=False)
        self._end()
        chunks = self.scorer.logits(session, fed)
        self.held = fed
        return np.concatenate(await chunks)

    async def perplexity(self, text: str) -> float:
        """Perplexity: e to the mean −log p of tokens 2 … n, each given those before it.

        The tokens are those the tokenizer gives, special ones included. A text longer than the
        context is read in windows half a context apart (scoring.py). The caches hold the last
        window afterwards. ShapeError for a text of fewer than 2 tokens.
        """
        ids = check_ids(self.tokenizer.encode(text), self.config.vocab)
        if len(ids) < 2:
            raise ShapeError(f"perplexity of {len(ids)} token, expected a text of at least 2")
        session = await self.scorer.session(losses=True)
        total = 0.0
        for start, end, first in windows(len(ids), self.config.context):
            self._end()
            chunks = self.scorer.losses(session, ids[start:end])
            self.held = ids[start : end - 1]
            losses = np.concatenate(await chunks).astype(np.float64)
            total += float(losses[first - start - 1 :].sum())
        return float(np.exp(total / (len(ids) - 1)))

    async def time(self) -> Timings | None:
        """GPU time of a chunk as long as the last prompt's, and of a decode step after it.

        None where the adapter has no clock (the feature timestamp-query).
        """
        if "timestamp-query" not in self.device.features:
            return None
        rows, at = self._spare()
        _, chunk = await self.prompt.time_steps(1, ids=[[0] * rows])
        self.decode.truncate(pos=at)
        _, steps = await self.decode.time_steps(min(self._burst, rows))
        self.decode.truncate(pos=at)
        return Timings(rows, float(chunk.sum()) / 1e9, float(np.median(steps)) / 1e9)

    async def profile(self) -> tuple[Profile, Profile]:
        """The same chunk and step with each dispatch timed."""
        rows, at = self._spare()
        chunk = await self.prompt.profile(ids=[[0] * rows])
        self.decode.truncate(pos=at)
        step = await self.decode.profile()
        self.decode.truncate(pos=at)
        return chunk, step

    def destroy(self) -> None:
        """Free the device's memory."""
        self.scorer.destroy()
        self.decode.destroy()
        self.prompt.destroy()

    @property
    def bits(self) -> float:
        """Bits a weight, over the quantized matrices."""
        return self.weights.bits

    @property
    def _burst(self) -> int:
        """Decode steps a submission."""
        return 2 if self.device.info.software else 8

    async def _lay_out(self, messages: Messages, variables: Mapping[str, Any]) -> list[int]:
        """The tokens of messages; the template writes the special tokens itself."""
        if self.template is None:
            self.template = await ChatTemplate.open(self.tokenizer.folder)
        text = await self.template.render(messages, **variables)
        return self.tokenizer.encode(text, add_special_tokens=False)

    def _request(
        self, ids: Sequence[int], most: int, overflow: str, sampling: Mapping[str, Any]
    ) -> Request:
        limits = Limits(self.config.vocab, self.config.context, self.tokenizer.beginning)
        return settle(ids, limits, most, overflow, {**self.defaults, **sampling})

    async def _tokens(self, request: Request, eos: Container[int]) -> AsyncGenerator[int, None]:
        """The sampled tokens as they are read."""
        self._end()
        began, first = perf_counter(), 0.0
        turn = self._turn = Turn(self._submissions(request))
        try:
            while turn:
                tokens = await turn.read()
                now = perf_counter()
                first = first or (now if tokens else 0.0)
                for token in tokens:
                    if token in eos:
                        return
                    self.held.append(token)
                    self.last = self.last.after(first - began, now - first)
                    yield token
                    turn.check()
        finally:
            if self._turn is turn:
                self._end()

    def _submissions(self, request: Request) -> Iterator[tuple[Outputs, bool]]:
        """Each submission when it is asked for: its outputs, and whether its tokens are wanted."""
        ids = request.ids
        self.last = Usage(len(ids), 0, request.dropped, request.room)
        if not request.room:
            return
        same = sum(1 for _ in takewhile(lambda p: p[0] == p[1], zip(ids, self.held, strict=False)))
        start = min(same, len(ids) - 1)  # the last is fed again: its logits are wanted
        self.prompt.truncate(pos=start)
        self._draw_by(request.settings, ids[:start])
        self.held = list(ids)
        self.last = replace(self.last, reused_tokens=start)
        chunk = self.chunk
        for at in range(start, len(ids), chunk):
            yield self.prompt.run_steps(1, ids=[ids[at : at + chunk]]), at + chunk >= len(ids)
        for done in range(1, request.room, self._burst):
            yield self.decode.run_steps(min(self._burst, request.room - done)), True

    def _draw_by(self, settings: Sampling, ids: list[int]) -> None:
        """Have tokens drawn under these settings, `ids` and what is fed from now on being seen."""
        if settings != self._drawn_by:
            self.prompt.state("sampling").write(settings.encode())
            self._drawn_by = settings
        if settings.repetition_penalty == 1:
            return  # whatever is flagged as seen
        state = self.prompt.state("seen")
        if not ids:
            state.clear()  # which sends nothing to the device
            return
        seen = np.zeros(self.config.vocab, np.int32)
        seen[ids] = 1
        state.write(seen)

    def _end(self) -> None:
        """End the call under way, if there is one: what it has submitted runs, and is dropped."""
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.end()
        # The caches hold what was fed, as far as its tokens were read.
        fed = min(self.decode.get("pos"), len(self.held))
        self.held = self.held[:fed]
        self.decode.truncate(pos=fed)

    def _spare(self) -> tuple[int, int]:
        """Go to where a chunk and some steps can be run for their time: its tokens, the position.

        What is held beyond there is given up; all before it stays.
        """
        self._end()
        computed = self.last.prompt_tokens - self.last.reused_tokens
        rows = min(computed or self.chunk, self.chunk)
        at = min(len(self.held), self.config.context - rows)
        self.held = self.held[:at]
        self.decode.truncate(pos=at)
        return rows, at
