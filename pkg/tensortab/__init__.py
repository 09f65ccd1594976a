"""Neural networks in a browser tab, from Python.

import tensortab as tt

device = await tt.Device.open()
g = tt.Graph()
x = g.input("x", (tt.Sym("rows", max=512), 2048))
g.output("y", tt.ops.gelu(x))
session = await device.compile(g)
out = await session.run(x=array)      # {"y": numpy array}
"""

from . import ops, quant
from .dim import Sym
from .evaluate import evaluate
from .graph import Graph
from .op import Op, Spec, Tensor
from .pte import load_pte
from .runtime import Device
from .session import Session
from .text.load import load
from .text.save import save

__version__ = "0.1.0"
__all__ = [
    "Device",
    "Graph",
    "Op",
    "Session",
    "Spec",
    "Sym",
    "Tensor",
    "evaluate",
    "load",
    "load_pte",
    "ops",
    "quant",
    "save",
]
