"""Tokenizing with the `tokenizers` package."""

from __future__ import annotations

from dataclasses import dataclass

import tokenizers

from tensortab.errors import FormatError


def open_engine(name: str, text: str) -> NativeEngine:
    """The engine of a tokenizer.json."""
    try:
        made = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the package raises nothing narrower
        raise FormatError(f"{name}: {error}") from error
    made.no_padding()
    made.no_truncation()
    return NativeEngine(made)


@dataclass(frozen=True)
class NativeEngine:
    """See tokenizer.Engine."""

    tokenizer: tokenizers.Tokenizer

    def encode_batch(self, texts: list[str], add_special_tokens: bool) -> list[list[int]]:
        """Ids of each text, neither padded nor cut."""
        encodings = self.tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: list[int]) -> str:
        """The text of some ids, special tokens left out."""
        return str(self.tokenizer.decode(ids))

    @property
    def size(self) -> int:
        """One more than the largest id."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
