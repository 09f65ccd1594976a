import asyncio
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import harness
import tensortab as tt
from decoder_torch import logits
from tensortab.errors import FormatError, ShapeError, UnsupportedError
from tensortab.models import decoder, llama
from tensortab.quant import q4gsw
from tiny_llama import CONFIG, drive, tensors, write_checkpoint

PROMPT = "def add(a,"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("llama"))


async def text_of(model: Any, prompt: str = PROMPT, **options: Any) -> list[str]:
    return [piece async for piece in model.generate(prompt, **options)]


def greedy(weights: dict[str, np.ndarray], ids: list[int], count: int) -> list[int]:
    w = {n: torch.from_numpy(t) for n, t in weights.items()}
    ids = list(ids)
    for _ in range(count):
        ids.append(int(logits(w, llama.read(CONFIG), ids).argmax()))
    return ids[-count:]


@pytest.mark.parametrize("quantize", [None, "q4gsw"])
def test_greedy_tokens_are_torchs(
    native: harness.Native, folder: Path, quantize: str | None
) -> None:
    ids = [5, 80, 3, 200, 41]
    weights = tensors()
    for name in weights if quantize else ():
        if weights[name].ndim == 2:
            packed = q4gsw.quantize(weights[name], search=True, scales="float16")
            weights[name] = q4gsw.dequantize(*packed)
    found = drive(
        native,
        folder,
        lambda m: m.generate_ids(ids, max_new_tokens=20, ignore_eos=True),
        quantize=quantize,
    )
    assert found == greedy(weights, ids, 20)


def test_a_checkpoint_that_is_packed_already(
    native: harness.Native, folder: Path, tmp_path: Path
) -> None:
    for name in (
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    stored = {}
    for name, tensor in tensors().items():
        if tensor.ndim == 2:
            packed, scales = q4gsw.quantize(tensor, search=True, scales="float16")
            stored |= {f"{name}.packed": packed, f"{name}.scales": scales}
        else:
            stored[name] = tensor
    save_file(stored, tmp_path / "model.safetensors")
    work = lambda m: m.generate_ids([1, 2, 3], max_new_tokens=12)  # noqa: E731
    assert drive(native, tmp_path, work) == drive(native, folder, work)
    stored["model.norm.weight"] = stored["model.norm.weight"][:5]
    save_file(stored, tmp_path / "model.safetensors")
    with pytest.raises(
        FormatError, match=r"'model.norm.weight' is F32\[5\], expected float32\[64\]"
    ):
        drive(native, tmp_path, work)


def test_pieces_are_the_text_in_whole_characters(native: harness.Native, folder: Path) -> None:
    async def work(model: Any) -> tuple[list[str], list[int]]:
        pieces = await text_of(model, max_new_tokens=40, temperature=1.5, seed=3)
        ids = model.tokenizer.encode(PROMPT)
        return pieces, await model.generate_ids(ids, max_new_tokens=40, temperature=1.5, seed=3)

    pieces, ids = drive(native, folder, work)
    tokenizer = asyncio.run(tt.text.Tokenizer.open(folder))
    assert "".join(pieces) == tokenizer.decode(ids)
    assert len(pieces) > 5, "it streams"
    assert all(pieces)


def test_stop_strings_and_end_tokens(native: harness.Native, folder: Path) -> None:
    async def work(model: Any) -> tuple[str, str, list[int], list[int]]:
        model.eos = frozenset()  # which random weights may say at any time
        whole = "".join(await text_of(model, max_new_tokens=30))
        cut = "".join(await text_of(model, max_new_tokens=30, stop=["nowhere", whole[6:9]]))
        ids = model.tokenizer.encode(PROMPT)
        all_ids = await model.generate_ids(ids, max_new_tokens=30)
        model.eos = frozenset([all_ids[7]])
        return whole, cut, all_ids, await model.generate_ids(ids, max_new_tokens=30)

    whole, cut, all_ids, ended = drive(native, folder, work)
    assert cut == whole[: whole.index(whole[6:9])]
    assert ended == all_ids[: all_ids.index(all_ids[7])]


def test_a_prefix_is_not_computed_again(native: harness.Native, folder: Path) -> None:
    prompt = [int(i) for i in np.random.default_rng(5).integers(0, 299, 140)]  # two chunks

    async def work(model: Any) -> tuple[list[int], list[int], list[int]]:
        fed: list[int] = []
        run_steps = model.prompt.run_steps

        def watched(steps: int, **inputs: Any) -> Any:
            fed.append(len(inputs["ids"][0]))
            return run_steps(steps, **inputs)

        model.prompt.run_steps = watched
        first = await model.generate_ids(prompt, max_new_tokens=10)
        again = [*prompt, *first, 7, 8]
        second = await model.generate_ids(again, max_new_tokens=10)
        third = await model.generate_ids([*prompt[:50], 9], max_new_tokens=10)
        assert fed[:2] == [128, 12]
        assert fed[2] <= 4, "the answer's last token and the new ones"
        assert fed[3:] == [1]
        return first, second, third

    async def fresh(model: Any) -> tuple[list[int], ...]:
        found = []
        for ids in (prompt, [*prompt, *([7, 8])], [*prompt[:50], 9]):
            model.held = []  # forget what the caches hold
            longer = [*ids[:140], *found[0], *ids[140:]] if len(ids) == 142 else ids
            found.append(await model.generate_ids(longer, max_new_tokens=10))
        return tuple(found)

    assert drive(native, folder, work) == drive(native, folder, fresh)


def test_stopping_early_leaves_a_sound_model(native: harness.Native, folder: Path) -> None:
    async def work(model: Any) -> tuple[list[str], list[str]]:
        whole = await text_of(model, max_new_tokens=30)
        stream = model.generate(PROMPT, max_new_tokens=30)
        first = await anext(stream)
        await stream.aclose()
        assert whole[0] == first
        assert model.decode.get("pos") == len(model.held)
        return whole, await text_of(model, max_new_tokens=30)

    whole, again = drive(native, folder, work)
    assert whole == again


def test_what_is_refused(native: harness.Native, folder: Path) -> None:
    async def work(model: Any) -> None:
        with pytest.raises(
            ShapeError, match="the prompt has 41 tokens, expected 1 to 40, the cont"
        ):
            await model.generate_ids([1] * 41)
        with pytest.raises(ShapeError, match="the prompt has 0 tokens"):
            await model.generate_ids([])
        with pytest.raises(UnsupportedError, match=r"sampling option \['top_q'\]; there are temp"):
            await model.generate_ids([1], top_q=3)
        found = await model.generate_ids([1] * 35, max_new_tokens=100, ignore_eos=True)
        assert len(found) == 6, "as far as the context goes: 5 more fed, and one that is not"
        assert await model.generate_ids([1], max_new_tokens=0) == []

    drive(native, folder, work, context=40)
    with pytest.raises(UnsupportedError, match="context is 201, expected 1 to 200"):
        drive(native, folder, work, context=201)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"attention_bias": "q"}, FormatError, "attention_bias is 'q', expected true or false"),
        ({"hidden_act": "gelu"}, UnsupportedError, "hidden_act is 'gelu', expected 'silu'"),
        ({"vocab_size": 0}, FormatError, "vocab_size is 0, expected a positive integer"),
    ],
)
def test_configs_that_are_refused(
    change: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        llama.read(CONFIG | change)


def test_rope_as_transformers_4_and_5_write_it() -> None:
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    four = llama.read(CONFIG | {"rope_theta": 5e5, "rope_scaling": scaling})
    five = llama.read(CONFIG | {"rope_parameters": {"rope_theta": 5e5, **scaling}})
    assert four == five
    assert four.kinds == (decoder.Kind(decoder.Rope(5e5, scaling)),)


IN_TAB = """
import pickle
import tensortab as tt

async def main(payload):
    folder, files, runs = pickle.loads(payload)
    import pathlib
    pathlib.Path(folder).mkdir(parents=True)
    for name, data in files.items():
        pathlib.Path(folder, name).write_bytes(data)
    model = await tt.load(folder)
    found = [[p async for p in model.generate(prompt, **o)] for prompt, o in runs]
    model.destroy()
    return pickle.dumps(found)
"""


def test_a_penalty_is_for_this_calls_tokens_alone(native: harness.Native, folder: Path) -> None:
    """Whatever calls without one left flagged, and also where a prefix is not computed again."""
    prompt = [1, 2, 3, 4]
    drawn: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": 20, "ignore_eos": True}

    async def penalized(model: Any) -> list[int]:
        return list(await model.generate_ids(prompt, repetition_penalty=2.0, **drawn))

    async def after_others(model: Any) -> tuple[list[int], list[int], list[int]]:
        await model.generate_ids([*range(5, 200)], **drawn)
        plain = await model.generate_ids(prompt, **drawn)
        return plain, await penalized(model), await penalized(model)

    alone = drive(native, folder, penalized)
    plain, first, again = drive(native, folder, after_others)
    assert plain != alone
    assert first == again == alone


def test_the_same_text_in_a_tab(native: harness.Native, chrome: harness.Tab, folder: Path) -> None:
    sampled = {"max_new_tokens": 20, "temperature": 0.9, "top_p": 0.9, "seed": 11}
    runs = [(PROMPT, {"max_new_tokens": 20}), (PROMPT, sampled)]

    async def work(model: Any) -> list[str]:
        return ["".join(await text_of(model, p, **o)) for p, o in runs]

    files = {f.name: f.read_bytes() for f in folder.iterdir()}
    found = pickle.loads(chrome.call(IN_TAB, pickle.dumps(("/home/llama", files, runs))))
    assert ["".join(pieces) for pieces in found] == drive(native, folder, work)
