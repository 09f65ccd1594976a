import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness

MARKED = {"firefox": {"firefox"}, "gpu": {"matrices"}, "lite": {"lite", "lite_served"}}


def pytest_configure(config: pytest.Config) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"  # transformers makes its checkpoints on the spot
    config.addinivalue_line("markers", "firefox: runs in Firefox (added to whatever uses it)")
    config.addinivalue_line("markers", "gpu: needs a GPU's matrix units (added likewise)")
    config.addinivalue_line("markers", "lite: runs in JupyterLite (added likewise)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        used = {*getattr(item, "fixturenames", ())}
        for marker, fixtures in MARKED.items():
            if used & fixtures:
                item.add_marker(marker)


@pytest.fixture(scope="session")
def loop() -> Iterator[harness.Loop]:
    loop = harness.Loop()
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def native(loop: harness.Loop) -> Iterator[harness.Device]:
    yield from opened(loop, "native")


@pytest.fixture(scope="session")
def chrome(loop: harness.Loop) -> Iterator[harness.Device]:
    """A tab all tests share; one that ends or breaks its page opens its own."""
    yield from opened(loop, "chrome")


@pytest.fixture(scope="session")
def firefox(loop: harness.Loop) -> Iterator[harness.Device]:
    yield from opened(loop, "firefox")


@pytest.fixture(scope="session")
def matrices(chrome: harness.Tab) -> harness.Tab:
    """Chrome where it multiplies matrices: on a GPU, with TENSORTAB_ADAPTER=gpu-f16."""
    assert chrome.info.matrices, f"{chrome.info} has no subgroup matrices"
    return chrome


@pytest.fixture(scope="session", params=["native", "chrome"])
def device(request: pytest.FixtureRequest) -> harness.Device:
    """Each GPU there is without asking for more; op tests run once on every one."""
    return request.getfixturevalue(request.param)


def opened(loop: harness.Loop, name: str) -> Iterator[harness.Device]:
    device = harness.open_device(loop, name)
    yield device
    device.close()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """An empty folder whose path is short: Chromium's sockets lie in TMPDIR, and hold 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="tt-") as folder:
        yield Path(folder)
