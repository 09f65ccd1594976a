"""What a call to a model took: tokens, seconds by the wall clock, and by the GPU's own.

`Usage` counts every call and costs nothing. `Timings` are measured apart, when asked for, on a
chunk of a prompt and a burst of decode steps run for the purpose (`Generator.time`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Usage:
    """Tokens of one call and the seconds they took; `model.last` is that of the latest."""

    prompt_tokens: int = 0  # as they were used, so without those dropped
    reused_tokens: int = 0  # of them, those whose keys and values were there already
    dropped_tokens: int = 0  # cut from the prompt, since it was too long
    room: int = 0  # new tokens there was room for, by max_new_tokens and the context
    new_tokens: int = 0
    prefill_seconds: float = 0.0  # until the first new token was read
    decode_seconds: float = 0.0  # from there to the last, whatever the caller did in between

    def after(self, prefill: float, decode: float) -> Usage:
        """The same with one new token more, read so many seconds into both parts."""
        new = self.new_tokens + 1
        return replace(self, new_tokens=new, prefill_seconds=prefill, decode_seconds=decode)

    @property
    def prefill_rate(self) -> float | None:
        """Tokens of the prompt a second, of those that were computed."""
        return _rate(self.prompt_tokens - self.reused_tokens, self.prefill_seconds)

    @property
    def decode_rate(self) -> float | None:
        """New tokens a second, after the first; None where one was all."""
        return _rate(self.new_tokens - 1, self.decode_seconds)


@dataclass(frozen=True)
class Timings:
    """GPU time of one chunk of a prompt and of one decode step, each run as it always is."""

    prompt_tokens: int  # of the chunk
    prompt_seconds: float
    decode_seconds: float

    @property
    def prefill_rate(self) -> float | None:
        """Tokens of a prompt a second of GPU time."""
        return _rate(self.prompt_tokens, self.prompt_seconds)

    @property
    def decode_rate(self) -> float | None:
        """New tokens a second of GPU time."""
        return _rate(1, self.decode_seconds)


def _rate(count: int, seconds: float) -> float | None:
    return count / seconds if count > 0 and seconds > 0 else None
