"""glu: y = act(x[…, :I]) · x[…, I:], a gated linear unit over joined halves; Shazeer, 2002.05202.

x    float32 […, 2I]: the gate, then what it lets through
y    float32 […, I]
act  "silu" (SwiGLU) or "gelu_tanh" (GeGLU)
"""

from __future__ import annotations

from ..dim import ceildiv, product, upper
from ..errors import ShapeError, UnsupportedError
from ..kernel import load
from ..op import Array, Dispatch, Op, Spec, Tensor, dispatch, fold
from ..target import Target
from .elementwise import gelu, silu
from .layout import float32, require_float32

_KERNEL = load("glu")
ACTIVATIONS = {"silu": 1, "gelu_tanh": 2}  # the kernels' numbers


def require_activation(op: str, act: str) -> None:
    """Refuse the name of an activation there is not."""
    if act not in ACTIVATIONS:
        raise UnsupportedError(f"{op}: act is {act!r}, expected one of {', '.join(ACTIVATIONS)}")


def _shape(x: Tensor, *, act: str = "silu") -> Spec:
    require_float32("glu", x=x)
    require_activation("glu", act)
    if not x.shape or not isinstance(width := x.shape[-1], int) or width % 2:
        raise ShapeError(f"glu: x is {x.spec}, expected […, 2I]")
    return Spec((*x.shape[:-1], width // 2))


def _reference(x: Array, *, act: str = "silu") -> Array:
    gate, up = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    acted = silu.reference(gate) if act == "silu" else gelu.reference(gate, approximate="tanh")
    return float32(acted.astype(float) * up)


def _lower(target: Target, y: Tensor, x: Tensor, *, act: str = "silu") -> list[Dispatch]:
    kernel = _KERNEL.specialise(OP=ACTIVATIONS[act])
    n = product(y.shape)
    grid = fold(target, ceildiv(n, kernel["WIDTH"]))
    return [dispatch(kernel, grid, x=x, y=y, n=n, I=upper(y.shape[-1]))]


glu = Op("glu", _shape, _reference, _lower)
