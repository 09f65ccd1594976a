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
from .graph import Graph, Op, Spec, Tensor, evaluate
from .session import Device, Session
from .text.load import load

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
    "ops",
    "quant",
]
