# ruff: noqa: INP001  # a file the page fetches, not part of a package
"""What the page's worker runs in Python for ExecuTorch programs: one is open, and is run.

Answers are plain dicts, lists, texts, numbers and uint8 arrays. What cannot be done is `refused`,
a sentence, and leaves everything as it was.
"""

import asyncio
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import adapter
import numpy as np
from listing import rows

import tensortab as tt
from tensortab import display
from tensortab.display.program import graph_of
from tensortab.errors import DeviceLostError, FormatError, ShapeError, TensortabError
from tensortab.pte import blob, schema
from tensortab.pte.module import Method, Module

Array = np.ndarray[Any, Any]

FIRST = 24  # values of an output that are shown
BEST = 5
SMALLEST = 8  # pixels a side of what may be an image


@dataclass
class Programs:
    """The program that is open, on the page's device."""

    device: tt.Device
    module: Module | None = None
    key: int = 0  # of the file that is open, as the page counts them
    used: dict[str, list[Array]] = field(default_factory=dict)  # a method's latest inputs
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # who uses the program

    def facts(self) -> dict[str, Any]:
        """What the page tells about the device."""
        return adapter.facts(self.device)

    async def load(self, key: int, file: Any) -> dict[str, Any]:
        """Open a file, a JS File; what was open is closed once that succeeds."""
        async with self.turn:
            return await _refusing(self._load(key, file))

    async def _load(self, key: int, file: Any) -> dict[str, Any]:
        if key != self.key or self.module is None:
            module = await tt.load_pte(file, device=self.device)
            self.close()
            self.module, self.key = module, key
        return described(self.module)

    async def run(self, key: int, file: Any, job: str, data: Any) -> dict[str, Any]:
        """Run a method (JSON: method, inputs) on what its inputs say; `data` has their bytes."""
        asked = json.loads(job)
        buffers = [part.to_bytes() for part in data]

        async def answer() -> dict[str, Any]:
            await self._load(key, file)
            assert self.module
            start = perf_counter()
            name = asked["method"]
            method = self.module.method(name)
            inputs = [
                _array(position, *given)
                for position, given in enumerate(zip(asked["inputs"], buffers, strict=True))
            ]
            made = await method(*inputs)
            self.used[name] = inputs
            return {
                "outputs": [output(value) for value in made],
                "seconds": perf_counter() - start,
                "stateful": keeps_state(method),
            }

        async with self.turn:
            return await _refusing(answer())

    async def reset(self) -> dict[str, Any]:
        """Put everything that outlives a call back to what the file says."""
        async with self.turn:
            if self.module:
                await self.module.reset()
            return {}

    async def draw(self, name: str, number: int) -> dict[str, Any]:
        """A delegate's graph as SVG; none where its sizes come with a first call."""
        async with self.turn:
            assert self.module
            graph = graph_of(self.module.methods[name].delegates[number])
            return {"picture": display.graph_svg(graph) if graph else ""}

    def peek(self, data: Any) -> dict[str, Any]:
        """Name, dtype and shape of each array of a .npy or .npz file's bytes."""
        try:
            found = _arrays(data.to_bytes())
        except FormatError as error:
            return {"refused": str(error)}
        return {"arrays": [{"name": n, **_spec(a.dtype.name, a.shape)} for n, a in found.items()]}

    def close(self) -> None:
        """Free what the program has on the device."""
        if self.module:
            self.module.close()
        self.module, self.key = None, 0
        self.used.clear()


async def _refusing(work: Any) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = await work
    except DeviceLostError:
        raise
    except MemoryError:
        return {"refused": "there is not enough memory for it"}
    except TensortabError as error:
        return {"refused": str(error)}
    except Exception as error:  # noqa: BLE001  # whatever a file leads numpy to is told, no more
        return {"refused": f"{type(error).__name__}: {error}"}
    return answer


def keeps_state(method: Method) -> bool:
    """Whether a method has run something that outlives a call."""
    sessions = [s for d in method.delegates for _, s in d.sessions.values()]
    return any(session.graph.states for session in sessions)


def described(module: Module) -> dict[str, Any]:
    """A program: its methods, what they take and give, where each operator runs."""
    return {
        "methods": [
            {
                "name": name,
                "inputs": [_value(method.plan.values[i]) for i in method.plan.inputs],
                "outputs": [_value(method.plan.values[i]) for i in method.plan.outputs],
                "delegates": [
                    {"calls": len(d.blob.calls), "bytes": blob.sizes(d.blob.values)}
                    for d in method.delegates
                ],
                "operators": rows(method),
            }
            for name, method in module.methods.items()
        ]
    }


def _spec(dtype: str, shape: Sequence[int]) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [*map(int, shape)]}


def _value(value: schema.Value) -> dict[str, Any]:
    """A tensor's dtype, largest shape and whether sizes are live; of a number, what it is."""
    if isinstance(value, schema.TensorValue):
        return {"kind": "tensor", **_spec(value.dtype, value.shape), "live": value.dynamic}
    return {"kind": "value", "dtype": type(value).__name__, "shape": [], "live": False}


def _array(position: int, spec: Mapping[str, Any], data: bytes) -> Array:
    """What a person says an input is: a fill, values typed, an image's elements, or a file."""
    try:
        return FILLS[spec["fill"]](spec, data)
    except (ValueError, TypeError, OverflowError) as error:
        raise ShapeError(f"input {position}: {error}") from error


def _typed(spec: Mapping[str, Any], _: bytes) -> Array:
    """Numbers as JSON; one alone fills the whole shape."""
    try:
        array = np.asarray(json.loads(spec["text"]))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{spec['text'][:60]!r} is no number and no list of numbers as [1, 2, 3] ({error})"
        ) from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{spec['text'][:60]!r} holds something else than numbers")
    return np.broadcast_to(array, spec["shape"]) if array.ndim == 0 else array


def _random(spec: Mapping[str, Any], _: bytes) -> Array:
    """Floats are normal, of mean 0 and deviation 1; integers lie from 0 below a bound."""
    random, kind = np.random.default_rng(spec["seed"]), np.dtype(spec["dtype"]).kind
    if kind == "f":
        return random.standard_normal(spec["shape"], np.float32)
    return random.integers(0, 2 if kind == "b" else spec["below"], spec["shape"])


def _counted(spec: Mapping[str, Any], _: bytes) -> Array:
    return np.arange(int(np.prod(spec["shape"])), dtype=spec["dtype"]).reshape(spec["shape"])


def _constant(value: int) -> Callable[[Mapping[str, Any], bytes], Array]:
    return lambda spec, _: np.broadcast_to(np.asarray(value, spec["dtype"]), spec["shape"])


FILLS: Mapping[str, Callable[[Mapping[str, Any], bytes], Array]] = {
    "zeros": _constant(0),
    "ones": _constant(1),
    "count": _counted,
    "random": _random,
    "values": _typed,
    "image": lambda spec, data: np.frombuffer(data, spec["stored"]).reshape(spec["shape"]),
    "file": lambda spec, data: _arrays(data)[spec["member"]],
}


def _arrays(data: bytes) -> dict[str, Array]:
    """The arrays of a .npy file, whose one has no name, or of a .npz."""
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)  # a pickle would run the file's code
        return {"": found} if isinstance(found, np.ndarray) else dict(found)
    except Exception as error:  # whatever zipfile, zlib and numpy make of a broken file
        raise FormatError(f"this is no .npy or .npz of plain numbers: {error}") from error


def output(value: Any) -> dict[str, Any]:
    """An output as the page shows it, and the bytes of its .npy file."""
    array = np.asarray(value)
    file = io.BytesIO()
    np.save(file, array)
    flat = array.reshape(-1)
    return {
        **_spec(array.dtype.name, array.shape),
        "values": [*map(_text, flat[:FIRST])],
        "statistics": _statistics(flat),
        "best": _best(array),
        "image": _image(array),
        "file": np.frombuffer(file.getvalue(), np.uint8),
    }


def _text(number: Any) -> str:
    return f"{number:.6g}" if isinstance(number, np.floating) else str(number)


def _statistics(flat: Array) -> dict[str, str]:
    finite = flat[np.isfinite(flat)].astype(np.float64)
    told = {}
    if finite.size and flat.size > 1:
        told = {n: f"{getattr(finite, n)():.6g}" for n in ("min", "max", "mean", "std")}
    if odd := flat.size - finite.size:
        told["not finite"] = str(odd)
    return told


def _best(array: Array) -> dict[str, Any] | None:
    """The largest elements of a vector, of several rows the last."""
    if not array.ndim or array.shape[-1] < BEST or array.dtype.kind == "b" or not array.size:
        return None
    by_row = array.reshape(-1, array.shape[-1])
    order = np.argsort(-by_row[-1].astype(np.float64), kind="stable")[:BEST]
    return {"of": len(by_row), "places": [(int(i), _text(by_row[-1, i])) for i in order]}


def _image(array: Array) -> dict[str, Any] | None:
    """RGBA of what looks like one image: [H, W], [C, H, W] or [H, W, C], C of 1, 3 or 4."""
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[..., None]
    elif array.ndim == 3 and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or min(array.shape[:2]) < SMALLEST:
        return None
    if array.dtype != np.uint8:
        array = np.nan_to_num(array.astype(np.float64), posinf=0, neginf=0)
        least, most = array.min(), array.max()
        array = (255 * (array - least) / ((most - least) or 1)).astype(np.uint8)
    height, width, channels = array.shape
    pixels = np.full((height, width, 4), 255, np.uint8)
    pixels[..., : max(channels, 3)] = array
    return {"width": width, "height": height, "pixels": pixels.reshape(-1)}
