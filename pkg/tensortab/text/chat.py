"""A checkpoint's chat template: messages to the text that the model was trained to answer.

    template = await ChatTemplate.open(open_folder("models/qwen3/"))
    text = await template.render([{"role": "user", "content": "Hello"}], enable_thinking=False)

A template is Jinja, from the file chat_template.jinja or, where there is none, from chat_template
in tokenizer_config.json: a text, or a list of {"name", "template"}, of which "default" is taken.
It sees what `transformers` gives it: messages, add_generation_prompt, tools and documents (None),
the tokenizer's special tokens (bos_token, …), and the caller's own variables.

What it renders holds the special tokens already: encode it with add_special_tokens=False.

Errors: UnsupportedError for a model without a template, and with the template's own words where it
refuses the messages; FormatError for messages, or a template, that are malformed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import FormatError, UnsupportedError
from ..weights.folder import Folder
from ..weights.source import IN_BROWSER

Messages = Sequence[Mapping[str, Any]]

_FILE, _CONFIG = "chat_template.jinja", "tokenizer_config.json"
_NONE = (
    "no chat template (chat_template.jinja, or chat_template in tokenizer_config.json), so it"
    " takes no messages: give the prompt as a text"
)
_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")


@dataclass(frozen=True)
class ChatTemplate:
    """A template's source, where it was found, and the special tokens it may name."""

    source: str
    name: str
    tokens: Mapping[str, str]

    @classmethod
    async def open(cls, folder: Folder | None) -> ChatTemplate:
        """The template of a checkpoint's folder; a tokenizer may come from none."""
        if folder is None:
            raise UnsupportedError(f"this tokenizer came without a folder and has {_NONE}")
        has_config = await folder.has(_CONFIG)
        config = await folder.json(_CONFIG) if has_config else {}
        tokens = {n: t for n in _TOKENS if (t := _token(config.get(n))) is not None}
        if await folder.has(_FILE):
            place = (await folder.source(_FILE)).name
            return cls(_decoded(place, await folder.read(_FILE)), place, tokens)
        if not (found := config.get("chat_template")):
            raise UnsupportedError(f"{folder.name} has {_NONE}")
        place = (await folder.source(_CONFIG)).name
        return cls(_chosen(place, found), place, tokens)

    async def render(self, messages: Messages, **variables: Any) -> str:
        """The prompt's text, up to where the model's answer begins."""
        check_messages(messages)
        if IN_BROWSER:
            from .browser import load_jinja  # noqa: PLC0415  # its imports exist only in a browser

            await load_jinja()
        from .template import render  # noqa: PLC0415  # a model without messages needs no jinja2

        given = {"messages": list(map(dict, messages)), "add_generation_prompt": True, **variables}
        try:  # what a template sees is data, never an object with methods of its own
            plain = json.loads(json.dumps(given))
        except (TypeError, ValueError) as error:
            raise FormatError(f"messages hold what is no JSON: {error}") from error
        return render(self.source, self.name, {**self.tokens, **plain})


def check_messages(messages: Messages) -> None:
    """Refuse what is not a list of {"role": text, "content": text}, saying which one."""
    if not isinstance(messages, Sequence) or not messages:
        raise FormatError(
            f"the prompt is {_short(messages)}, expected a text, or a list of at least one"
            ' {"role": …, "content": …}'
        )
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise FormatError(
                f'messages[{i}] is {_short(message)}, expected {{"role": …, "content": …}}'
            )
        for key in ("role", "content"):
            if not isinstance(got := message.get(key), str):
                told = f"is {_short(got)}" if key in message else "is missing"
                raise FormatError(f"messages[{i}]: {key!r} {told}, expected a text")


def _chosen(place: str, found: Any) -> str:
    """The template of a tokenizer_config.json."""
    if isinstance(found, list):
        try:
            named = {entry["name"]: entry["template"] for entry in found}
        except (TypeError, KeyError) as error:
            raise FormatError(f"{place}: chat_template has an entry without {error}") from error
        if "default" not in named:
            raise UnsupportedError(
                f"{place}: of its chat templates none is called 'default'; there are"
                f" {', '.join(map(str, named))}"
            )
        found = named["default"]
    if not isinstance(found, str):
        raise FormatError(f"{place}: chat_template is {_short(found)}, expected a text")
    return found


def _token(value: Any) -> str | None:
    """A special token: a text, or an object that holds it as `content`."""
    found = value.get("content") if isinstance(value, dict) else value
    return found if isinstance(found, str) else None


def _decoded(place: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{place}: {error}") from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
