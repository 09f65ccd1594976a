from typing import Any

import numpy as np
import pytest

import harness
import tensortab as tt
from calls import Evaluated, built
from close import assert_close


@pytest.fixture
def both(native: harness.Native) -> Evaluated:
    """Evaluate a call, after a look that the device agrees."""

    def run(name: str, args: list[Any], outputs: list[np.ndarray | int]) -> list[np.ndarray]:
        made, arrays = built(name, args, outputs)
        want = tt.evaluate(made.graph, **arrays)
        got = native.run(made.graph, **arrays)
        for n in made.outputs:
            assert_close(got[n], want[n], atol=2e-5, rtol=1e-5)
        return [want[n] for n in made.outputs]

    return run
