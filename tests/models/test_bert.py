import asyncio
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save

import harness
import tensortab as tt
from bert_torch import encode
from checkpoints import constants, dequantized, random_tensors
from tensortab.errors import FormatError, UnsupportedError
from tensortab.models import bert
from tensortab.models.fill import check, fill
from tensortab.quant.recipe import FLOAT, Format, Recipe, recipe
from tensortab.weights import safetensors
from tensortab.weights.checkpoint import of_file

CONFIG = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "vocab_size": 50,
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
}


def batch(lengths: list[int]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    shape = len(lengths), max(lengths)
    mask = (np.arange(shape[1]) < np.array(lengths)[:, None]).astype(np.float32)
    return {
        "ids": random.integers(0, 50, shape),
        "types": np.zeros(shape, np.int32),
        "positions": np.arange(shape[1]),
        "mask": mask,
    }


@pytest.mark.parametrize("choice", [None, "q4gsw", "auto"])
def test_agrees_with_torch(device: harness.Device, choice: str | None) -> None:
    config = bert.Config.read(CONFIG)
    chosen = recipe(choice, bert.default_recipe(config))
    size = {"batch": tt.Sym("batch", 4), "length": tt.Sym("length", 40)}
    graph, weights = bert.build(config, chosen, **size)
    tensors = random_tensors(weights)
    graph.values |= constants(weights, tensors)
    exact = dequantized(weights, tensors)
    as_torch = {n: torch.from_numpy(t) for n, t in exact.items()}
    for lengths in ([1], [40, 3], [7, 7, 2, 5]):
        inputs = batch(lengths)
        want = encode(as_torch, inputs["ids"], inputs["mask"], heads=4, layers=2)
        np.testing.assert_allclose(tt.evaluate(graph, **inputs)["vectors"], want, atol=1e-5)
        np.testing.assert_allclose(device.run(graph, **inputs)["vectors"], want, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"hidden_act": "relu"}, UnsupportedError, "hidden_act is 'relu', expected 'gelu'"),
        ({"model_type": "roberta"}, UnsupportedError, "model_type is 'roberta', expected 'bert'"),
        ({"hidden_size": "64"}, FormatError, "hidden_size is '64', expected a positive integer"),
        ({"vocab_size": True}, FormatError, "vocab_size is True, expected a positive integer"),
        ({"num_attention_heads": 5}, FormatError, "128 is no multiple of num_attention_heads, 5"),
    ],
)
def test_configs_that_are_refused(
    change: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        bert.Config.read(CONFIG | change)


def test_checkpoints_that_do_not_fit() -> None:
    _, weights = bert.build(bert.Config.read(CONFIG), Recipe(FLOAT), batch=1, length=4)
    tensors = random_tensors(weights)

    def checked(changed: dict[str, np.ndarray]) -> None:
        check(weights, of_file(asyncio.run(safetensors.open(save(changed)))))

    missing = dict(tensors)
    del missing["encoder.layer.1.output.dense.bias"]
    with pytest.raises(FormatError, match=r"no tensor 'encoder.layer.1.output.dense.bias', which"):
        checked(missing)
    name = "embeddings.LayerNorm.weight"
    with pytest.raises(FormatError, match=rf"'{name}' is F32\[63\], expected float32\[128\]"):
        checked(tensors | {name: tensors[name][:63]})


def test_halves_are_widened(native: harness.Native) -> None:
    config = bert.Config.read(CONFIG)
    graph, weights = bert.build(config, Recipe(FLOAT), batch=1, length=4)
    tensors = {n: t.astype(np.float16) for n, t in random_tensors(weights).items()}
    session = asyncio.run(native.device.compile(graph))
    inputs = batch([4])

    async def work() -> dict[str, np.ndarray]:
        checkpoint = of_file(await safetensors.open(save(tensors)))
        await fill(native.device.backend, session, weights, checkpoint)
        return await session.run(**inputs)

    as_torch = {n: torch.from_numpy(t.astype(np.float32)) for n, t in tensors.items()}
    want = encode(as_torch, inputs["ids"], inputs["mask"], heads=4, layers=2)
    np.testing.assert_allclose(asyncio.run(work())["vectors"], want, atol=1e-5)


def test_recipes() -> None:
    base = Recipe(Format("q4gsw"), (("attention", Format("q8gsw")),))
    assert recipe("auto", base) is base
    assert not recipe(None, base).format("x").quantized
    assert recipe("q8gsw", base).format("x").bits == 8.5
    mixed = recipe({"head": "float32"}, base)
    assert [mixed.format(n).name for n in ("lm_head", "attention.k", "mlp")] == [
        "float32",
        "q8gsw",
        "q4gsw",
    ]
    with pytest.raises(UnsupportedError, match="weight format 'q5'; there are float32, q4gsw, q8g"):
        recipe("q5", base)
    with pytest.raises(UnsupportedError, match="quantize is 4, expected None, 'auto'"):
        recipe(4, base)


def test_bits_of_the_default() -> None:
    made = json.loads(json.dumps(CONFIG)) | {"hidden_size": 384, "intermediate_size": 1536}
    config = bert.Config.read(made)
    _, weights = bert.build(config, bert.default_recipe(config), batch=1, length=4)
    assert round(weights.bits, 2) == 5.71
