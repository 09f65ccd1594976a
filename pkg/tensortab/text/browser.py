"""Tokenizing with `@huggingface/tokenizers`, a JavaScript module, and jinja2 for chat templates.

The page's boot code imports the module (globalThis.tensortab.tokenizers is it, or its address). A
notebook has no such code: there it lies beside this file, where the wheel brought it along, or
comes from a CDN. Only an address needs eval, which a page's Content-Security-Policy may forbid,
since Python has no other way to a dynamic import.

jinja2 is fetched when messages are first rendered: a zip at globalThis.tensortab.jinja, else
Pyodide's own packages.
"""

from __future__ import annotations

import importlib.util
import json
import re
import site
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import js
import pyodide_js
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

    def encode_batch(self, texts: list[str], add_special_tokens: bool) -> list[list[int]]:
        """Ids of each text, neither padded nor cut."""
        for pattern, replacement in self.repairs:
            texts = [pattern.sub(replacement, text) for text in texts]
        encode = self.tokenizer.encode
        if add_special_tokens:
            # A few calls for the whole batch. map hands encode an index as its options, which then
            # are the defaults.
            encodings = to_js(texts).map(encode.bind(self.tokenizer))
        else:
            bare = _object(add_special_tokens=False)
            encodings = to_js([encode(text, bare) for text in texts])
        # stringify's list keeps the encodings' ids and drops the rest.
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
    served = getattr(getattr(js, "tensortab", None), "tokenizers", None) or _address()
    if not isinstance(served, str):
        return served
    try:
        return await run_js("(url) => import(url)")(served)
    except JsException as error:
        raise SetupError(f"the tokenizer's JavaScript from {served}: {error}") from error


def _address() -> str:
    beside = Path(__file__).with_name("tokenizers.mjs")
    if not beside.is_file():
        return CDN
    return f"data:text/javascript,{quote(beside.read_text(encoding='utf-8'))}"


async def load_jinja() -> None:
    """Have jinja2 to import, if it is not there yet."""
    if importlib.util.find_spec("jinja2"):
        return
    served = getattr(getattr(js, "tensortab", None), "jinja", None)
    why = "Pyodide's packages lack it"
    try:
        if served is None:
            await pyodide_js.loadPackage("jinja2")
        else:
            response = await js.fetch(served)
            folder = _object(extractDir=site.getsitepackages()[0])
            pyodide_js.unpackArchive(await response.arrayBuffer(), "zip", folder)
    except JsException as error:
        why = str(error)
    importlib.invalidate_caches()
    if not importlib.util.find_spec("jinja2"):  # loadPackage may only log what it did not find
        raise SetupError(
            f"this page has no jinja2, which chat templates need ({why}):"
            ' await micropip.install("jinja2") beforehand'
        )
