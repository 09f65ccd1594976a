"""Weights streamed from a checkpoint are the constants numpy makes of it, whatever the pieces."""

import asyncio
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import harness
import tensortab as tt
from checkpoints import constants, random_tensors
from counted import Counted
from tensortab.device import Pace
from tensortab.errors import FormatError, QuantizationError, UnsupportedError
from tensortab.models import decoder
from tensortab.models import fill as filling
from tensortab.models.checkpoint import Weights
from tensortab.models.sessions import open_sessions
from tensortab.quant import q4gsw
from tensortab.quant.recipe import FLOAT, Format, Recipe
from tensortab.weights import Checkpoint, ahead
from tensortab.weights import safetensors as st_file
from tensortab.weights.checkpoint import of_file
from tensortab.weights.source import BytesSource

CONFIG = decoder.Config(64, 2, 4, 2, 32, 96, 97, 40)
MIXED = Recipe(Format("q4gsw"), (("v_proj|down", Format("q8gsw", 32)), ("q_proj", FLOAT)))
DTYPES = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
}


def graph(recipe: Recipe, most: int = 1 << 32) -> tuple[tt.Graph, Weights]:
    return decoder.build(CONFIG, recipe, most=most)


def stored(weights: Weights, dtype: str = "F32") -> tuple[dict[str, np.ndarray], bytes]:
    """Random tensors as a file holds them, and that file."""
    kept = {n: torch.from_numpy(t).to(DTYPES[dtype]) for n, t in random_tensors(weights).items()}
    return {n: t.float().numpy() for n, t in kept.items()}, safetensors.torch.save(kept)


def opened(source: Any) -> Checkpoint:
    return of_file(asyncio.run(st_file.open(source)))


async def contents(session: tt.Session) -> dict[str, np.ndarray]:
    found = {}
    for name, held in session.store.held.items():
        if name in session.graph.constants and name not in session.graph.values:
            raw = await session._backend.read(held.buffer, held.spec.nbytes)
            found[name] = np.frombuffer(raw, held.spec.dtype).reshape(held.spec.at({}))
    return found


def loaded(device: tt.Device, made: Any, checkpoint: Checkpoint, progress: Any = None) -> Any:
    async def work() -> dict[str, np.ndarray]:
        (session,) = await open_sessions(device, [made[0]], made[1], checkpoint, progress)
        try:
            return await contents(session)
        finally:
            session.destroy()

    return asyncio.run(work())


def assert_equal(found: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    assert found.keys() == want.keys()
    for name, array in want.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("kind", ["native", "reference"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("recipe", [Recipe(FLOAT), MIXED], ids=["float", "mixed"])
def test_constants_are_what_numpy_makes(
    native: harness.Native, recipe: Recipe, dtype: str, kind: str
) -> None:
    made = graph(recipe)
    tensors, data = stored(made[1], dtype)
    device = native.device if kind == "native" else asyncio.run(tt.Device.open("reference"))
    assert_equal(loaded(device, made, opened(data)), constants(made[1], tensors))


def test_tensors_of_several_dtypes_in_one_weight(native: harness.Native) -> None:
    made = graph(Recipe(Format("q4gsw")))
    tensors, _ = stored(made[1])
    kept = {}
    for i, (name, tensor) in enumerate(tensors.items()):
        kept[name] = torch.from_numpy(tensor).to([*DTYPES.values()][i % 4])
        tensors[name] = kept[name].float().numpy()
    found = loaded(native.device, made, opened(safetensors.torch.save(kept)))
    assert_equal(found, constants(made[1], tensors))


@pytest.mark.parametrize("most", [1 << 32, 4096])
def test_pieces_are_whole_rows_read_once_and_ahead(
    native: harness.Native, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(filling, "PIECE", 1000)
    monkeypatch.setattr(ahead, "_AHEAD", 2000)
    monkeypatch.setattr(Pace, "_UNSEEN", 5000)
    made = graph(MIXED, most)
    tensors, data = stored(made[1], "BF16")
    source = Counted(data)
    told: list[tuple[str, int, int]] = []
    checkpoint = opened(source)
    found = loaded(native.device, made, checkpoint, lambda *at: told.append(at))
    assert_equal(found, constants(made[1], tensors))
    entries = [f.tensors[n] for n, f in checkpoint.files.items()]
    assert max(end - start for start, end in source.ranges) <= 1000
    assert sum(end - start for start, end in source.ranges) == sum(e.end - e.start for e in entries)
    assert len({*source.ranges}) == len(source.ranges), "nothing is read twice"
    assert 2 <= source.now[1] <= 8, "the next range is on its way, and no more than eight"
    for stage, total in (
        ("weights", sum(e.end - e.start for e in entries)),
        ("tensors", len(entries)),
    ):
        done = [(d, t) for s, d, t in told if s == stage]
        assert [d for d, _ in done] == sorted(d for d, _ in done)
        assert done[-1] == (total, total)


@pytest.mark.parametrize("most", [1 << 32, 4096])
def test_packed_tensors_go_as_they_lie(native: harness.Native, most: int) -> None:
    made = graph(Recipe(Format("q4gsw")), most)
    tensors, _ = stored(made[1])
    kept = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            packed, scales = q4gsw.quantize(tensor, search=True, scales="float16")
            kept |= {f"{name}.packed": packed, f"{name}.scales": scales}
        else:
            kept[name] = tensor
    data = safetensors.torch.save({n: torch.from_numpy(t) for n, t in kept.items()})
    assert_equal(loaded(native.device, made, opened(data)), constants(made[1], tensors))
    name = "model.layers.0.self_attn.k_proj.weight"
    kept[name] = tensors[name]
    del kept[f"{name}.packed"], kept[f"{name}.scales"]
    data = safetensors.torch.save({n: torch.from_numpy(t) for n, t in kept.items()})
    if most == 1 << 32:
        with pytest.raises(FormatError, match=r"of .*q_proj.*k_proj.* only some are quantized alr"):
            loaded(native.device, made, opened(data))


@pytest.fixture
def counted(native: harness.Native, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many buffers the device was asked for and has not been given back."""
    backend, live = native.device.backend, []
    alloc, free = backend.alloc, backend.free

    def counted_alloc(*args: Any, **kwargs: Any) -> Any:
        buffer = alloc(*args, **kwargs)
        live.append(id(buffer))
        return buffer

    def counted_free(buffer: Any) -> None:
        live.remove(id(buffer))
        free(buffer)

    monkeypatch.setattr(backend, "alloc", counted_alloc)
    monkeypatch.setattr(backend, "free", counted_free)
    return live


def test_a_weight_that_cannot_be_quantized_leaves_nothing(
    native: harness.Native, counted: list[int]
) -> None:
    made = graph(Recipe(Format("q4gsw")))
    tensors, _ = stored(made[1])
    tensors["model.layers.1.mlp.down_proj.weight"][3, 5] = np.nan
    data = safetensors.torch.save({n: torch.from_numpy(t) for n, t in tensors.items()})
    with pytest.raises(
        QuantizationError, match=r"layers\.1\.mlp\.down_proj\.weight\[3, 5\] is nan"
    ):
        loaded(native.device, made, opened(data))
    assert counted == []


def test_a_cancelled_load_leaves_nothing(native: harness.Native, counted: list[int]) -> None:
    made = graph(MIXED)
    _, data = stored(made[1], "F16")
    checkpoint = opened(Counted(data))

    async def work() -> int:
        seen: list[int] = []
        midway = asyncio.Event()

        def progress(*_: Any) -> None:
            seen.append(len(counted))
            if len(seen) == 6:
                midway.set()

        load = open_sessions(native.device, [made[0]], made[1], checkpoint, progress)
        task = asyncio.ensure_future(load)
        await midway.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1, "no read is left under way"
        return seen[0]

    assert asyncio.run(work()) > 10, "it was in the middle of it"
    assert counted == []


def test_a_second_session_that_fails_frees_the_first(
    native: harness.Native, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, (other, _) = graph(MIXED), graph(MIXED)
    _, data = stored(made[1])
    record, calls = native.device.backend.record, []

    async def failing(*args: Any) -> Any:
        calls.append(len(counted))
        if len(calls) == 2:
            raise tt.errors.DeviceError("out of memory")
        return await record(*args)

    monkeypatch.setattr(native.device.backend, "record", failing)
    with pytest.raises(tt.errors.DeviceError, match="out of memory"):
        asyncio.run(open_sessions(native.device, [made[0], other], made[1], opened(data)))
    assert calls[1] > calls[0] > 10
    assert counted == []


@pytest.mark.parametrize(
    ("dtype", "message"), [(torch.int64, r"I64\[64\], expected one of F32, F16, BF16, F64")]
)
def test_dtypes_that_are_no_floats(
    native: harness.Native, counted: list[int], dtype: torch.dtype, message: str
) -> None:
    made = graph(MIXED)
    tensors, _ = stored(made[1])
    kept = {n: torch.from_numpy(t) for n, t in tensors.items()}
    kept["model.norm.weight"] = kept["model.norm.weight"].to(dtype)
    with pytest.raises(UnsupportedError, match=f"'model.norm.weight' is {message}"):
        loaded(native.device, made, opened(safetensors.torch.save(kept)))
    assert counted == []


def test_a_missing_tensor(native: harness.Native, counted: list[int]) -> None:
    made = graph(MIXED)
    tensors, _ = stored(made[1])
    del tensors["model.layers.1.mlp.up_proj.weight"]
    data = safetensors.torch.save({n: torch.from_numpy(t) for n, t in tensors.items()})
    with pytest.raises(
        FormatError, match=r"no tensor 'model\.layers\.1\.mlp\.up_proj\.weight', wh"
    ):
        loaded(native.device, made, opened(data))
    assert counted == []


def test_a_file_that_shrinks_while_it_is_read(native: harness.Native, counted: list[int]) -> None:
    """What a header promised is not there any more once its turn comes."""
    made = graph(MIXED)
    _, data = stored(made[1])
    checkpoint = opened(BytesSource(memoryview(data)))
    cut = BytesSource(memoryview(data)[: len(data) // 2])
    files = {n: st_file.File(cut, f.tensors) for n, f in checkpoint.files.items()}
    with pytest.raises(FormatError, match=rf"were asked for, of a file of {len(data) // 2} bytes"):
        loaded(native.device, made, Checkpoint("shrunk", files))
    assert counted == []
