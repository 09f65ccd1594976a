"""The site that `tensortab site` writes: under a path of a plain web server, and without it."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from playwright.async_api import Worker

import harness
from tensortab import assets, cli
from tensortab.site import Site
from visit import Visit

PROMPT = "def fibonacci(n):"
PLACE = "some/where"
KEPT = "async () => { await navigator.serviceWorker.ready; return await caches.keys(); }"
VERSION = "document.querySelector('meta[name=version]').content"
# Waits until another version's files are all that is kept.
REPLACED = """async (before) => {
  const kept = async () => (await caches.keys()).filter((key) => key.startsWith("tensortab-site"));
  while ((await kept()).includes(before)) await new Promise((r) => setTimeout(r, 50));
  return await kept();
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@dataclass
class Host:
    """A plain web server that can be taken off the network and put back."""

    folder: Path
    port: int = 0
    server: ThreadingHTTPServer | None = None

    def start(self) -> str:
        handler = partial(Quiet, directory=str(self.folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.port}/"

    def stop(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.stop()


@pytest.fixture
def visit(loop: harness.Loop, chrome: harness.Tab, host: Host) -> Iterator[Visit]:
    context = loop.run(chrome.page.browser.new_context())  # service workers and all
    visit = Visit.start(loop.run, chrome, context)
    visit.address = f"{host.start()}{PLACE}/"
    yield visit
    loop.run(context.close())


def write(visit: Visit) -> str:
    visit.expect("#engine").to_have_attribute("data-state", "ready")
    visit.do(visit.page.fill("#prompt", PROMPT))
    for name, value in {"temperature": 0, "max_new_tokens": 6}.items():
        visit.do(visit.page.fill(f"[name={name}]", str(value)))
    visit.do(visit.page.press("#prompt", "Control+Enter"))
    visit.expect("#write-summary").to_contain_text("tokens after")
    return visit.do(visit.page.locator("#written").text_content())


def test_answers_under_a_path_and_without_a_network(host: Host, visit: Visit) -> None:
    result = CliRunner().invoke(cli.main, ["site", str(host.folder / PLACE)])
    assert result.exit_code == 0, result.output
    asked: list[str] = []
    visit.on("request", lambda request: asked.append(request.url))
    visit.do(visit.page.goto(visit.address))
    answer = write(visit)
    assert answer
    assert all(url.startswith(visit.address) for url in asked), asked
    visit.expect("#offline").to_be_visible()
    (kept,) = [key for key in visit.do(visit.page.evaluate(KEPT)) if "site" in key]
    addresses = visit.do(
        visit.page.evaluate(
            "async (key) => (await (await caches.open(key)).keys()).map((r) => r.url)", kept
        )
    )
    assert f"{visit.address}models/python-16m/model.safetensors" in addresses
    assert not any("MiniLM" in address for address in addresses)
    host.stop()
    visit.do(visit.page.reload())
    assert write(visit) == answer
    assert visit.foreign == []
    visit.do(visit.page.click("nav a[href='#search']"))
    visit.expect("#engine").to_have_attribute("data-state", "error")
    host.start()
    visit.do(visit.page.click("#restart"))
    visit.expect("#error-text").to_contain_text("tensortab site --with-search")


def test_a_newer_site_is_taken_whole(
    host: Host,
    visit: Visit,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = host.folder / PLACE
    Site.build().write(place)
    visit.do(visit.page.goto(visit.address))
    first = write(visit)
    visit.expect("#offline").to_be_visible()
    (kept,) = [key for key in visit.do(visit.page.evaluate(KEPT)) if "site" in key]
    before = visit.do(visit.page.evaluate(VERSION))
    web = tmp_path_factory.mktemp("newer") / "web"
    shutil.copytree(assets.WEB, web)
    for name in ("app.js", "worker.js"):  # of the page, and of what its worker loads
        with (web / name).open("a") as file:
            file.write("globalThis.newer = true;\n")
    monkeypatch.setattr(assets, "WEB", web)
    shutil.rmtree(place)
    newer = Site.build()
    newer.write(place)
    # Half of the newer site is there: nothing of it is kept, and the page comes from the network.
    with (place / "worker.js").open("a") as file:
        file.write("// of neither version")
    visit.do(visit.page.reload())
    assert visit.do(visit.page.evaluate(VERSION)) != before
    assert visit.do(visit.page.evaluate("window.newer"))
    assert write(visit) == first
    assert visit.do(worker(visit).evaluate("self.newer"))
    names = visit.do(visit.page.evaluate("caches.keys()"))
    assert kept in names, "the older version is dropped before a newer one stands"
    # Now all of it.
    shutil.rmtree(place)
    newer.write(place)
    visit.do(visit.page.reload())
    (now,) = visit.do(visit.page.evaluate(REPLACED, kept))
    assert now != kept
    host.stop()
    visit.do(visit.page.reload())
    assert visit.do(visit.page.evaluate("window.newer"))
    assert write(visit) == first
    assert visit.do(worker(visit).evaluate("self.newer"))


def worker(visit: Visit) -> Worker:
    return next(w for w in visit.page.workers if w.url.endswith("/worker.js"))
