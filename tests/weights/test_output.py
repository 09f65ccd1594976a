"""Folders that are there whole, or not at all."""

import asyncio
import stat
from pathlib import Path

import pytest

from tensortab.errors import SetupError, UnsupportedError
from tensortab.weights import open_output


async def fill(path: Path) -> None:
    async with open_output(path) as output:
        await output.create("a", 6)
        await output.write("a", 4, memoryview(b"56"))
        assert not (path / "a").exists(), "nothing is there yet"  # a test
        await output.write("a", 0, b"1234")
        await output.create("b", 3)


def test_files_written_by_ranges(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path / "deep" / "m"))
    found = {p.name: p.read_bytes() for p in (tmp_path / "deep" / "m").iterdir()}
    assert found == {"a": b"123456", "b": bytes(3)}
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["m"]
    assert stat.S_IMODE((tmp_path / "deep" / "m").stat().st_mode) == 0o755


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    asyncio.run(fill(tmp_path / "m"))
    assert len([*(tmp_path / "m").iterdir()]) == 2


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
def test_an_error_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    async def work() -> None:
        async with open_output(tmp_path / "m") as output:
            await output.create("a", 6)
            raise error

    with pytest.raises(error):
        asyncio.run(work())
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_there_stays(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "m"
    if kind == "file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "mine").write_text("mine")
    with pytest.raises(SetupError, match="m: this is there already, expected a folder yet to be"):
        asyncio.run(fill(place))
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_folder_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_output(tmp_path / "m"):
            (tmp_path / "m").mkdir()
            (tmp_path / "m" / "other").write_text("first")

    with pytest.raises(SetupError, match="m: Directory not empty"):
        asyncio.run(work())
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_what_the_disk_refuses(tmp_path: Path) -> None:
    async def full() -> None:
        async with open_output(tmp_path / "m") as output:
            await output.create("a", 1)
            await output.write("a", -1, b"1")

    with pytest.raises(SetupError, match="m/a: Invalid argument"):
        asyncio.run(full())
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="m: File exists"):
        asyncio.run(fill(tmp_path / "file" / "m"))


def test_a_place_of_no_known_kind() -> None:
    with pytest.raises(UnsupportedError, match="a folder to write is a int, expected a path, or"):
        asyncio.run(fill(3))  # type: ignore[arg-type]
