"""What ExecuTorch's own tests expect its runtime to turn away at load, natively and in Chrome."""

import numpy as np
import pytest

import catalogue
import harness
import tensortab as tt
from tensortab.errors import FormatError, TensortabError, UnsupportedError

REFUSED = {
    "neg_batch": (
        UnsupportedError,
        r"update_cache.default: cache is float32\[2, 8, 2, 4\], expected float32 and a batch of 1",
    ),
    "neg_fp16": (
        UnsupportedError,
        r"update_cache.default: cache is float16\[1, 8, 2, 4\], expected float32 and a batch of 1",
    ),
    "sdpa_reject_d6": (UnsupportedError, r"head_dim is 6, expected a multiple of 4 from 4 to 256"),
    "sdpa_k16_bad_cache_heads": (
        FormatError,
        r"value is float32\[1, 512, 8, 64\], cache is float32\[1, 525, 7, 64\]",
    ),
}
# Its runtime has no live sizes for this operator yet; this one has, so that these run.
LIVE = ("dyn_expand_copy", "dyn_expand_copy_inferred")


def test_all_of_them_are_here() -> None:
    assert {*REFUSED, *LIVE} == {*catalogue.refused()}


@pytest.mark.parametrize("name", REFUSED)
def test_native(loop: harness.Loop, native: harness.Native, name: str) -> None:
    error, match = REFUSED[name]
    with pytest.raises(error, match=match):
        loop.run(tt.load_pte(catalogue.refused()[name], device=native.device))


@pytest.mark.parametrize("name", REFUSED)
def test_chrome(chrome: harness.Tab, name: str) -> None:
    error, match = REFUSED[name]
    (outcome,) = catalogue.in_tab(chrome, [(catalogue.refused()[name], [])])
    assert isinstance(outcome, TensortabError)
    with pytest.raises(error, match=match):
        raise outcome


@pytest.mark.parametrize("name", LIVE)
def test_expansion_of_a_live_size(device: harness.Device, loop: harness.Loop, name: str) -> None:
    runs = [[np.arange(n, dtype=np.float32).reshape(1, n)] for n in (8, 3, 1)]
    if isinstance(device, harness.Tab):
        ((*outputs,),) = catalogue.in_tab(device, [(catalogue.refused()[name], runs)])
    else:
        outputs = loop.run(catalogue.results(device.device, catalogue.refused()[name], runs))
    for (x,), (y,) in zip(runs, outputs, strict=True):
        np.testing.assert_array_equal(y, np.broadcast_to(x, (4, x.shape[1])))
