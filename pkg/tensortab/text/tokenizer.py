"""Token ids from a checkpoint's own tokenizer.json: the same natively and in a browser.

    tokenizer = await Tokenizer.open("models/all-MiniLM-L6-v2/")
    ids = tokenizer.encode_batch(["one line", "another"], max_length=256)

Natively the `tokenizers` package does it (native.py), in a browser `@huggingface/tokenizers`
(browser.py). Padding and truncation that the file asks for are left out: lines come back as long as
they are. `max_length` cuts a line's end, before the special tokens that follow it.

The two agree on every character of Unicode 8 and on whatever they make of several together; of
later scripts they know different tables, so a word of those may become other ids (often [UNK]).

Errors: FormatError for a tokenizer.json that cannot be used; SetupError where it is not found.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tensortab.errors import FormatError, ShapeError
from tensortab.weights.source import IN_BROWSER, is_url, open_source


class Engine(Protocol):
    """A library that tokenizes."""

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text, special tokens included, neither padded nor cut."""

    def decode(self, ids: list[int]) -> str:
        """The text of some ids, special tokens left out."""


@dataclass(frozen=True)
class Tokenizer:
    """Texts to ids and back."""

    engine: Engine
    specials: tuple[int, int]  # how many special tokens a line begins and ends with

    @classmethod
    async def open(cls, folder: str | os.PathLike[str]) -> Tokenizer:
        """From a folder's, or a URL's, tokenizer.json and tokenizer_config.json."""
        base = os.fspath(folder)
        texts = []
        for name in ("tokenizer.json", "tokenizer_config.json"):
            source = open_source(
                f"{base.rstrip('/')}/{name}" if is_url(base) else os.path.join(base, name)
            )
            texts.append(bytes(await source.read(0, await source.size())))
        return await cls.from_json(*texts, name=base)

    @classmethod
    async def from_json(
        cls, tokenizer: str | bytes, config: str | bytes = "{}", *, name: str = "tokenizer.json"
    ) -> Tokenizer:
        """From the two files' contents; errors call them `name`."""
        parsed = _object(name, tokenizer), _object(name, config)
        if IN_BROWSER:
            from . import browser  # noqa: PLC0415  # its imports exist only in a browser

            engine: Engine = await browser.open_engine(name, *parsed)
        else:
            from . import native  # noqa: PLC0415  # nor does the package that does it natively

            engine = native.open_engine(name, *parsed)
        empty, one = engine.encode_batch(["", "a"])
        begin = len(os.path.commonprefix([empty, one]))
        return cls(engine, (begin, len(empty) - begin))

    def encode(self, text: str, max_length: int | None = None) -> list[int]:
        """The ids of one text, special tokens included."""
        return self.encode_batch([text], max_length)[0]

    def encode_batch(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """The ids of each text, at most `max_length` of them; one call of the library for all."""
        rows = self.engine.encode_batch([_sound(text) for text in texts])
        if max_length is None:
            return rows
        end = self.specials[1]
        if max_length <= sum(self.specials):
            raise ShapeError(
                f"max_length is {max_length}, expected more than the {sum(self.specials)} special"
                f" tokens of every line"
            )
        return [
            row if len(row) <= max_length else row[: max_length - end] + row[len(row) - end :]
            for row in rows
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, special tokens left out."""
        return self.engine.decode(list(map(int, ids))) if len(ids) else ""


def _object(name: str, text: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{name}: a {type(value).__name__}, expected a JSON object")
    return value


def _sound(text: str) -> str:
    """Half a surrogate pair, which no UTF-8 can hold, becomes U+FFFD; whole pairs are joined."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
