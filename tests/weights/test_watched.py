"""A watched folder tells what is read of each file, and asks before it gives up."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tensortab.errors import FormatError, NotFoundError, SetupError
from tensortab.weights import Watch, open_folder, watched
from tensortab.weights.source import BytesSource

DATA = bytes(range(100))
DOWN = SetupError("the server is down")


class Fails(BytesSource):
    """Bytes that cannot be had some times, each with the next of its errors."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__(memoryview(DATA))
        object.__setattr__(self, "errors", [*errors])

    async def read(self, start: int, end: int) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        return await super().read(start, end)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["tensortab.weights.watched"], "_PAUSES", (0.001, 0.001))


def read(
    source: Fails, failed: Callable[[SetupError], Awaitable[None]] | None = None
) -> tuple[bytes, list[tuple[str, int, int]]]:
    told: list[tuple[str, int, int]] = []

    async def work() -> bytes:
        folder = watched(open_folder({"a": source}), Watch(lambda *n: told.append(n), failed))
        file = await folder.source("a")
        assert await file.size() == 100
        return bytes(await file.read(0, 40)) + bytes(await file.foreign(40, 100))

    return asyncio.run(work()), told


def test_every_range_is_told() -> None:
    data, told = read(Fails())
    assert data == DATA
    assert told == [("a", 0, 100), ("a", 40, 100), ("a", 100, 100)]


def test_what_is_read_twice_counts_once() -> None:
    async def work() -> None:
        folder = watched(open_folder({"a": DATA}), Watch(lambda *n: told.append(n)))
        for _ in range(2):
            await (await folder.source("a")).read(0, 60)

    told: list[tuple[str, int, int]] = []
    asyncio.run(work())
    assert [done for _, done, _ in told] == [0, 60, 100]


def test_a_failure_that_passes_is_not_told() -> None:
    async def failed(error: SetupError) -> None:
        pytest.fail(f"asked for {error}")

    assert read(Fails(DOWN, DOWN), failed)[0] == DATA


def test_who_is_asked_may_have_it_tried_again() -> None:
    asked = []

    async def failed(error: SetupError) -> None:
        asked.append(error)

    data, told = read(Fails(*[DOWN] * 7), failed)
    assert data == DATA
    assert asked == [DOWN, DOWN]
    assert [done for _, done, _ in told] == [0, 40, 100]


def test_who_is_asked_may_give_up() -> None:
    async def failed(_: SetupError) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        read(Fails(*[DOWN] * 3), failed)


@pytest.mark.parametrize("error", [NotFoundError("gone"), FormatError("odd")])
def test_what_no_patience_helps_is_raised_at_once(error: Exception) -> None:
    async def failed(error: SetupError) -> None:
        pytest.fail(f"asked for {error}")

    with pytest.raises(type(error), match=str(error)):
        read(Fails(error), failed)


def test_without_anybody_to_ask_a_failure_is_raised() -> None:
    with pytest.raises(SetupError, match="the server is down"):
        read(Fails(DOWN))


def test_a_file_that_is_not_there() -> None:
    folder = watched(open_folder({"a": DATA}), Watch(lambda *_: None))
    with pytest.raises(NotFoundError, match="there is no b among a"):
        asyncio.run(folder.source("b"))
