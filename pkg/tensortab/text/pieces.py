"""Tokens to text as they come: whole characters, no more than is certain, up to a stop string.

    pieces = Pieces(tokenizer.decode, stop=["def "])
    for token in tokens:
        text = pieces.add(token)        # may be empty
    text = pieces.end()

Only the last tokens are decoded again, so that a text of n tokens costs O(n). What has been decoded
before them is dropped only where decoding the rest alone gives the same end; a tokenizer for which
it never does is decoded whole every time.

A character may take several tokens, and an unfinished one decodes to U+FFFD, with byte fallback its
whole run of bytes does: what ends so is held back. A U+FFFD of the model's own comes with what
follows it, or at the end. (Where a tokenizer spells U+FFFD in bytes of its fallback, a run of a
dozen or more is not told from unfinished ones, and may come out longer.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

BROKEN = "\ufffd"  # what a tokenizer makes of half a character

_WINDOW = 32  # tokens decoded again; more are cut down to
_TAIL = 8  # tokens, or a few more: a character cut in two by the cut has ended since
_BYTES = 4  # of a character, at most
_HELD = _WINDOW + _BYTES  # U+FFFD held back: as many as a window's run of bytes gives


class Pieces:
    """The text of one answer, so far as it is certain."""

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        stop: Sequence[str] = (),
        before: Sequence[int] = (),
    ) -> None:
        """`before` are the last tokens of the text that the answer continues."""
        self.stopped = False  # a stop string was found: there is no more text
        self._decode = decode
        self._stop = stop
        self._tokens = list(before)
        self._text = decode(before)  # of the tokens
        self._sent = len(self._text)  # characters of it

    def add(self, token: int) -> str:
        """The text that this token makes certain."""
        self._tokens.append(token)
        self._text = self._decode(self._tokens)
        piece = self._take(len(self._text) - self._uncertain())
        self._forget()
        return piece

    def end(self) -> str:
        """What was held back, when no token follows."""
        return self._take(len(self._text))

    def _take(self, end: int) -> str:
        found = [at for s in self._stop if (at := self._text.find(s, self._sent)) >= 0]
        if found:
            self.stopped = True
            end = min(found)
        start, self._sent = self._sent, max(self._sent, end)
        if self.stopped:
            self._text = self._text[: self._sent]
        return self._text[start : self._sent]

    def _uncertain(self) -> int:
        """Characters at the end that the next token may change, or complete to a stop string."""
        whole = self._text.rstrip(BROKEN)
        broken = min(len(self._text) - len(whole), _HELD)
        known = self._text[self._sent : len(self._text) - broken]
        starts = (k for s in self._stop for k in range(1, len(s)) if known.endswith(s[:k]))
        return broken + max(starts, default=0)

    def _forget(self) -> None:
        """Drop tokens from the window's front, where those that stay decode to the same end."""
        waiting = len(self._text) - self._sent
        least = _TAIL + _BYTES * waiting
        if len(self._tokens) <= max(_WINDOW, 2 * least):
            return
        for size in range(least, least + _BYTES):
            tail = self._decode(self._tokens[-size:])
            if len(tail) > waiting and self._text.endswith(tail):
                self._tokens, self._text = self._tokens[-size:], tail
                self._sent = len(tail) - waiting
                return
