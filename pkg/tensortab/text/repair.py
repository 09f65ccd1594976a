"""What a text needs before the JavaScript tokenizer, so that it gives the Rust library's ids.

Two things set version 0.2.0 of `@huggingface/tokenizers` apart:

- its BertNormalizer puts spaces about Chinese characters by UTF-16 units, and so misses those
  beyond U+FFFF;
- it lowercases whole texts, in which Σ at the end of a word becomes ς, where the Rust library
  lowercases character by character, to σ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# The Rust library's ranges; U+2B820 to U+2B91F are missing there, too.
_CHINESE = re.compile(
    "[\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f]"
)


def repairs(normalizer: Any) -> list[tuple[re.Pattern[str], str]]:
    """The replacements for tokenizer.json's normalizer (null, or an object)."""
    found = []
    for part in _parts(normalizer):
        bert = part.get("type") == "BertNormalizer"
        if bert and part.get("handle_chinese_chars"):
            found.append((_CHINESE, r" \g<0> "))
        if part.get("type") == "Lowercase" or (bert and part.get("lowercase")):
            found.append((re.compile("Σ"), "σ"))
    return found


def _parts(normalizer: Any) -> Iterator[dict[str, Any]]:
    if isinstance(normalizer, dict):
        yield normalizer
        for part in normalizer.get("normalizers", []):
            yield from _parts(part)
