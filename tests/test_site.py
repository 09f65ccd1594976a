"""What the site consists of, and that page and service worker are told of all of it."""

import asyncio
import hashlib
import json
import re
import time
from html.parser import HTMLParser

import aiohttp
import pytest
from click.testing import CliRunner

from tensortab import assets, cli, parts, server, vendor
from tensortab.site import LISTING, PAGE, RUN, SEARCH, WORKER, Site, policy


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site that leaves Pyodide to the CDN, so that a cache is not needed."""
    monkeypatch.setattr(vendor, "cache", lambda: tmp_path / "cache")
    return Site.build()


def listed(site):
    return json.loads(site.listing().decode().removeprefix("self.KEPT = ").rstrip(";\n"))


class Inline(HTMLParser):
    """What a page has that its policy forbids, and the order of what is in its head."""

    def __init__(self, text):
        super().__init__()
        self.found, self.tags, self.script = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        names = dict(attrs)
        self.tags.append((tag, names))
        self.found += [n for n in names if n == "style" or n.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in names):
            self.found.append(tag)


@pytest.mark.parametrize("page", [PAGE, "run.html"])
def test_pages_have_no_inline_script_or_style(page):
    assert Inline((assets.WEB / page).read_text()).found == []
    assert Inline("<p style='x' onclick='y'><style></style><script></script>").found


def test_the_page_states_its_policy_before_anything_is_loaded(site):
    tags = Inline(site.page().decode()).tags
    names = [tag for tag, _ in tags]
    metas = [names for tag, names in tags[: names.index("link")] if tag == "meta"]
    assert "script" not in names[: names.index("link")]
    (stated,) = [m["content"] for m in metas if m.get("http-equiv") == "Content-Security-Policy"]
    assert f"{stated}; frame-ancestors 'none'" == policy(site.config)


def test_the_listing_has_every_file_but_the_large_model(site, tmp_path):
    out = tmp_path / "out"
    size = site.write(out)
    written = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert size == sum(map(len, written.values()))
    kept = listed(site)
    assert set(written) - set(kept) == {PAGE, LISTING, WORKER, ".nojekyll"}
    for address, sha in kept.items():
        if address.startswith("https://"):
            assert sha == ""
        else:
            assert hashlib.sha256(written[PAGE if address == "./" else address]).hexdigest() == sha
    assert not set(written) & set(RUN)
    assert parts.CDN_PYODIDE + parts.NUMPY in kept
    searching = Site(site.package, site.config, search=True)
    model = vendor.cache() / "models" / SEARCH
    for name in parts.MODELS[SEARCH].take.values():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(name)
    assert f"models/{SEARCH}/model.safetensors" in searching.files()
    assert not any(SEARCH in address for address in listed(searching))


def test_the_version_changes_with_any_file_and_with_nothing_else(site, monkeypatch):
    page = site.page()
    started = time.time()
    monkeypatch.setattr(time, "time", lambda: started + 1e6)
    assert Site.build().page() == page
    other = Site(site.package + b"x", site.config)
    assert other.page() != page
    assert other.listing() != site.listing()


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    result = CliRunner().invoke(cli.main, ["site", str(tmp_path)])
    assert result.exit_code == 1
    assert re.fullmatch(
        f"Error: {tmp_path} is there and not an empty folder: a site needs one of its own\n",
        result.output,
    )
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_the_server_gives_what_is_written_under_a_policy(site, tmp_path):
    site.write(tmp_path / "out")

    async def answers():
        app = server.application()
        async with server.serve(app) as address, aiohttp.ClientSession(address) as client:
            for path in ["", "index.html", *site.files(), "missing.html"]:
                answer = await client.get(f"/{path}")
                yield path, answer.headers.get("Content-Security-Policy"), await answer.read()

    async def check():
        async for path, stated, body in answers():
            assert stated == policy(site.config), path
            if path != "missing.html":
                assert body == (tmp_path / "out" / (path or PAGE)).read_bytes(), path

    asyncio.run(check())
