"""Float weights to and from integer groups, in numpy.

    packed, scales = q4gsw.quantize(weight, group=32)     # 4 bits a weight, and 8: q8gsw
    weight = q4gsw.dequantize(packed, scales)
    compare(weight, packed, scales)                       # the error, in a notebook as a histogram

Both formats are one family (groups.py); each module states its own layout.
"""

from . import q4gsw, q8gsw
from .comparison import Comparison, compare

__all__ = ["Comparison", "compare", "q4gsw", "q8gsw"]
