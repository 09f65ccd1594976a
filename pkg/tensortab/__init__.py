"""Neural networks in a browser tab, from Python.

import tensortab as tt

device = await tt.Device.open()
g = tt.Graph()
x = g.input("x", (tt.Sym("rows", max=512), 2048))
g.output("y", tt.ops.gelu(x))
session = await device.compile(g)
out = await session.run(x=array)      # {"y": numpy array}

y = await tt.ops.gelu.on(device, array)     # an op at once, without a graph
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import ops, quant
from .bars import progress
from .dim import Sym, ceildiv, product
from .evaluate import evaluate
from .graph import Graph
from .kernel import Kernel
from .op import Op, Spec, Tensor, dispatch, fold
from .pte import load_pte
from .runtime import Device, call
from .session import Session
from .text.load import load
from .text.save import save
from .text.streaming import show

if TYPE_CHECKING:
    from . import display

__version__ = "0.1.0"
__all__ = [
    "Device",
    "Graph",
    "Kernel",
    "Op",
    "Session",
    "Spec",
    "Sym",
    "Tensor",
    "call",
    "ceildiv",
    "dispatch",
    "display",
    "evaluate",
    "fold",
    "load",
    "load_pte",
    "ops",
    "product",
    "progress",
    "quant",
    "save",
    "show",
]


def __getattr__(name: str) -> Any:
    """Load what draws when it is first asked for: a page's start has no use for it."""
    if name == "display":
        return import_module(".display", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
