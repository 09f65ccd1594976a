import asyncio

import pytest

from tensortab import guest
from tensortab.errors import ShapeError

SOURCE = """
from tensortab.errors import ShapeError

async def main(payload):
    if payload == b"shape":
        raise ShapeError("x is float32[3], expected float32[4]")
    if payload == b"zero":
        return 1 // 0
    return payload[::-1]
"""


def call(payload):
    return guest.result_of(asyncio.run(guest.call(SOURCE, memoryview(payload))))


def test_a_call_returns_bytes():
    assert call(b"abc") == b"cba"


def test_a_call_raises_this_packages_errors_as_they_were():
    with pytest.raises(ShapeError, match=r"^x is float32\[3\], expected float32\[4\]$"):
        call(b"shape")


def test_a_call_tells_where_a_foreign_error_came_from():
    with pytest.raises(RuntimeError, match=r"in the browser:") as caught:
        call(b"zero")
    text = str(caught.value)
    assert "line 8, in main" in text
    assert "return 1 // 0" in text
    assert "ZeroDivisionError" in text
    assert "guest.py" not in text


@pytest.mark.parametrize("source", ["", "main = 3"])
def test_a_call_without_main_says_so(source):
    with pytest.raises(RuntimeError, match="the source defines no main"):
        guest.result_of(asyncio.run(guest.call(source, b"")))
