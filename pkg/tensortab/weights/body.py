"""Bodies of HTTP answers and of files, read into JS buffers that are used again.

response.arrayBuffer() makes a new buffer each time, and a browser's garbage collector lets some
hundreds of megabytes of them pile up (Chromium 156, 760 MB in ranges of 8 MB: 282 MB more in the
renderer; read into one buffer, 73). So what is large goes by a byte stream into a buffer that
`release` took back, where the browser has such streams.
"""

from __future__ import annotations

from typing import Any

import js
from pyodide.ffi import JsException, to_js

_LARGE = 1 << 20  # bytes from which on buffers are kept
_UNIT = 8 << 20  # their sizes are multiples of it, so that one fits the next range, too
_KEPT = 4

_idle: list[Any] = []  # ArrayBuffers


async def read(body: Any, nbytes: int) -> Any:
    """A Uint8Array of a Response's or a Blob's bytes, which should be `nbytes` long."""
    reader = _reader(body) if nbytes >= _LARGE else None
    if reader is None:
        return js.Uint8Array.new(await body.arrayBuffer())
    buffer, got = _take(nbytes), 0
    while got < nbytes:
        view = js.Uint8Array.new(buffer, got, nbytes - got)
        # Where `min` is not known, what has come is given, and the rest is asked for again.
        result = await reader.read(view, _object(min=nbytes - got))
        if not result.value:  # cancelled
            break
        buffer = result.value.buffer  # the same memory: reading moves it
        got += result.value.byteLength
        if result.done:
            break
    return js.Uint8Array.new(buffer, 0, got)


def release(data: Any) -> None:
    """Take back an array's memory, which is not used any more."""
    if data.buffer.byteLength >= _UNIT and len(_idle) < _KEPT:
        _idle.append(data.buffer)


def forget() -> None:
    """Leave what was taken back to the garbage collector."""
    _idle.clear()


def _reader(body: Any) -> Any:
    stream = body.stream() if hasattr(body, "stream") else body.body
    try:
        return stream.getReader(_object(mode="byob"))
    except JsException:  # no byte stream
        return None


def _take(nbytes: int) -> Any:
    for i, buffer in enumerate(_idle):
        if buffer.byteLength >= nbytes:
            return _idle.pop(i)
    return js.ArrayBuffer.new(-(-nbytes // _UNIT) * _UNIT)


def _object(**fields: Any) -> Any:
    return js.Object.fromEntries(to_js(list(fields.items())))
