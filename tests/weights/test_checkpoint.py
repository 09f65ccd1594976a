"""Tensors by name over shards; an index that is not kept to is refused before a tensor is read."""

import asyncio
import json

import numpy as np
import pytest
from safetensors.numpy import save

from tensortab.errors import FormatError, NotFoundError
from tensortab.weights import open_checkpoint, open_folder
from tensortab.weights.source import BytesSource

TENSORS = {f"t{i}": np.arange(12, dtype=np.float32).reshape(3, 4) + i for i in range(5)}
A, B = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
PLACES = {"t0": A, "t1": B, "t2": A, "t3": B, "t4": B}


def files(**changed):
    """A folder of two shards; `changed` is merged into it by name, None removes."""
    held = {place: save({n: TENSORS[n] for n in PLACES if PLACES[n] == place}) for place in (A, B)}
    held["model.safetensors.index.json"] = json.dumps({"weight_map": PLACES}).encode()
    return {n: data for n, data in (held | changed).items() if data is not None}


def index(places):
    return {"model.safetensors.index.json": json.dumps({"weight_map": places}).encode()}


def opened(held):
    return asyncio.run(open_checkpoint(open_folder(held)))


@pytest.mark.parametrize(
    "held", [files(), {"model.safetensors": save(TENSORS)}], ids=["two", "one"]
)
def test_rows_by_name(held):
    checkpoint = opened(held)
    for name, tensor in TENSORS.items():
        assert name in checkpoint
        assert checkpoint.entry(name).shape == (3, 4)
        assert bytes(asyncio.run(checkpoint.foreign(name, 1, 2))) == tensor[1:].tobytes()
    assert "t5" not in checkpoint
    with pytest.raises(FormatError, match="there is no tensor 't5' among its 5"):
        checkpoint.entry("t5")


def test_one_file_wins_over_an_index():
    assert "t9" in opened(files() | {"model.safetensors": save({"t9": TENSORS["t0"]})})


def test_headers_are_read_once_and_together():
    under_way, most, reads = 0, 0, []

    class Slow(BytesSource):
        async def read(self, start, end):
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            reads.append((self.name, start))
            await asyncio.sleep(0.01)
            under_way -= 1
            return await super().read(start, end)

    held = files()
    held |= {name: Slow(memoryview(held[name]), name) for name in (A, B)}
    opened(held)
    assert most == 2
    assert sorted(reads) == [(A, 0), (A, 8), (B, 0), (B, 8)]


def test_no_weights_at_all():
    with pytest.raises(
        NotFoundError, match=r"neither model\.safetensors nor model\.safetensors\.i"
    ):
        opened({"pytorch_model.bin": b""})


def test_a_missing_shard():
    with pytest.raises(NotFoundError, match=rf"index\.json names 2 shards, and {B} is not there"):
        opened(files(**{B: None}))


def test_a_tensor_that_is_not_in_its_shard():
    with pytest.raises(FormatError, match=rf"index\.json: tensor 't1' is not in {A}, where it"):
        opened(files(**index(PLACES | {"t1": A})))
    with pytest.raises(FormatError, match=rf"tensor 'new' is not in {B}"):
        opened(files(**index(PLACES | {"new": B})))


@pytest.mark.parametrize(
    "shard",
    [
        *("../x.safetensors", "/etc/x.safetensors", "a\\x.safetensors", "x?y.safetensors"),
        *("https://example.org/x.safetensors", "x.bin", "", 3, None),
    ],
)
def test_a_shard_that_is_no_file_name(shard):
    with pytest.raises(
        FormatError, match=r"shard of 't1' is .*, expected the name of a \.safetens"
    ):
        opened(files(**index(PLACES | {"t1": shard})))


@pytest.mark.parametrize("places", [None, {}, [], "x"])
def test_an_index_without_a_map(places):
    with pytest.raises(FormatError, match=r"weight_map is .*, expected an object of tens"):
        opened(files(**index(places)))


def test_a_truncated_shard():
    held = files()
    with pytest.raises(FormatError, match=rf"{B}: tensor 't4' lies at 96 to 144, expected a range"):
        opened(held | {B: held[B][:-1]})


def test_an_altered_shard():
    held = files()
    with pytest.raises(FormatError, match=rf"{A}: the header is not JSON"):
        opened(held | {A: held[A].replace(b'"t0"', b'"t0;')})
    with pytest.raises(
        FormatError, match=rf"{A}: tensor 't0' has 48 bytes .*, expected 64 for F32"
    ):
        opened(held | {A: held[A].replace(b"[3,4]", b"[4,4]", 1)})
