"""A model from every kind of location; what is wrong with one is a sentence, and costs nothing.

Every refusal is followed by a run of another model on the same device, which is as it was.
"""

import asyncio
import dataclasses
import json
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import tokenizers
import torch
from aiohttp import web
from safetensors.numpy import load_file

import harness
import tensortab as tt
from tensortab import quantizer
from tensortab.errors import (
    DeviceError,
    FormatError,
    NotFoundError,
    SetupError,
    TensortabError,
    UnsupportedError,
)
from tensortab.models import decoder, fill, llama
from tensortab.models.sessions import open_sessions
from tensortab.quant.recipe import FLOAT, Format, Recipe
from tensortab.weights import open_checkpoint, open_folder
from tiny_llama import CONFIG, shard, write_checkpoint

IDS = [5, 80, 3, 200, 41]
INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One to be changed."""
    return write_checkpoint(tmp_path)


async def tokens(device: tt.Device, location: Any, **options: Any) -> list[int]:
    model = await tt.load(location, device=device, **options)
    try:
        return await model.generate_ids(IDS, max_new_tokens=12, ignore_eos=True)
    finally:
        model.destroy()


@pytest.fixture(scope="module")
def want(native: harness.Native, sound: Path) -> list[int]:
    return asyncio.run(tokens(native.device, sound))


@pytest.fixture(scope="module")
def standing(native: harness.Native, sound: Path) -> Iterator[Callable[[], list[int]]]:
    """Another model on the device; what it says."""
    model = asyncio.run(tt.load(sound, device=native.device))
    yield lambda: asyncio.run(model.generate_ids(IDS, max_new_tokens=12, ignore_eos=True))
    model.destroy()


@pytest.fixture
def refused(
    native: harness.Native,
    standing: Callable[[], list[int]],
    want: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., None]:
    """Load what has to be refused, with nothing allocated, and see that the other model runs."""

    def check(error: type[TensortabError], message: str, location: Any, **options: Any) -> None:
        made = []
        with monkeypatch.context() as patch:
            patch.setattr(native.device.backend, "alloc", lambda *a, **_: made.append(a))
            with pytest.raises(error, match=message) as told:
                asyncio.run(tokens(native.device, location, **options))
        assert "\n" not in str(told.value), "one sentence"
        assert made == [], "no memory was asked for"
        assert standing() == want

    return check


def edit(path: Path, **changed: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


# Locations.


def test_shards_and_dtypes(native: harness.Native, folder: Path) -> None:
    kept = {
        n: torch.from_numpy(t).bfloat16()
        for n, t in load_file(folder / "model.safetensors").items()
    }
    safetensors.torch.save_file(kept, folder / "model.safetensors")
    one = asyncio.run(tokens(native.device, folder))
    shard(folder, 3, torch.bfloat16)
    assert not (folder / "model.safetensors").exists()
    assert asyncio.run(tokens(native.device, str(folder))) == one
    mapping = {f.name: f.read_bytes() for f in folder.iterdir()}
    assert asyncio.run(tokens(native.device, mapping)) == one


def test_without_the_optional_files(native: harness.Native, folder: Path, want: list[int]) -> None:
    (folder / "generation_config.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    edit(folder / "config.json", eos_token_id=[7, 299])

    async def work() -> None:
        model = await tt.load(folder, device=native.device)
        assert model.eos == {7, 299}
        found = await model.generate_ids(IDS, max_new_tokens=12, ignore_eos=True, temperature=0)
        model.destroy()
        assert found == want

    asyncio.run(work())


IN_TAB = """
import js
import pickle
import pyodide
import tensortab as tt
from pyodide.ffi import to_js

async def picked(files, name):
    # What an <input webkitdirectory> gives: Files that know their path.
    made = []
    for path, data in files.items():
        file = js.File.new(to_js([to_js(data)]), path)
        js.Object.defineProperty(
            file, "webkitRelativePath", js.Object.fromEntries(to_js([["value", f"{name}/{path}"]]))
        )
        made.append(file)
    return to_js(made)

async def directory(files):
    top = await js.navigator.storage.getDirectory()
    options = js.Object.fromEntries(to_js([["create", True]]))
    folder = await top.getDirectoryHandle("picked", options)
    for path, data in files.items():
        writer = await (await folder.getFileHandle(path, options)).createWritable()
        await writer.write(to_js(data))
        await writer.close()
    return folder

async def main(payload):
    files, ids, url = pickle.loads(payload)
    device = await tt.Device.open("browser")
    found = {}
    locations = {
        "url": url,
        "files": await picked(files, "model"),
        "beside others": (await picked(files | {"other/readme.md": b""}, "top")),
        "handle": await directory(files),
        "bytes": files,
    }
    for name, location in locations.items():
        told = []
        model = await tt.load(location, device=device, progress=lambda *at: told.append(at))
        assert told[-1][1] == told[-1][2] and {t[0] for t in told} == {"weights", "tensors"}
        found[name] = await model.generate_ids(ids, max_new_tokens=12, ignore_eos=True)
        model.destroy()
    for name, location in (
        ("no config", await picked({k: v for k, v in files.items() if k != "config.json"}, "m")),
        ("two", await picked({f"{d}/{k}": v for k, v in files.items() for d in "ab"}, "m")),
        ("no shard", await picked({k: v for k, v in files.items() if "00002" not in k}, "m")),
        ("no files", js.Array.new()),
        ("a number", js.Object.new()),
    ):
        try:
            await tt.load(location, device=device)
        except tt.errors.TensortabError as error:
            found[name] = f"{type(error).__name__}: {error}"
    (await directory({})).removeEntry("config.json")
    try:
        await tt.load(await directory({}), device=device)
    except tt.errors.TensortabError as error:
        found["no config's handle"] = f"{type(error).__name__}: {error}"
    device.close()
    return pickle.dumps(found)
"""


def test_locations_in_a_tab(
    native: harness.Native, chrome: harness.Tab, folder: Path, loop: harness.Loop
) -> None:
    shard(folder, 3, torch.bfloat16)
    one = asyncio.run(tokens(native.device, folder))

    async def start() -> web.AppRunner:
        async def answered(_: web.Request, response: web.StreamResponse) -> None:
            response.headers["Access-Control-Allow-Origin"] = "*"

        app = web.Application()
        app.on_response_prepare.append(answered)
        app.router.add_static("/models", folder.parent)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = loop.run(start())
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/models/{folder.name}"
    files = {f.name: f.read_bytes() for f in folder.iterdir()}
    found = pickle.loads(chrome.call(IN_TAB, pickle.dumps((files, IDS, url))))
    loop.run(runner.cleanup())
    for name in ("url", "files", "beside others", "handle", "bytes"):
        assert found[name] == one, name
    expected = {
        "no config": "NotFoundError: m: no config.json, which every checkpoint's folder has",
        "two": "UnsupportedError: the picked folder holds 2 checkpoints, expected one: pick one of",
        "no shard": r"NotFoundError: m: .*index\.json names 3 shards, and model-00002-of-00003",
        "no files": "UnsupportedError: a checkpoint's location is .*, expected a path",
        "a number": "UnsupportedError: a checkpoint's location is .*, expected a path",
        "no config's handle": "NotFoundError: picked: no config.json",
    }
    for name, message in expected.items():
        assert re.match(message, found[name]), found[name]


# What is refused.


def test_a_location_that_is_no_checkpoint(
    refused: Callable[..., None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(SetupError, "^/no/such: there is no such folder", "/no/such")
    (folder / "config.json").unlink()
    refused(NotFoundError, "no config.json, which every checkpoint's folder has", folder)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    refused(
        SetupError, r"^no/such \(no folder here, so http://127\.0\.0\.1:1\): no config", "no/such"
    )


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{", FormatError, "config.json is not JSON"),
        ("[]", FormatError, "config.json holds a list, expected an object"),
        ("{}", UnsupportedError, "architecture None; there are"),
        ('{"architectures": ["T5Model"]}', UnsupportedError, "architecture 'T5Model'; there are"),
        ('{"architectures": ["LlamaForCausalLM"]}', FormatError, "is None, expected a pos"),
    ],
)
def test_a_config_of_no_model(
    refused: Callable[..., None],
    folder: Path,
    text: str,
    error: type[TensortabError],
    message: str,
) -> None:
    (folder / "config.json").write_text(text)
    refused(error, message, folder)


def test_shards_that_do_not_fit(refused: Callable[..., None], folder: Path) -> None:
    shard(folder)
    second = folder / "model-00002-of-00003.safetensors"
    data = second.read_bytes()
    second.write_bytes(data[:-4])
    refused(
        FormatError, r"model-00002-of-00003\.safetensors: tensor .* expected a range within", folder
    )
    second.write_bytes(data.replace(b"F32", b"F16", 1))
    refused(
        FormatError, r"model-00002-of-00003\.safetensors: tensor .* expected .* for F16", folder
    )
    second.unlink()
    refused(NotFoundError, "names 3 shards, and model-00002-of-00003.safetensors is not", folder)
    second.write_bytes(data)
    index = json.loads((folder / INDEX).read_text())
    del index["weight_map"]["model.norm.weight"]
    (folder / INDEX).write_text(json.dumps(index))
    refused(FormatError, "there is no tensor 'model.norm.weight', which the model's config", folder)


def test_tensors_that_are_another_models(refused: Callable[..., None], folder: Path) -> None:
    edit(folder / "config.json", intermediate_size=128)
    name = "model.layers.0.mlp.gate_proj.weight"
    refused(FormatError, rf"'{name}' is F32\[96, 64\], expected float32\[128, 64\]", folder)


def test_a_dtype_that_is_not_read(refused: Callable[..., None], folder: Path) -> None:
    path = folder / "model.safetensors"
    kept = {n: torch.from_numpy(t) for n, t in load_file(path).items()}
    kept["model.norm.weight"] = kept["model.norm.weight"].to(torch.float8_e4m3fn)
    safetensors.torch.save_file(kept, path)
    refused(UnsupportedError, "'model.norm.weight' is of dtype 'F8_E4M3', expected one of", folder)


def test_a_tokenizer_of_another_model(refused: Callable[..., None], folder: Path) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([f"<{i}>" for i in range(40)])
    size = tokenizer.get_vocab_size()
    tokenizer.save(str(folder / "tokenizer.json"))
    refused(FormatError, rf"ids up to {size - 1}, the model's table 300 rows \(vocab_size", folder)


SIZE = """
import pickle
import tensortab as tt

async def main(payload):
    return pickle.dumps((await tt.text.Tokenizer.from_json(pickle.loads(payload))).size)
"""


def test_the_size_of_a_tokenizer_in_a_tab(chrome: harness.Tab, folder: Path) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for more in ([], ["<more>"]):
        tokenizer.add_tokens(more)
        data = tokenizer.to_str()
        size = asyncio.run(tt.text.Tokenizer.from_json(data)).size
        assert size == max(tokenizer.get_vocab().values()) + 1
        assert pickle.loads(chrome.call(SIZE, pickle.dumps(data))) == size


@pytest.mark.parametrize("ends", [300, -1, [7, 300], "7", [True]])
def test_end_tokens_outside_of_the_vocabulary(
    refused: Callable[..., None], folder: Path, ends: Any
) -> None:
    edit(folder / "generation_config.json", eos_token_id=ends)
    refused(FormatError, r"eos_token_id is .*, expected ids from 0 to 299 \(vocab_size", folder)


def test_a_context_beyond_the_models(refused: Callable[..., None], sound: Path) -> None:
    refused(UnsupportedError, "context is 201, expected 1 to 200", sound, context=201)


# Limits of the device.


def limited(device: tt.Device, memory: int | None = None, **limits: int) -> tt.Device:
    """The same device, said to have less."""
    backend = type(device.backend)()
    info = device.info
    backend.target = dataclasses.replace(info, limits={**info.limits, **limits}, memory=memory)
    return tt.Device(backend)


@pytest.mark.parametrize("limit", ["maxStorageBufferBindingSize", "maxBufferSize"])
@pytest.mark.parametrize("quantize", [None, "q4gsw"])
def test_tables_over_a_limit_are_split(
    native: harness.Native,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quantize: str | None,
    limit: str,
) -> None:
    """The embedding, the head tied to it and in float the joined matrices, all in blocks."""
    sound, most = write_checkpoint(tmp_path, vocab_size=1200), 24 << 10
    monkeypatch.setattr(quantizer, "_STAGING", most)  # which real limits leave room for
    monkeypatch.setattr(fill, "PIECE", most)
    device = limited(native.device, **{limit: most})
    whole = asyncio.run(tokens(native.device, sound, quantize=quantize, context=18))
    found = asyncio.run(tokens(device, sound, quantize=quantize, context=18))
    device.close()
    assert found == whole

    async def logits(most: int) -> tuple[np.ndarray, int]:
        recipe = Recipe(Format("q4gsw") if quantize else FLOAT)
        config = llama.read(CONFIG | {"vocab_size": 1200}, 18)
        graph, weights = decoder.build(config, recipe, rows=5, scores=True, most=most)
        checkpoint = await open_checkpoint(open_folder(sound))
        (session,) = await open_sessions(native.device, [graph], weights, checkpoint)
        try:
            return (await session.run(ids=[IDS]))["logits"], len(weights.weights)
        finally:
            session.destroy()

    (one, count), (cut, more) = asyncio.run(logits(1 << 32)), asyncio.run(logits(most))
    assert more > count
    np.testing.assert_allclose(cut, one, atol=1e-5, rtol=1e-5)


def test_a_model_larger_than_the_limits(native: harness.Native, sound: Path) -> None:
    def told(device: tt.Device, **options: Any) -> str:
        with pytest.raises(DeviceError) as error:
            asyncio.run(tokens(device, sound, **options))
        device.close()
        return str(error.value)

    # Caches are not split: 200 tokens of 2 heads of 32 float32.
    text = told(limited(native.device, maxStorageBufferBindingSize=51199), quantize="q4gsw")
    assert re.search(r"takes 0\.\d MB \(weights 0\.\d, caches 0\.2, work 0\.\d\)", text)
    assert "alone 51200 bytes; the adapter's maxStorageBufferBindingSize is 51199" in text
    assert text.endswith("take a smaller context")
    text = told(limited(native.device, memory=300_000), quantize=None)
    assert re.search(r"takes 1\.0 MB .* on the device; this machine has 0\.3 MB", text)
    assert text.endswith("a smaller context or a smaller model")


OUT_OF_MEMORY = """
import js
import pickle
import tensortab as tt
from pyodide.ffi import create_proxy

async def main(payload):
    files, ids = pickle.loads(payload)
    device = await tt.Device.open("browser")
    standing = await tt.load(files, device=device)
    first = await standing.generate_ids(ids, max_new_tokens=8, ignore_eos=True)
    backend, live = device.backend, []
    alloc, free = backend.alloc, backend.free
    def counted(*a, **k):
        live.append(alloc(*a, **k))
        return live[-1]
    def freed(buffer):
        live[:] = [b for b in live if b.js_id != buffer.js_id]
        free(buffer)
    backend.alloc, backend.free = counted, freed
    answers, pop = [], backend.gpu.popErrorScope
    def answer():
        answers.append(pop())
        if len(answers) == 30:
            return js.Promise.resolve(js.GPUOutOfMemoryError.new("all is taken"))
        return answers[-1]
    backend.gpu.popErrorScope = create_proxy(answer)
    try:
        model = await tt.load(files, device=device)
        told = "it was loaded"
    except tt.errors.DeviceError as error:
        told = str(error)
    js.Reflect.deleteProperty(backend.gpu, "popErrorScope")
    backend.alloc, backend.free = alloc, free
    again = await standing.generate_ids(ids, max_new_tokens=8, ignore_eos=True)
    device.close()
    return pickle.dumps((told, len(live), first, again))
"""


def test_a_gpu_without_memory(chrome: harness.Tab, sound: Path) -> None:
    """The browser says so of the thirtieth buffer, and it is told by that buffer's name."""
    files = {f.name: f.read_bytes() for f in sound.iterdir()}
    told, live, first, again = pickle.loads(
        chrome.call(OUT_OF_MEMORY, pickle.dumps((files, IDS)), timeout=120)
    )
    assert re.search(r"^\S+ of \d+ bytes: the GPU is out of memory \(all is taken\)", told), told
    assert live == 0
    assert first == again


def test_a_model_that_is_refused_closes_the_device_it_opened(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    files = {f.name: f.read_bytes() for f in sound.iterdir()}
    files["generation_config.json"] = b'{"eos_token_id": 300}'

    async def work() -> None:
        reference = await tt.Device.open("reference")

        async def opened() -> tt.Device:
            return reference

        monkeypatch.setattr(tt.Device, "open", opened)
        monkeypatch.setattr(reference, "close", lambda: closed.append(reference))
        with pytest.raises(FormatError, match="eos_token_id is 300"):
            await tt.load(files)
        assert closed == [reference]

    asyncio.run(work())
