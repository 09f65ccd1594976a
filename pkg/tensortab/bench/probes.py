"""The bench's own kernels as ops, and constants made up on the GPU.

copied       state := x, nothing but memory
scanned      x is read, and y written nowhere
multiplied   float32 multiply-adds in registers; every element becomes 16
multiplied_matrices  products of 16 × 16 × 16 by matrix units; every element becomes rounds / 4
scrambled    state := hashed words, or one word everywhere
"""

from __future__ import annotations

import numpy as np

from ..dim import ceildiv, product, upper
from ..graph import Graph
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..ops import full
from ..runtime import Device
from ..session import Session
from ..target import Target

_COPY = load("bench_copy")
_FILL = load("bench_fill")
_FLOAT = load("bench_float")
_MATRIX = load("bench_matrix")
FLOATS_A_ROUND = 64 * int(_FLOAT["UNROLL"])  # FLOPs of an invocation
MATRICES_A_ROUND = 4 * 8 * 2 * 16**3  # of a workgroup
_ALL = 0xFFFFFFFF
_SCALE = 0.004  # keeps activations in range


def _copy(
    target: Target, y: Tensor, x: Tensor, width: int, each: int, *, writes: bool
) -> list[Dispatch]:
    kernel = _COPY.specialise(WIDTH=width, EACH=each, WRITES=writes)
    n = ceildiv(upper(product(x.shape)) * np.dtype(x.dtype).itemsize, 16)
    return [dispatch(kernel, fold(target, ceildiv(n, width * each)), x=x, y=y, n=n)]


def _copied_shape(state: Tensor, x: Tensor, width: int, each: int) -> Spec:
    return state.spec


def _copied_reference(state: Array, x: Array, width: int, each: int) -> Array:
    return x


def _copied_lower(
    target: Target, y: Tensor, state: Tensor, x: Tensor, width: int, each: int
) -> list[Dispatch]:
    return _copy(target, y, x, width, each, writes=True)


copied = Op("copied", _copied_shape, _copied_reference, _copied_lower, writes=0)


def _scanned_lower(
    target: Target, y: Tensor, state: Tensor, x: Tensor, width: int, each: int
) -> list[Dispatch]:
    return _copy(target, y, x, width, each, writes=False)


def _scanned_reference(state: Array, x: Array, width: int, each: int) -> Array:
    return state


scanned = Op("scanned", _copied_shape, _scanned_reference, _scanned_lower, writes=0)


def _multiplied_shape(state: Tensor, rounds: int) -> Spec:
    return state.spec


def _multiplied_reference(state: Array, rounds: int) -> Array:
    return np.full_like(state, 16)


def _multiplied_lower(target: Target, y: Tensor, state: Tensor, rounds: int) -> list[Dispatch]:
    groups = upper(product(state.shape)) // _FLOAT["WIDTH"]
    return [dispatch(_FLOAT, (groups, 1, 1), y=y, rounds=rounds, by=0.5, plus=0.25)]


multiplied = Op("multiplied", _multiplied_shape, _multiplied_reference, _multiplied_lower, writes=0)


def _matrices_reference(state: Array, rounds: int) -> Array:
    return np.full_like(state, rounds / 4)


def _matrices_lower(target: Target, y: Tensor, state: Tensor, rounds: int) -> list[Dispatch]:
    groups = upper(product(state.shape)) // 1024
    return [dispatch(_MATRIX, (groups, 1, 1), y=y, rounds=rounds)]


multiplied_matrices = Op(
    "multiplied_matrices", _multiplied_shape, _matrices_reference, _matrices_lower, writes=0
)


def _scrambled_shape(state: Tensor, base: int, mask: int, seed: int) -> Spec:
    return state.spec


def _scrambled_reference(state: Array, base: int, mask: int, seed: int) -> Array:
    i = np.arange(-(-state.nbytes // 4), dtype=np.uint32) ^ np.uint32(seed)
    i = (i ^ (i >> np.uint32(16))) * np.uint32(0x7FEB352D)
    i = (i ^ (i >> np.uint32(15))) * np.uint32(0x846CA68B)
    words = np.uint32(base) + ((i ^ (i >> np.uint32(16))) & np.uint32(mask))
    return words.view(np.uint8)[: state.nbytes].view(state.dtype).reshape(state.shape)


def _scrambled_lower(
    target: Target, y: Tensor, state: Tensor, base: int, mask: int, seed: int
) -> list[Dispatch]:
    n = ceildiv(state.spec.nbytes, 4)
    grid = fold(target, ceildiv(n, _FILL["WIDTH"]))
    return [dispatch(_FILL, grid, words=y, n=n, base=base, mask=mask, seed=seed)]


scrambled = Op("scrambled", _scrambled_shape, _scrambled_reference, _scrambled_lower, writes=0)


def ended(g: Graph, count: int) -> int:
    """Give a graph of effects an output, as it must have one: next to nothing is read back."""
    g.output("end", full((1,), 0.0))
    return count


def made_up(state: Tensor, name: str, seed: int) -> Tensor:
    """Random codes, scales that keep activations in range, norms of ones."""
    if state.dtype == "float16":
        number = int(np.float16(_SCALE).view(np.uint16)) * 0x10001
    elif state.dtype == "float32":
        number = int(np.float32(_SCALE if "scales" in name else 1).view(np.uint32))
    else:
        return scrambled(state, 0, _ALL, seed)
    return scrambled(state, number, 0, 0)


async def fill(device: Device, session: Session) -> None:
    """Make up every constant of a session that has no value yet: nothing goes through Python."""
    held = session.store.held
    leaves = session.graph.constants.items()
    empty = {n: leaf for n, leaf in leaves if held[n].filled < leaf.spec.nbytes}
    if not empty:
        return
    g = Graph()
    ended(g, 0)
    for seed, (name, leaf) in enumerate(empty.items()):
        g.effect(made_up(g.state(name, leaf.spec.at({}), leaf.dtype), name, seed << 20))
    filler = await device.compile(g, share=session)  # a state there is the constant here
    await filler.run()
    filler.destroy()
    for name in empty:
        held[name].filled = held[name].spec.nbytes
