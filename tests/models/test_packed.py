"""Quantized weights written are the tensors they were made of, and are read as what they are."""

import asyncio
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import harness
import tensortab as tt
from checkpoints import random_tensors
from tensortab.errors import FormatError
from tensortab.models import decoder
from tensortab.models.packed import packed_recipe, write
from tensortab.models.sessions import open_sessions
from tensortab.quant.recipe import FLOAT, Format, Recipe
from tensortab.weights import Checkpoint
from tensortab.weights import safetensors as st_file
from tensortab.weights.checkpoint import WHOLE, of_file

CONFIG = decoder.Config(64, 2, 4, 2, 32, 96, 97, 40, qkv_bias=True, tied=False)
MIXED = Recipe(
    Format("q4gsw"),
    (
        ("v_proj|down", Format("q8gsw")),
        ("q_proj", FLOAT),
        ("o_proj", Format("q4gsw", 64, scales="float32")),
    ),
)


class Memory:
    """A folder's files in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}

    async def create(self, name: str, nbytes: int) -> None:
        self.files[name] = bytearray(nbytes)

    async def write(self, name: str, at: int, data: Any) -> None:
        raw = bytes(data)
        assert 0 < len(raw) <= len(self.files[name]) - at
        self.files[name][at : at + len(raw)] = raw


def opened(data: bytes) -> Checkpoint:
    return of_file(asyncio.run(st_file.open(data)))


def file_of(tensors: dict[str, np.ndarray]) -> bytes:
    return safetensors.numpy.save(tensors)


def written(
    device: tt.Device, recipe: Recipe, data: bytes, most: int = 1 << 32
) -> tuple[bytes, list[tuple[int, int]]]:
    """The file that the model of another file is written as, and what was told."""
    graph, weights = decoder.build(CONFIG, recipe, most=most)
    told: list[tuple[int, int]] = []

    async def work() -> bytes:
        (session,) = await open_sessions(device, [graph], weights, opened_checkpoint)
        memory = Memory()
        await write(device.backend, session.store, weights, memory, lambda *n: told.append(n))
        session.destroy()
        return bytes(memory.files[WHOLE])

    opened_checkpoint = opened(data)
    return asyncio.run(work()), told


def expected(recipe: Recipe) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Random tensors, and what numpy makes of each by itself."""
    _, weights = decoder.build(CONFIG, recipe)
    tensors, kept = random_tensors(weights), {}
    for name, whole in weights.tensors.items():
        if whole.format.quantized:
            packed, scales = whole.format.quantize(tensors[name], name)
            kept |= {f"{name}.packed": packed, f"{name}.scales": scales}
        else:
            kept[name] = tensors[name]
    return tensors, kept


@pytest.mark.parametrize("most", [1 << 32, 1024], ids=["whole", "in blocks"])
@pytest.mark.parametrize("recipe", [Recipe(FLOAT), MIXED], ids=["float", "mixed"])
@pytest.mark.parametrize("kind", ["native", "reference"])
def test_a_file_holds_each_tensor_as_numpy_makes_it(
    native: harness.Native, kind: str, recipe: Recipe, most: int
) -> None:
    device = native.device if kind == "native" else asyncio.run(tt.Device.open("reference"))
    tensors, want = expected(recipe)
    data, told = written(device, recipe, file_of(tensors), most)
    found = safetensors.numpy.load(data)
    assert found.keys() == want.keys()
    for name, array in want.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert told[-1] == (len(data), len(data))
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_what_was_written_is_read_in_its_own_formats(native: harness.Native) -> None:
    tensors, _ = expected(MIXED)
    data, _ = written(native.device, MIXED, file_of(tensors))
    recipe = packed_recipe(opened(data))
    assert recipe is not None
    _, weights = decoder.build(CONFIG, MIXED)
    assert {n: recipe.format(n) for n in weights.tensors} == {
        n: w.format for n, w in weights.tensors.items()
    }
    again, _ = written(native.device, recipe, data)
    assert again == data


def test_floats_have_no_formats_of_their_own() -> None:
    tensors, _ = expected(MIXED)
    assert packed_recipe(opened(file_of(tensors))) is None


@pytest.mark.parametrize(
    ("packed", "scales", "told"),
    [
        (((8, 16), "u1"), ((3, 8), "f2"), r"U8\[8, 16\] and .*F16\[3, 8\]"),
        (((8, 16), "i2"), ((1, 8), "f2"), r"I16\[8, 16\]"),
        (((8, 16), "u1"), ((1, 8), "i1"), r"I8\[1, 8\]"),
        (((16,), "u1"), ((1, 8), "f2"), r"U8\[16\]"),
        (((8, 16), "u1"), ((0, 8), "f2"), r"F16\[0, 8\]"),
    ],
)
def test_codes_and_scales_that_do_not_fit(packed: Any, scales: Any, told: str) -> None:
    data = file_of({"w.packed": np.zeros(*packed), "w.scales": np.zeros(*scales)})
    with pytest.raises(FormatError, match=rf"w\.packed is .*{told}.*, expected U8\[N, K/2\] or I8"):
        packed_recipe(opened(data))


def test_codes_without_scales() -> None:
    data = file_of({"w.packed": np.zeros((8, 16), np.uint8)})
    with pytest.raises(FormatError, match=r"there is no tensor 'w\.scales'"):
        packed_recipe(opened(data))
