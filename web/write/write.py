# ruff: noqa: INP001  # a file the page fetches, not part of a package
"""What the page's worker runs in Python to write: a language model, and its text as it comes."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import adapter

import tensortab as tt
from tensortab.bars import Progress
from tensortab.errors import (
    DeviceError,
    DeviceLostError,
    SetupError,
    TensortabError,
    UnsupportedError,
)
from tensortab.text.chat import ChatTemplate
from tensortab.text.generator import Generator
from tensortab.weights import Watch, open_folder, watched
from tensortab.weights.source import is_url

Emit = Callable[[str, int, int], None]  # a piece of text; tokens by now, and of the prompt

# Text goes to the page in pieces of so long: a GPU's thousand tokens a second as a message each
# would keep the page from everything else.
SECONDS = 0.03


@dataclass
class Writer:
    """A language model, once there is one, which a person may change for another."""

    device: tt.Device
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # who uses the model
    weights: asyncio.Lock = field(default_factory=asyncio.Lock)  # who reads its weights
    loading: asyncio.Future[Any] | None = None
    keeping: asyncio.Future[Any] | None = None
    model: Any = None  # a Generator
    speaks: bool = False  # it has a chat template

    async def swap(
        self, location: Any, progress: Progress, read: Progress, failed: Any
    ) -> dict[str, Any]:
        """Load another model; the present one stays unless that succeeds.

        `location` is a folder of Pyodide's file system, a URL, the JS files of a picked folder, or
        the handle of a kept one. `read` is called with a file, what was read of it and its size.
        `failed`, if given, is called with what a download failed of, and promises another try.
        """
        # JavaScript's null is no None, but false.
        watch = Watch(read, _asking(failed) if failed else None)
        self.loading = asyncio.ensure_future(_load(location, self.device, progress, watch))
        if answer := await _outcome(self.loading):
            return answer
        if isinstance(location, str) and not is_url(location):
            shutil.rmtree(Path(location))  # its weights are on the device now
        async with self.turn, self.weights:
            if self.model:
                self.model.destroy()
            self.model, self.speaks = self.loading.result()
        return {}

    async def keep(self, output: Any, progress: Progress) -> dict[str, Any]:
        """Write the model to a JS folder; it may be used meanwhile."""
        async with self.weights:
            self.keeping = asyncio.ensure_future(tt.save(self.model, output, progress=progress))
            return await _outcome(self.keeping)

    def cancel(self) -> None:
        """Give up loading."""
        if self.loading:
            self.loading.cancel()

    def stop_keeping(self) -> None:
        """Give up writing."""
        if self.keeping:
            self.keeping.cancel()

    def facts(self) -> dict[str, Any]:
        """What the page tells about the model and its device."""
        return {
            **adapter.facts(self.device),
            "bits": self.model.bits,
            "chat": self.speaks,
            "context": self.model.config.context,
            "defaults": dict(self.model.defaults),
        }

    async def write(self, job: str, stale: Callable[[], bool], emit: Emit) -> dict[str, Any]:
        """Stream the text after a job's prompt (JSON: prompt, options) to `emit`.

        A prompt is a text, or a conversation's messages.

        The answer: `prompt`, `reused` of it and `tokens`, in tokens; `first`, seconds to the first
        of them, and `rest`, to the last; `end`: "limit", "context", "stopped", or "end" where the
        model or a stop string ended it. `refused` is a sentence instead, for what cannot be done.
        """
        asked = json.loads(job)
        async with self.turn:
            try:
                return await self._write(asked["prompt"], asked["options"], stale, emit)
            except DeviceError:  # nothing a person could ask for otherwise
                raise
            except TensortabError as error:
                return {"refused": str(error)}

    async def _write(
        self, prompt: Any, options: dict[str, Any], stale: Callable[[], bool], emit: Emit
    ) -> dict[str, Any]:
        sent, text, stopped = perf_counter(), "", False

        def send() -> None:
            emit(text, self.model.last.new_tokens, self.model.last.prompt_tokens)

        async with aclosing(self.model.generate(prompt, **options)) as pieces:
            async for piece in pieces:
                text += piece
                if (now := perf_counter()) - sent > SECONDS:
                    send()
                    text, sent = "", now
                    await asyncio.sleep(0)  # a stop's message gets its turn, on numpy too
                    if stopped := stale():
                        break
        if text:
            send()
        took = self.model.last
        full = took.new_tokens >= took.room
        limit = "limit" if took.room >= options["max_new_tokens"] else "context"
        return {
            "prompt": took.prompt_tokens,
            "reused": took.reused_tokens,
            "tokens": took.new_tokens,
            "first": took.prefill_seconds,
            "rest": took.decode_seconds,
            "end": "stopped" if stopped else limit if full else "end",
        }


async def _outcome(work: asyncio.Future[Any]) -> dict[str, Any]:
    """What to tell of work that did not succeed; a lost device is nobody's fault."""
    try:
        await work
    except asyncio.CancelledError:
        return {"cancelled": True}
    except DeviceLostError:
        raise
    except TensortabError as error:
        return {"refused": str(error)}
    return {}


def _asking(failed: Any) -> Callable[[SetupError], Awaitable[None]]:
    async def ask(error: SetupError) -> None:
        await failed(str(error))

    return ask


async def _load(
    location: Any, device: tt.Device, progress: Progress, watch: Watch
) -> tuple[Generator, bool]:
    """The model, and whether it has a chat template."""
    folder = watched(open_folder(location), watch)
    model = await tt.load(folder, device=device, progress=progress)
    if not isinstance(model, Generator):
        model.destroy()
        raise UnsupportedError("this is a sentence model: it writes no text")
    return model, await _speaks(model)


async def _speaks(model: Generator) -> bool:
    try:
        model.template = await ChatTemplate.open(model.tokenizer.folder)
    except TensortabError:  # it has none, or one that cannot be used: text it takes in any case
        return False
    return True
