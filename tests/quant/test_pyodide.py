"""Pyodide's numpy gives the same bytes, searched scales included."""

import numpy as np
import pytest

QUANTIZE = """
import hashlib
import numpy as np
from tensortab.quant import q4gsw, q8gsw

async def main(weight):
    weight = np.frombuffer(weight, np.float32).reshape(96, 384)
    told = []
    for quant in (q4gsw, q8gsw):
        for options in ({}, {"search": True}, {"search": True, "scales": "float16"}):
            packed, scales = quant.quantize(weight, **options)
            restored = quant.dequantize(packed, scales)
            told += [hashlib.sha256(a).hexdigest() for a in (packed, scales, restored)]
    return " ".join(told).encode()
"""


@pytest.mark.parametrize("seed", [0, 1])
def test_a_tab_quantizes_to_the_same_bytes(chrome, loop, seed):
    weight = np.random.default_rng(seed).standard_normal((96, 384), np.float32).tobytes()
    scope = {}
    exec(QUANTIZE, scope)
    assert chrome.call(QUANTIZE, weight) == loop.run(scope["main"](weight))
