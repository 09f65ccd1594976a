"""Weights as this package keeps them: quantized, by the checkpoint's own tensors, in one file.

    NAME.packed   U8 [N, K/2] (q4gsw) or I8 [N, K] (q8gsw)     quant/ says what the bytes are
    NAME.scales   F16 or F32 [K/group, N]
    NAME          F32, every weight that is not quantized

The tensors' headers say all there is to know of the formats: `packed_recipe` reads them, and
fill.py the tensors. How a device holds them is another matter (checkpoint.py joins some and cuts
others), so `write` takes constants apart again: rows of codes and floats go from the device to the
file in pieces of at most 8 MiB, which in a browser never enter Python's heap; scales, columns of
small matrices, are put together on the host, one tensor's at a time.

Errors: FormatError for codes and scales that do not fit together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..device import Backend
from ..errors import FormatError
from ..op import Array
from ..quant.groups import GROUPS, ScaleType
from ..quant.recipe import FLOAT, Format, Name, Recipe
from ..store import Held, Store
from ..weights import Checkpoint, Output, safetensors
from ..weights.ahead import PIECE
from ..weights.checkpoint import WHOLE
from ..weights.safetensors import Entry
from .checkpoint import Piece, Weight, Weights

STORED = {"float32": "F32", "float16": "F16", "uint8": "U8", "int8": "I8"}  # as safetensors says
_CODES: dict[str, Name] = {"U8": "q4gsw", "I8": "q8gsw"}
_SCALES: dict[str, ScaleType] = {"F16": "float16", "F32": "float32"}

Count = Callable[[int, int], None]  # bytes done, bytes in all


def packed_recipe(checkpoint: Checkpoint) -> Recipe | None:
    """The formats of a checkpoint's weights where some are quantized already, else None."""
    stems = [name.removesuffix(".packed") for name in checkpoint.files if name.endswith(".packed")]
    named = {stem: _format(checkpoint, stem) for stem in stems}
    return Recipe(FLOAT, named=named) if named else None


def _format(checkpoint: Checkpoint, stem: str) -> Format:
    packed, scales = (checkpoint.entry(f"{stem}.{part}") for part in ("packed", "scales"))
    name, kind = _CODES.get(packed.dtype), _SCALES.get(scales.dtype)
    if name and kind and len(packed.shape) == len(scales.shape) == 2:
        k = packed.shape[1] * 8 // Format(name).packing.bits
        fits = [group for group in GROUPS if group * scales.shape[0] == k]
        if fits:
            return Format(name, fits[0], scales=kind)
    raise FormatError(
        f"{checkpoint.name}: {stem}.packed is {packed.dtype}{list(packed.shape)} and {stem}.scales"
        f" {scales.dtype}{list(scales.shape)}, expected U8[N, K/2] or I8[N, K] and F16 or F32"
        f"[K/group, N] with group one of {', '.join(map(str, GROUPS))}"
    )


async def write(
    backend: Backend, store: Store, weights: Weights, output: Output, count: Count
) -> None:
    """Write a store's constants, which are filled, as the file of weights of a folder."""
    tensors = weights.tensors
    specs = {name: spec for whole in tensors.values() for name, spec in whole.constants.items()}
    stored = {name: (STORED[s.dtype], s.at({})) for name, s in specs.items()}
    header, places = safetensors.layout(stored)
    total = len(header) + sum(place.end - place.start for place in places.values())
    await output.create(WHOLE, total)
    await output.write(WHOLE, 0, header)
    writer = _Writer(backend, output, places, lambda done: count(len(header) + done, total))
    for weight in weights.weights.values():
        await writer.rows(weight, store.held[next(iter(weight.constants))])
        if weight.format.quantized:
            await writer.scales(weight, store.held[f"{weight.name}.scales"], tensors)


@dataclass
class _Writer:
    """Constants on their way to the tensors they are made of."""

    backend: Backend
    output: Output
    places: dict[str, Entry]
    count: Callable[[int], None]
    done: int = 0
    tables: dict[str, Array] = field(default_factory=dict)  # scales of tensors in several blocks

    async def rows(self, weight: Weight, held: Held) -> None:
        """Codes or floats: a tensor's rows lie one after the other in both places."""
        row = held.spec.nbytes // weight.rows
        for piece, first in _pieces(weight):
            name = f"{piece.tensor}.packed" if weight.format.quantized else piece.tensor
            to = self.places[name].start + piece.first * row
            size = piece.rows * row
            for at in range(0, size, PIECE):
                nbytes = min(PIECE, size - at)
                data = await self.backend.foreign(held.buffer, nbytes, first * row + at)
                await self._write(to + at, data, nbytes)

    async def scales(self, weight: Weight, held: Held, tensors: dict[str, Weight]) -> None:
        """Columns of a matrix that tensors share; a tensor's are written once all are there."""
        raw = await self.backend.read(held.buffer, held.spec.nbytes)
        found = np.frombuffer(raw, held.spec.dtype).reshape(-1, weight.rows)
        for piece, first in _pieces(weight):
            n = tensors[piece.tensor].rows
            if piece.tensor not in self.tables:
                self.tables[piece.tensor] = np.empty((len(found), n), held.spec.dtype)
            table = self.tables[piece.tensor]
            columns = slice(piece.first, piece.first + piece.rows)
            table[:, columns] = found[:, first : first + piece.rows]
            if columns.stop == n:
                del self.tables[piece.tensor]
                await self._write(
                    self.places[f"{piece.tensor}.scales"].start, table.data, table.nbytes
                )

    async def _write(self, at: int, data: object, nbytes: int) -> None:
        await self.output.write(WHOLE, at, data)
        self.done += nbytes
        self.count(self.done)


def _pieces(weight: Weight) -> Iterator[tuple[Piece, int]]:
    """Each piece, and the row of the weight it begins at."""
    first = 0
    for piece in weight.pieces:
        yield piece, first
        first += piece.rows
