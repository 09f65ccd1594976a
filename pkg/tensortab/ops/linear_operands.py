"""What every strategy of linear_q4gsw and linear_q8gsw reads off its operands."""

from __future__ import annotations

from collections.abc import Mapping

from ..dim import upper
from ..op import Tensor
from .glu import ACTIVATIONS


def bind(operands: Mapping[str, Tensor | None], x: Tensor) -> dict[str, Tensor]:
    """Each by its name; what is absent is bound to a buffer that is there anyway, x."""
    return {name: t or x for name, t in operands.items()}


def sizes_of(packed: Tensor) -> tuple[int, int, int]:
    """Bits a weight, N and K of packed weights: uint8 [N, K/2] or int8 [N, K]."""
    bits = 8 if packed.dtype == "int8" else 4
    return bits, upper(packed.shape[0]), upper(packed.shape[1]) * 8 // bits


def what_follows(operands: Mapping[str, Tensor | None], act: str | None) -> dict[str, int]:
    """Knobs for what comes after the product."""
    has = {name.upper(): operands[name] is not None for name in ("bias", "add")}
    return {"GLU": ACTIVATIONS[act] if act else 0, **has}
