"""Messages, prefixes that are kept, streams that are left, calls that are refused."""

import asyncio
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness
from tensortab.errors import FormatError, ShapeError, UnsupportedError
from tensortab.text.turn import Turn
from tiny_llama import drive, write_checkpoint

TEMPLATE = """{% for m in messages %}<{{ m.role }}>{{ m.content }}
{% endfor %}{{ raise_exception('no robots') if messages[-1].role == 'robot' }}
{%- if add_generation_prompt %}<assistant>{{ mood }}{% endif %}"""
FIRST = [{"role": "user", "content": "add a, b"}]
PROMPT = "def add(a,"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_checkpoint(tmp_path_factory.mktemp("chat"))
    (made / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    (made / "generation_config.json").write_text('{"do_sample": false}')  # and without an end
    return made


async def text_of(model: Any, prompt: Any = PROMPT, **options: Any) -> str:
    return "".join([piece async for piece in model.generate(prompt, **options)])


def submissions(model: Any) -> list[str]:
    """What is submitted from now on: the session's name each time."""
    made: list[str] = []

    def watched(name: str) -> Callable[..., Any]:
        run_steps = getattr(model, name).run_steps

        def run(steps: int, **inputs: Any) -> Any:
            made.append(name)
            return run_steps(steps, **inputs)

        return run

    for name in ("prompt", "decode"):
        getattr(model, name).run_steps = watched(name)
    return made


def test_messages_are_laid_out_by_the_template(native: harness.Native, folder: Path) -> None:
    async def work(model: Any) -> None:
        laid_out = "<user>add a, b\n<assistant>"
        assert await text_of(model, FIRST) == await text_of(model, laid_out)
        moody = await text_of(model, FIRST, chat_template_kwargs={"mood": "glad"})
        assert moody == await text_of(model, f"{laid_out}glad")
        assert model.last.prompt_tokens == len(model.tokenizer.encode(f"{laid_out}glad"))

    drive(native, folder, work)


def test_a_conversation_computes_only_what_is_new(native: harness.Native, folder: Path) -> None:
    async def work(model: Any) -> None:
        answer = await text_of(model, FIRST, max_new_tokens=12)
        first = model.last
        assert (first.reused_tokens, first.new_tokens, first.room) == (0, 12, 12)
        assert first.prefill_rate > 0
        assert first.decode_rate > 0
        messages = [
            *FIRST,
            {"role": "assistant", "content": answer},
            {"role": "user", "content": "c"},
        ]
        text = await text_of(model, messages, max_new_tokens=12)
        again = model.last
        # The answer's own tokens may not be those its text is read as, from its last word on.
        assert first.prompt_tokens <= again.reused_tokens < again.prompt_tokens
        model.held = []
        assert await text_of(model, messages, max_new_tokens=12) == text
        assert model.last.reused_tokens == 0

    drive(native, folder, work)


def test_truncating_gives_what_the_newest_tokens_give(native: harness.Native, folder: Path) -> None:
    async def work(model: Any) -> None:
        ids = [int(i) for i in range(60)]
        found = await model.generate_ids(ids, max_new_tokens=10, overflow="truncate")
        assert (model.last.dropped_tokens, model.last.room) == (29, 10)
        assert found == await model.generate_ids(ids[29:], max_new_tokens=10)
        text = await text_of(model, PROMPT * 20, max_new_tokens=10, overflow="truncate")
        assert model.last.prompt_tokens == 31
        assert text == await text_of(model, PROMPT * 20, max_new_tokens=10, overflow="truncate")

    drive(native, folder, work, context=40)


def test_what_is_refused_changes_nothing(native: harness.Native, folder: Path) -> None:
    robot = [*FIRST, {"role": "robot", "content": ""}]
    refused: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (PROMPT * 41, {}, ShapeError, "tokens, expected 1 to 200, the context"),
        ("", {}, ShapeError, "the prompt has 0 tokens"),
        (PROMPT, {"max_new_tokens": -1}, UnsupportedError, "max_new_tokens is -1"),
        (PROMPT, {"top_q": 1}, UnsupportedError, "sampling option"),
        (PROMPT, {"top_p": 3}, UnsupportedError, "top_p is 3"),
        (PROMPT, {"stop": [""]}, UnsupportedError, "stop has ''"),
        (PROMPT, {"overflow": "no"}, UnsupportedError, "overflow is 'no'"),
        (robot, {}, UnsupportedError, "refuses these messages: no robots"),
        ([{"role": "user"}], {}, FormatError, r"messages\[0\]: 'content' is missing"),
        (7, {}, FormatError, "the prompt is 7, expected a text, or a list"),
    ]

    async def work(model: Any) -> None:
        first = await text_of(model, max_new_tokens=12)
        held, whole = list(model.held), len(model.tokenizer.encode(PROMPT))
        made = submissions(model)
        for prompt, options, error, message in refused:
            with pytest.raises(error, match=message):
                await text_of(model, prompt, **options)
            with pytest.raises(ShapeError, match="token 1 of the prompt is 300, expected 0 to 299"):
                await model.generate_ids([3, 300])
            assert model.held == held
            assert not made
            assert await text_of(model, max_new_tokens=12) == first
            assert model.last.reused_tokens == whole - 1
            made.clear()

    drive(native, folder, work)


def test_a_model_without_a_template_takes_no_messages(
    native: harness.Native, tmp_path: Path
) -> None:
    async def work(model: Any) -> None:
        with pytest.raises(UnsupportedError, match=f"{tmp_path} has no chat template"):
            await text_of(model, FIRST)
        assert await text_of(model)

    drive(native, write_checkpoint(tmp_path), work)


async def left_by_closing(model: Any, made: list[str]) -> int:
    stream = model.generate(PROMPT, max_new_tokens=60)
    await anext(stream)
    count = len(made)
    await stream.aclose()
    return count


async def left_by_break(model: Any, made: list[str]) -> int:
    async for _ in model.generate(PROMPT, max_new_tokens=60):
        break
    return len(made)


async def left_by_cancelling(model: Any, made: list[str]) -> int:
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in model.generate(PROMPT, max_new_tokens=60):
            begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    count = len(made)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return count


@pytest.mark.parametrize("leave", [left_by_closing, left_by_break, left_by_cancelling])
def test_a_stream_that_is_left_submits_nothing_more(
    native: harness.Native, folder: Path, leave: Any
) -> None:
    async def work(model: Any) -> None:
        whole = await text_of(model, max_new_tokens=60)
        model.held = []
        made = submissions(model)
        count = await leave(model, made)
        await asyncio.sleep(0.05)
        assert len(made) == count, "from the moment it was left"
        assert count < 20, "long before its end"
        assert await text_of(model, max_new_tokens=60) == whole
        assert len(made) - count == 31, "one for the prompt, one for two steps each"
        assert model.decode.get("pos") == len(model.held)

    drive(native, folder, work)


def test_a_long_prompt_can_be_left_between_its_chunks(
    native: harness.Native, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tensortab.models.sessions._FEW", 8)
    ids = [int(i) for i in range(3, 83)]  # ten chunks

    async def work(model: Any) -> None:
        whole = await model.generate_ids(ids, max_new_tokens=4)
        model.held = []
        made = submissions(model)
        task = asyncio.create_task(model.generate_ids(ids, max_new_tokens=4))
        while len(made) < 4:  # noqa: ASYNC110  # the submissions themselves are counted
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(made) <= 5
        assert model.held == ids[: 8 * len(made)], "chunks that were fed are kept"
        assert await model.generate_ids(ids, max_new_tokens=4) == whole
        assert model.last.reused_tokens >= 8 * 4

    drive(native, folder, work)


def test_the_newest_call_takes_over(native: harness.Native, folder: Path) -> None:
    async def work(model: Any) -> None:
        whole = await text_of(model, max_new_tokens=30)
        stream = model.generate(PROMPT, max_new_tokens=30)
        await anext(stream)
        assert await text_of(model, max_new_tokens=30) == whole
        with pytest.raises(UnsupportedError, match="this stream has ended: another call"):
            await anext(stream)
        both = await asyncio.gather(
            text_of(model, max_new_tokens=30),
            text_of(model, "x = ", max_new_tokens=30),
            return_exceptions=True,
        )
        assert isinstance(both[0], UnsupportedError)
        assert await text_of(model, "x = ", max_new_tokens=30) == both[1]

    drive(native, folder, work)


def test_nobody_hears_of_what_fails_after_it_was_left() -> None:
    def work() -> Any:
        async def fail() -> Any:
            raise ShapeError("late")

        while True:
            yield fail(), True

    async def leave() -> list[Any]:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: told.append(context)
        )
        Turn(work()).end()
        await asyncio.sleep(0.01)
        return told

    assert asyncio.run(leave()) == []


def test_times_by_the_gpus_clock_leave_the_conversation(
    native: harness.Native, folder: Path
) -> None:
    async def work(model: Any) -> None:
        first = await text_of(model, max_new_tokens=12)
        held = list(model.held)
        timings = await model.time()
        assert timings.prompt_tokens == model.last.prompt_tokens
        assert timings.prefill_rate > 0
        assert timings.decode_rate > 0
        chunk, step = await model.profile()
        assert len(chunk.rows) >= len(step.rows) > 10
        assert model.held == held
        assert await text_of(model, max_new_tokens=12) == first
        # A full context: what lies where the chunk is run is given up, and no more.
        ids = list(range(3, 203))
        whole = await model.generate_ids(ids, max_new_tokens=1)
        assert (await model.time()).prompt_tokens == 128
        assert model.held == ids[: 200 - 128]
        assert await model.generate_ids(ids, max_new_tokens=1) == whole

    drive(native, folder, work)


def test_an_adapter_without_a_clock_has_no_times(folder: Path) -> None:
    import tensortab as tt

    async def work() -> Any:
        device = await tt.Device.open("reference")
        model = await tt.load(str(folder), device=device)
        await text_of(model, max_new_tokens=2)
        return await model.time()

    assert asyncio.run(work()) is None


IN_TAB = """
import asyncio, json, pathlib, pickle
import tensortab as tt

async def main(payload):
    files, messages, prompt = pickle.loads(payload)
    folder = pathlib.Path("/chat")
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    model = await tt.load("/chat")

    async def text(prompt, **options):
        return "".join([piece async for piece in model.generate(prompt, **options)])

    found = {"chat": await text(messages, max_new_tokens=12)}
    found["reused"] = (await text(messages, max_new_tokens=12), model.last.reused_tokens)[1]
    async for piece in model.generate(prompt, max_new_tokens=60):
        break
    found["text"] = await text(prompt, max_new_tokens=30, stop=["no such end"])
    ids = model.tokenizer.encode(prompt)
    found["logits"] = await model.logits(ids)
    found["perplexity"] = await model.perplexity(prompt)
    found["again"] = await text(prompt, max_new_tokens=30)
    timings = await model.time()
    found["rates"] = timings.prefill_rate, timings.decode_rate
    model.destroy()
    return pickle.dumps(found)
"""


def test_a_tab_does_the_same(native: harness.Native, chrome: harness.Tab, folder: Path) -> None:
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    found = pickle.loads(chrome.call(IN_TAB, pickle.dumps((files, FIRST, PROMPT))))

    async def work(model: Any) -> None:
        assert found["chat"] == await text_of(model, FIRST, max_new_tokens=12)
        assert found["reused"] == model.last.prompt_tokens - 1
        assert found["text"] == found["again"] == await text_of(model, max_new_tokens=30)
        scores = await model.logits(model.tokenizer.encode(PROMPT))
        assert abs(found["logits"] - scores).max() < 0.05
        assert found["perplexity"] == pytest.approx(await model.perplexity(PROMPT), rel=1e-2)
        assert min(found["rates"]) > 0

    drive(native, folder, work)
