"""Chat templates on jinja2, in its sandbox, with what `transformers` lets templates rely on.

A template is a stranger's program: the sandbox gives it no attribute that begins with an underscore
and nothing to change what it is given. Blocks leave no blank lines (trim_blocks, lstrip_blocks);
{% break %} and {% continue %} work; {% generation %} marks the model's own words for training and
is passed through. `raise_exception(text)` refuses the messages, `strftime_now(format)` is the
present local time, and `tojson` writes JSON as json.dumps does, without HTML's escapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..errors import FormatError, UnsupportedError


class _Generation(Extension):
    """{% generation %} … {% endgeneration %}: what stands between."""

    tags = {"generation"}  # noqa: RUF012  # as jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def render(source: str, name: str, variables: Mapping[str, Any]) -> str:
    """The template's text for these variables; errors call it `name`."""
    try:
        return _compiled(source).render(tools=None, documents=None, **variables)
    except TemplateSyntaxError as error:
        raise FormatError(
            f"{name}: the chat template's line {error.lineno} is no Jinja: {error.message}"
        ) from error
    except Exception as error:  # whatever a stranger's program does wrong
        words = error.message if isinstance(error, TemplateError) else None
        raise UnsupportedError(
            f"{name}: the chat template refuses these messages:"
            f" {words or f'{type(error).__name__}: {error}'}"
        ) from error


@lru_cache(maxsize=8)
def _compiled(source: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    return environment.from_string(source)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _refuse(text: str) -> NoReturn:
    raise TemplateError(str(text))


def _now(form: str) -> str:
    return datetime.now().strftime(form)  # noqa: DTZ005  # the person's own, as transformers has it
