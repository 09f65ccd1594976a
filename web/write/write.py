# ruff: noqa: INP001  # a file the page fetches, not part of a package
"""What the page's worker runs in Python to write: a language model, and its text as it comes."""

import asyncio
import json
import shutil
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import tensortab as tt
from tensortab.errors import DeviceError, DeviceLostError, TensortabError, UnsupportedError
from tensortab.text.chat import ChatTemplate
from tensortab.text.generator import Generator

Progress = Callable[[str, int, int], None]  # stage, done, total
Emit = Callable[[str, int, int], None]  # a piece of text; tokens by now, and of the prompt

# Text goes to the page in pieces of so long: a GPU's thousand tokens a second as a message each
# would keep the page from everything else.
SECONDS = 0.03


class GivenUpError(Exception):
    """The person gave up waiting."""


@dataclass
class Writer:
    """A language model, which a person may change for another."""

    model: Generator
    speaks: bool  # it has a chat template
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # who uses the model

    @classmethod
    async def open(cls, location: Any, device: tt.Device, progress: Progress) -> Self:
        """Load a model: a folder of Pyodide's file system, or the JS files of a picked one."""
        return cls(*await _load(location, device, progress))

    async def swap(
        self, location: Any, progress: Progress, cancelled: Callable[[], bool]
    ) -> dict[str, Any]:
        """Load another model; the present one stays unless that succeeds."""

        def report(stage: str, done: int, total: int) -> None:
            if cancelled():
                raise GivenUpError
            progress(stage, done, total)

        try:
            model, speaks = await _load(location, self.model.device, report)
        except GivenUpError:
            return {"cancelled": True}
        except DeviceLostError:
            raise
        except TensortabError as error:
            return {"refused": str(error)}
        async with self.turn:
            self.model.destroy()
            self.model, self.speaks = model, speaks
        return {}

    def facts(self) -> dict[str, Any]:
        """What the page tells about the model and its device."""
        info = self.model.device.info
        return {
            "bits": self.model.bits,
            "adapter": str(info),
            "kind": info.kind,
            "software": info.software,
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


async def _load(location: Any, device: tt.Device, progress: Progress) -> tuple[Generator, bool]:
    """The model, and whether it has a chat template."""
    model = await tt.load(location, device=device, progress=progress)
    if isinstance(location, str):
        shutil.rmtree(Path(location))  # its weights are on the device now
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
