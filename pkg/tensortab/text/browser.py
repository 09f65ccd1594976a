"""Tokenizing with `@huggingface/tokenizers`, a JavaScript module.

The page's boot code imports it (globalThis.tensortab.tokenizers is the module, or its address);
without such code it comes from a CDN. Only an address needs eval, which a page's Content-Security-
Policy may forbid, since Python has no other way to a dynamic import.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import js
from pyodide.code import run_js
from pyodide.ffi import JsException, to_js

from tensortab.errors import FormatError, SetupError

from .repair import repairs

CDN = "https://cdn.jsdelivr.net/npm/@huggingface/tokenizers@0.2.0/dist/tokenizers.min.mjs"


async def open_engine(name: str, text: Any) -> JsEngine:
    """The engine of a tokenizer.json, a text or a Uint8Array of UTF-8."""
    module = await _module()
    try:
        if not isinstance(text, str):
            text = js.TextDecoder.new("utf-8", _object(fatal=True)).decode(text)
        parsed = js.JSON.parse(text)
        made = module.Tokenizer.new(parsed, js.Object.new())
    except JsException as error:
        raise FormatError(f"{name}: {error}") from error
    return JsEngine(made, repairs(json.loads(js.JSON.stringify(parsed.normalizer))), _size(parsed))


def _size(parsed: Any) -> int:
    """One more than the largest id of a parsed tokenizer.json."""
    vocab = parsed.model.vocab
    added = getattr(parsed, "added_tokens", None) or js.Array.new()
    largest = max((int(token.id) for token in added), default=-1)
    if js.Array.isArray(vocab):  # Unigram: pieces and scores, in order
        return max(largest + 1, int(vocab.length))
    # By a typed array: a proxy for each of a hundred thousand ids would take seconds.
    ids = js.Int32Array.from_(js.Object.values(vocab)).to_py()
    return max(largest, max(ids, default=-1)) + 1


@dataclass(frozen=True)
class JsEngine:
    """See tokenizer.Engine."""

    tokenizer: Any
    repairs: list[tuple[re.Pattern[str], str]]
    size: int  # one more than the largest id

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text, special tokens included, neither padded nor cut."""
        for pattern, replacement in self.repairs:
            texts = [pattern.sub(replacement, text) for text in texts]
        # A few calls for the whole batch. map hands encode an index as its options, which then are
        # the defaults; stringify's list keeps the encodings' ids and drops the rest.
        encodings = to_js(texts).map(self.tokenizer.encode.bind(self.tokenizer))
        rows = json.loads(js.JSON.stringify(encodings, to_js(["ids"])))
        return [row["ids"] for row in rows]

    def decode(self, ids: list[int]) -> str:
        """The text of some ids, special tokens left out."""
        # Of cleaning up, the decoder does its own; the Rust library knows no second one.
        options = _object(skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(self.tokenizer.decode(to_js(ids), options))


def _object(**fields: Any) -> Any:
    return js.Object.fromEntries(to_js(list(fields.items())))


async def _module() -> Any:
    served = getattr(getattr(js, "tensortab", None), "tokenizers", CDN)
    if not isinstance(served, str):
        return served
    try:
        return await run_js("(url) => import(url)")(served)
    except JsException as error:
        raise SetupError(f"the tokenizer's JavaScript from {served}: {error}") from error
