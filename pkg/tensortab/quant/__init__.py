"""Float weights to and from integer groups, in numpy.

    packed, scales = q4gsw.quantize(weight, group=32)     # 4 bits a weight, and 8: q8gsw
    weight = q4gsw.dequantize(packed, scales)

Both formats are one family (groups.py); each module states its own layout.
"""

from . import q4gsw, q8gsw

__all__ = ["q4gsw", "q8gsw"]
