from collections.abc import Iterator

import pytest
from playwright.async_api import BrowserContext

import harness
from visit import Visit

# A new page, told by its empty sessionStorage, begins without what another one kept.
FORGET = """
if (location.protocol === "http:" && !sessionStorage.here) {
  localStorage.clear();
  sessionStorage.here = 1;
}
"""


@pytest.fixture(scope="session")
def profile(loop: harness.Loop, chrome: harness.Tab) -> Iterator[BrowserContext]:
    """What pages share: a second one finds files in the cache, as it does for a person."""
    context = loop.run(chrome.page.browser.new_context(service_workers="block"))
    loop.run(context.add_init_script(FORGET))
    yield context
    loop.run(context.close())


@pytest.fixture
def visit(loop: harness.Loop, chrome: harness.Tab, profile: BrowserContext) -> Iterator[Visit]:
    """A page of its own that remembers no prompt."""
    visit = Visit.start(loop.run, chrome, profile)
    yield visit
    loop.run(visit.page.close())


@pytest.fixture(scope="module")
def ready(loop: harness.Loop, chrome: harness.Tab, profile: BrowserContext) -> Iterator[Visit]:
    """A page that a module's tests share, with the embedded model."""
    visit = Visit.start(loop.run, chrome, profile)
    visit.open("", "ready")
    yield visit
    loop.run(visit.page.close())
