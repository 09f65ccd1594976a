"""Token ids from a checkpoint's own tokenizer.json: the same natively and in a browser.

    tokenizer = await Tokenizer.open("models/all-MiniLM-L6-v2/")
    ids = tokenizer.encode_batch(["one line", "another"], max_length=256)

Natively the `tokenizers` package does it (native.py), in a browser `@huggingface/tokenizers`
(browser.py). Both read tokenizer.json and nothing else. Padding and truncation that it asks for are
left out: lines come back as long as they are, and `max_length` cuts a line's end, before the
special tokens that follow it.

The two part where their Unicode tables do: the Rust library's end at Unicode 8, the browser's do
not, so some 650 marks and signs of later scripts split words otherwise (or leave them [UNK]).

Errors: FormatError for a tokenizer.json that cannot be used; SetupError where it is not found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tensortab.errors import FormatError, ShapeError
from tensortab.weights.folder import Folder, open_folder
from tensortab.weights.source import IN_BROWSER


class Engine(Protocol):
    """A library that tokenizes."""

    def encode_batch(self, texts: list[str], add_special_tokens: bool) -> list[list[int]]:
        """Ids of each text, neither padded nor cut; special tokens of a line's ends if asked."""

    def decode(self, ids: list[int]) -> str:
        """The text of some ids, special tokens left out."""

    @property
    def size(self) -> int:
        """One more than the largest id."""


@dataclass(frozen=True)
class Tokenizer:
    """Texts to ids and back."""

    engine: Engine
    specials: tuple[int, int]  # how many special tokens a line begins and ends with
    folder: Folder | None = None  # where it came from, for what lies beside tokenizer.json

    @classmethod
    async def open(cls, location: Any) -> Tokenizer:
        """From the tokenizer.json of a folder: a path, a URL or what else `open_folder` takes."""
        folder = open_folder(location)
        source = await folder.source("tokenizer.json")
        # Foreign: ten megabytes that a browser's library would only have handed back to it.
        opened = await cls.from_json(await source.foreign(0, await source.size()), source.name)
        return replace(opened, folder=folder)

    @classmethod
    async def from_json(cls, data: Any, name: str = "tokenizer.json") -> Tokenizer:
        """From the contents of a tokenizer.json, which errors call `name`.

        `data` is text, UTF-8 bytes, or in a browser a JS Uint8Array of them.
        """
        try:
            text = str(data, "utf-8") if isinstance(data, bytes | memoryview) else data
        except UnicodeDecodeError as error:
            raise FormatError(f"{name}: {error}") from error
        engine = await _open_engine(name, text)
        empty, one = engine.encode_batch(["", "a"], add_special_tokens=True)
        pairs = enumerate(zip(empty, one, strict=False))
        begin = next((i for i, (a, b) in pairs if a != b), len(empty))
        return cls(engine, (begin, len(empty) - begin))

    @property
    def size(self) -> int:
        """One more than the largest id: the rows a model's table has to have."""
        return self.engine.size

    @property
    def beginning(self) -> list[int]:
        """The special tokens that every line begins with: a BOS, or nothing."""
        return self.encode("")[: self.specials[0]]

    def encode(
        self, text: str, max_length: int | None = None, *, add_special_tokens: bool = True
    ) -> list[int]:
        """The ids of one text; special tokens at its ends unless `add_special_tokens` is False."""
        return self.encode_batch([text], max_length, add_special_tokens=add_special_tokens)[0]

    def encode_batch(
        self,
        texts: Sequence[str],
        max_length: int | None = None,
        *,
        add_special_tokens: bool = True,
    ) -> list[list[int]]:
        """The ids of each text, at most `max_length` of them; one call of the library for all."""
        rows = self.engine.encode_batch([_sound(text) for text in texts], add_special_tokens)
        if max_length is None:
            return rows
        kept, end = (sum(self.specials), self.specials[1]) if add_special_tokens else (0, 0)
        if max_length <= kept:
            raise ShapeError(
                f"max_length is {max_length}, expected more than the {kept} special"
                f" tokens of every line"
            )
        return [
            row if len(row) <= max_length else row[: max_length - end] + row[len(row) - end :]
            for row in rows
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, special tokens left out."""
        return self.engine.decode(list(map(int, ids))) if len(ids) else ""


def check_tokens(tokenizer: Tokenizer, vocab: int) -> None:
    """Refuse a tokenizer of another model: its ids would lie outside the embedding's table."""
    if tokenizer.size > vocab:
        raise FormatError(
            f"the tokenizer has ids up to {tokenizer.size - 1}, the model's table {vocab} rows"
            " (vocab_size in config.json): tokenizer.json is another model's"
        )


async def _open_engine(name: str, text: Any) -> Engine:
    if IN_BROWSER:
        from . import browser  # noqa: PLC0415  # its imports exist only in a browser

        return await browser.open_engine(name, text)
    from . import native  # noqa: PLC0415  # its package is not in browsers

    return native.open_engine(name, text)


def _sound(text: str) -> str:
    """Half a surrogate pair, which no UTF-8 can hold, becomes U+FFFD; whole pairs are joined."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
