"""What the side-by-side benchmark makes for other engines is what this package computes with."""

import struct
from pathlib import Path

import numpy as np
import pytest

import tensortab as tt
from tensortab import assets

with pytest.MonkeyPatch.context() as patch:  # bench's names are not for other tests
    patch.syspath_prepend(Path(__file__).parents[1] / "bench")
    from peers import engines, models, run, weights
    from peers.embedded import NAME
    from peers.jobs import SETTINGS, decoding, products

IDS = [(i * 7919 + 13) % 8192 for i in range(16)]
NEW = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The embedded model as the peers are given it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORTAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        models.make(NAME)
        yield models.folder(NAME)


def shape_of(name):
    return weights.Shape.of(models.configs()[name])


@pytest.mark.parametrize("graph", models.GRAPHS)
def test_the_onnx_decoder_gives_the_embedded_models_tokens(graph, made, native, loop):
    import onnxruntime

    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(made / "onnx" / graph, providers=providers)
    dtype = models.GRAPHS[graph].dtype
    caches = {
        value.name: np.zeros((1, 2, 0, 64), dtype)
        for value in session.get_inputs()
        if value.name.startswith("past")
    }
    names = [value.name.replace("present", "past_key_values") for value in session.get_outputs()]
    ids, fed = list(IDS), IDS
    for _ in range(NEW):
        mask = np.ones((1, len(ids)), np.int64)
        inputs = {"input_ids": np.array([fed]), "attention_mask": mask}
        logits, *present = session.run(None, inputs | caches)
        caches = dict(zip(names[1:], present, strict=True))
        fed = [int(logits[0, -1].argmax())]
        ids += fed
    assert ids[len(IDS) :] == loop.run(greedy(native.device))


async def greedy(device):
    model = await tt.load(str(assets.EMBEDDED), device=device)
    tokens = await model.generate_ids(IDS, max_new_tokens=NEW, temperature=0.0)
    model.destroy()
    return list(tokens)


def fields(data):
    """A GGUF header's fields, its tensors, and where their data starts."""
    at = 0

    def take(form):
        nonlocal at
        found = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(f"<{form}")
        return found if len(found) > 1 else found[0]

    def text():
        return take(f"{take('Q')}s").decode()

    read = {4: lambda: take("I"), 5: lambda: take("i"), 6: lambda: take("f"), 8: text}
    magic, version, count, pairs = take("4sIQQ")
    assert (magic, version) == (b"GGUF", 3)
    found = {}
    for _ in range(pairs):
        name, kind = text(), take("I")
        if kind == 9:
            kind, length = take("IQ")
            found[name] = [read[kind]() for _ in range(length)]
        else:
            found[name] = read[kind]()
    tensors = {}
    for _ in range(count):
        name, rank = text(), take("I")
        dims = [take("Q") for _ in range(rank)]
        tensors[name] = (dims, *take("IQ"))
    return found, tensors, -(-at // 32) * 32


def test_the_gguf_file_parses_back(made):
    data = (made / "model.gguf").read_bytes()
    found, tensors, start = fields(data)
    assert found["general.architecture"] == "llama"
    assert found["llama.attention.head_count_kv"] == 2
    assert found["tokenizer.ggml.tokens"][ord("a")] == "a"
    assert len(set(found["tokenizer.ggml.tokens"])) == found["llama.vocab_size"] == 8192
    dims, kind, at = tensors["blk.7.ffn_down.weight"]
    assert (dims, kind, at % 32) == ([1024, 384], 2, 0)
    block = np.frombuffer(data, np.uint8, 18, start + at)
    assert 0 < block[:2].view("<f2")[0] < 0.01
    assert block[2:].min() > 0  # a code of -8 is in no nibble
    dims, kind, at = tensors["output_norm.weight"]  # the last one
    assert start + at + 4 * dims[0] == len(data)
    assert np.frombuffer(data, "<f4", dims[0], start + at).tolist() == [1.0] * 384


def test_every_engine_is_asked():
    jobs = [*decoding("llama-3.2-1b", shape_of("llama-3.2-1b"), 128, 64, 3), *products()]
    assert {job.labels["engine"] for job in jobs} == {*engines.ENGINES}
    labels = [tuple(job.labels.items()) for job in jobs]
    assert len({*labels}) == len(labels) == len(SETTINGS) + 2 + 2 + 6
    for job in jobs:
        assert job.labels["version"] in job.work["folder"]
    assert {setting.graph for setting in SETTINGS} == {*models.GRAPHS}


def test_weights_do_not_overlap_and_scales_are_as_many_as_blocks():
    stored = weights.layout(shape_of("llama-3.1-8b"), "float16", 16)
    at = 0
    for tensor in stored.values():
        assert 0 <= tensor.at - at < weights.ALIGN
        at = tensor.at + tensor.nbytes
    codes, scales = stored["embed.codes"], stored["embed.scales"]
    assert codes.dims == (128256, 128, 16)
    assert codes.nbytes // 16 == scales.nbytes // 2


def test_a_row_is_the_median_of_its_repetitions():
    rates = [{"prefill_tok_s": p, "decode_tok_s": d} for p, d in ((10, 3), (30, 1), (20.0004, 2))]
    row = run.figures({"browser": "Chromium", "reps": rates, "tokens": [1]})
    assert (row["prefill_tok_s"], row["decode_tok_s"]) == (20.0, 2)
    assert row["tokens"] == [1]
    alone = run.figures({"browser": "Chromium", "kernels": {"a": [9, 2, 2], "b": [1, 1, 1]}})
    assert alone == {"gpu_us": 3, "kernels": {"a": 2, "b": 1}}


def test_tensortab_is_compared_with_each_engines_best():
    rows = [
        {"engine": "other", "prompt": 8, "decode_tok_s": 2.0},
        {"engine": "other", "prompt": 8, "decode_tok_s": 4.0},
        {"engine": "other", "prompt": 8, "error": "no adapter"},
        {"engine": "tensortab", "prompt": 8, "decode_tok_s": 20.0, "prefill_tok_s": 1.0},
        {"engine": "other", "setting": "MatMulNBits", "gpu_us": 3},
    ]
    assert run.against(rows) == [
        {"prompt": 8, "engine": "other", "rate": "decode_tok_s", "times": 5.0}
    ]
