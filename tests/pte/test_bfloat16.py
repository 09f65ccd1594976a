"""bfloat16 outside of delegates (a delegate has none): PyTorch's values, as float32."""

import numpy as np
import pytest
import torch

import harness
from tensortab.errors import FormatError, ShapeError
from tensortab.pte import dtypes
from tensortab.pte.delegate import Host
from tensortab.pte.module import Method, _constants
from tensortab.pte.schema import KernelCall, Place, TensorValue
from tensortab.pte.schema import Method as Plan
from tensortab.weights.source import BytesSource

HALVES = np.arange(1 << 16, dtype=np.uint16)
WEIGHT = torch.linspace(-3, 3, 8).bfloat16()


@pytest.mark.parametrize("low", [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
def test_cast_rounds_as_torch(low: int) -> None:
    floats = (HALVES.astype(np.uint32) << 16 | low).view(np.float32)
    want = torch.from_numpy(floats).bfloat16().float().numpy()
    np.testing.assert_array_equal(dtypes.cast(floats, "bfloat16"), want)
    assert dtypes.cast(np.float64(1 + 2**-8), "bfloat16") == 1
    assert np.isnan(dtypes.cast(np.nan, "bfloat16"))


def test_decode_is_torchs() -> None:
    want = torch.from_numpy(HALVES.view(np.int16)).view(torch.bfloat16).float().numpy()
    got = dtypes.decode(HALVES.tobytes(), "bfloat16", (256, 256))
    np.testing.assert_array_equal(got, want.reshape(256, 256))


def plan(places: tuple[int, int]) -> Plan:
    """y = x · weight, y + bias; all but x are bfloat16."""
    values = (
        TensorValue("float32", (3, 8), False, None),
        TensorValue("bfloat16", (8,), False, Place(*places)),
        TensorValue("bfloat16", (3, 8), False, None),
        TensorValue("bfloat16", (3, 8), False, None),
        TensorValue("bfloat16", (3, 8), False, None),
        1,
    )
    calls = (
        KernelCall("aten::mul.out", (0, 1, 2, 2)),
        KernelCall("aten::add.out", (2, 3, 5, 4, 4)),
    )
    return Plan("forward", values, (0, 3), (2, 4), calls, ())


def test_a_method(loop: harness.Loop) -> None:
    data = b"?" * 3 + WEIGHT.view(torch.int16).numpy().tobytes()
    made, source = plan((3, 19)), BytesSource(memoryview(data))
    constants = loop.run(_constants(source, made))
    method = Method("f.pte: forward", Host(None, source), made, (), constants)
    x, bias = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    product = (x * WEIGHT).bfloat16()
    want = product, product + bias.bfloat16()
    got = loop.run(method(x.numpy(), bias.numpy()))  # an input is rounded
    for g, w in zip(got, want, strict=True):
        assert g.dtype == np.float32
        np.testing.assert_array_equal(g, w.float().numpy())
    with pytest.raises(ShapeError, match="input 1 is complex64, expected bfloat16"):
        loop.run(method(x.numpy(), bias.numpy().astype(np.complex64)))
    with pytest.raises(FormatError, match=r"15 bytes for a constant bfloat16\[8\], expected 16"):
        loop.run(_constants(source, plan((3, 18))))
