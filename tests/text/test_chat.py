"""Chat templates render what transformers renders; what they refuse is one sentence."""

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from transformers import PreTrainedTokenizerFast

import harness
from tensortab.errors import FormatError, SetupError, UnsupportedError
from tensortab.text import Tokenizer
from tensortab.text.chat import ChatTemplate
from tensortab.weights import open_folder

# Short ones in the forms that model families use.
CHATML = """{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\\n' }}
{%- endif %}
"""
QWEN3 = """{%- if tools %}{{ raise_exception('no tools') }}{%- endif %}
{%- set ns = namespace(last=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set text = message.content %}
    {%- if message.role == 'assistant' and '</think>' in text and loop.index0 < ns.last %}
        {%- set text = text.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' ~ message.role ~ '\\n' ~ text ~ '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
LLAMA = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = '' %}
{%- endif %}
{{- '<|start|>system<|end|>\\n\\nToday: ' + date_string + '\\n' + system + '<|eot|>' }}
{%- for message in messages %}
    {{- '<|start|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant<|end|>\\n\\n' }}{%- endif %}
"""
GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}
{{ raise_exception('System role not supported') }}{% endif %}
{% for message in messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{% endif %}
{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{ '<turn>' + role + '\\n' + message['content'] | trim + '<end>\\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<turn>model\\n' }}{% endif %}"""
PHI = """{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}
{{'<|system|>' + message['content'] + '<|end|>'}}{% continue %}{% endif %}
{% generation %}{{'<|' + message['role'] + '|>' + message['content'] + '<|end|>'}}
{% endgeneration %}
{% endfor %}
{{- '<|assistant|>' if add_generation_prompt else eos_token }}"""
JSON = """{{ messages | tojson }} {{ messages[0] | tojson(indent=2) }} {{ '<b>&' }}
{{ {'b': 'é', 'a': 1} | tojson(sort_keys=true, separators=(',', ':'), ensure_ascii=true) }}"""

PLAIN = [{"role": "user", "content": "Hello <b> & 'you', naïve ☃!"}]
LONG = [
    {"role": "user", "content": " first "},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nsecond"},
    {"role": "user", "content": "third"},
]
SYSTEM = [{"role": "system", "content": "Be brief. "}, *LONG]
CASES = [
    (CHATML, PLAIN, {}),
    (CHATML, SYSTEM, {}),
    (QWEN3, SYSTEM, {}),
    (QWEN3, LONG, {"enable_thinking": False}),
    (QWEN3, LONG[:2], {"enable_thinking": True}),
    (LLAMA, PLAIN, {}),
    (LLAMA, SYSTEM, {"date_string": "1 Jan 2026"}),
    (GEMMA, LONG, {}),
    (PHI, SYSTEM, {}),
    (PHI, LONG, {"add_generation_prompt": False}),
    (JSON, SYSTEM, {}),
]

SPECIALS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start|>", "<|end|>", "<|eot|>"]


def library() -> tokenizers.Tokenizer:
    """A byte-level tokenizer that puts <s> before whatever it encodes."""
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(
        [CHATML, LLAMA], vocab_size=400, show_progress=False, special_tokens=SPECIALS
    )
    made = tokenizers.Tokenizer.from_str(trained.to_str())
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return made


def write(folder: Path, template: Any, **config: Any) -> str:
    """A folder of a tokenizer and its template."""
    library().save(str(folder / "tokenizer.json"))
    tokens = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": None}
    config = tokens | {"chat_template": template} | config
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return str(folder)


def rendered(folder: str, messages: Any, **variables: Any) -> str:
    async def work() -> str:
        return await (await ChatTemplate.open(open_folder(folder))).render(messages, **variables)

    return asyncio.run(work())


@pytest.mark.parametrize(("template", "messages", "variables"), CASES)
def test_text_and_ids_are_transformers_own(
    tmp_path: Path, template: str, messages: Any, variables: dict[str, Any]
) -> None:
    folder = write(tmp_path, template)
    golden = PreTrainedTokenizerFast(
        tokenizer_object=library(), bos_token="<s>", eos_token="</s>", chat_template=template
    )
    asked = {"add_generation_prompt": True, **variables}
    text = rendered(folder, messages, **variables)
    assert text == golden.apply_chat_template(messages, tokenize=False, **asked)
    tokenizer = asyncio.run(Tokenizer.open(folder))
    ids = tokenizer.encode(text, add_special_tokens=False)
    want = golden.apply_chat_template(messages, tokenize=True, return_dict=False, **asked)
    assert ids == want
    assert ids.count(0) <= 1, "no second <s>"


def test_a_tab_renders_the_same(chrome: harness.Tab) -> None:
    source = """
import json
from tensortab.text.chat import ChatTemplate

async def main(payload):
    found = []
    for source, messages, variables in json.loads(payload):
        template = ChatTemplate(source, "a template", {"bos_token": "<s>", "eos_token": "</s>"})
        found.append(await template.render(messages, **variables))
    return json.dumps(found).encode()
"""
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    cases = [(t, m, v | {"date_string": "1 Jan 2026"}) for t, m, v in CASES]

    async def natively() -> list[str]:
        return [await ChatTemplate(t, "a template", tokens).render(m, **v) for t, m, v in cases]

    assert json.loads(chrome.call(source, json.dumps(cases).encode())) == asyncio.run(natively())


def test_a_tab_without_jinja_says_how_to_get_it(chrome: harness.Tab) -> None:
    source = """
import importlib.util
import js
from tensortab.text.browser import load_jinja

async def main(_):
    found, served = importlib.util.find_spec, js.tensortab.jinja
    importlib.util.find_spec = lambda name: None
    del js.tensortab.jinja
    try:
        await load_jinja()
    finally:
        importlib.util.find_spec, js.tensortab.jinja = found, served
"""
    with pytest.raises(SetupError, match=r"no jinja2, which .* micropip\.install"):
        chrome.call(source)


def test_a_file_beside_the_config_comes_first(tmp_path: Path) -> None:
    folder = write(tmp_path, "from the config")
    assert rendered(folder, PLAIN) == "from the config"
    (tmp_path / "chat_template.jinja").write_text("from the file{{ bos_token }}")
    assert rendered(folder, PLAIN) == "from the file<s>"


def test_named_templates(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}]
    assert rendered(write(tmp_path, named), PLAIN) == "b"
    with pytest.raises(UnsupportedError, match="none is called 'default'; there are tool_use"):
        rendered(write(tmp_path, named[:1]), PLAIN)
    with pytest.raises(FormatError, match="chat_template has an entry without 'template'"):
        rendered(write(tmp_path, [{"name": "default"}]), PLAIN)


def test_the_present_time_is_the_persons(tmp_path: Path) -> None:
    folder = write(tmp_path, "{{ strftime_now('%Y-%m-%d %H') }}")
    before = datetime.now().astimezone().strftime("%Y-%m-%d %H")
    found = rendered(folder, PLAIN)
    assert found in (before, datetime.now().astimezone().strftime("%Y-%m-%d %H"))


@pytest.mark.parametrize(
    ("template", "messages", "error", "message"),
    [
        (GEMMA, SYSTEM, UnsupportedError, "refuses these messages: System role not supported"),
        (GEMMA, LONG[1:], UnsupportedError, "refuses .*: Conversation roles must alternate"),
        (PHI + "{{ nothing.at.all }}", PLAIN, UnsupportedError, "'nothing' is undefined"),
        ("{{ 1 / 0 }}", PLAIN, UnsupportedError, "messages: ZeroDivisionError: division by zero"),
        ("{{ ''.__class__.__mro__ }}", PLAIN, UnsupportedError, "refuses these messages: .*unsafe"),
        ("{{ messages.append(1) }}", PLAIN, UnsupportedError, "these messages: .*'append'"),
        ("\n{% if %}", PLAIN, FormatError, "template's line 2 is no Jinja: Expected an expression"),
        (5, PLAIN, FormatError, "chat_template is 5, expected a text"),
        (None, PLAIN, UnsupportedError, "has no chat template .* give the prompt as a text"),
        (CHATML, [], FormatError, r"the prompt is \[\], expected a text, or a list of at least"),
        (CHATML, None, FormatError, "the prompt is None, expected a text, or a list"),
        (CHATML, ["hello"], FormatError, r"messages\[0\] is 'hello', expected {\"role\": …"),
        (CHATML, [*PLAIN, {"role": "user"}], FormatError, r"messages\[1\]: 'content' is missing"),
        (CHATML, [{"role": 1, "content": ""}], FormatError, r"\[0\]: 'role' is 1, expected a text"),
        (CHATML, [PLAIN[0] | {"x": {1}}], FormatError, "messages hold what is no JSON: .*set"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, template: Any, messages: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        rendered(write(tmp_path, template), messages)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_a_folder_has_no_template() -> None:
    with pytest.raises(UnsupportedError, match="came without a folder and has no chat template"):
        asyncio.run(ChatTemplate.open(None))


def test_files_that_are_malformed(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(FormatError, match=r"tokenizer_config\.json is not JSON"):
        rendered(str(tmp_path), PLAIN)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(
        FormatError, match=r"tokenizer_config\.json holds a list, expected an object"
    ):
        rendered(str(tmp_path), PLAIN)
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(UnsupportedError, match="has no chat template"):
        rendered(str(tmp_path), PLAIN)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(FormatError, match=r"chat_template\.jinja: .*utf-8"):
        rendered(str(tmp_path), PLAIN)
