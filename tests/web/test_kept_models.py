"""Models of one's own: opened from a hub, an address or a folder, kept, reopened, removed."""

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Route

import harness
import tensortab as tt
import tiny_llama
from hub import Hub
from tensortab import server
from tensortab.weights import safetensors
from visit import Visit

PROMPT = "def add(a, b):"
SHARDED, PLAIN = "team/sharded", "team/plain"
ROW = "#model-list li:nth-child(2)"  # the first that is not the page's own

# The files of every kept model, by their size or for weights their hash.
STORED = """async () => {
  const found = {};
  const root = await navigator.storage.getDirectory();
  const top = await root.getDirectoryHandle("models", {create: true});
  for await (const [id, folder] of top.entries()) {
    found[id] = {};
    for await (const [name, handle] of folder.entries()) {
      const bytes = await (await handle.getFile()).arrayBuffer();
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
      found[id][name] = Array.from(hash, (b) => b.toString(16).padStart(2, "0")).join("");
    }
  }
  return found;
}"""

# As a crash of the browser would, whatever was being written.
BREAK = """async (name) => {
  const top = await (await navigator.storage.getDirectory()).getDirectoryHandle("models");
  for await (const folder of top.values()) {
    if (name === "kept.json") await folder.removeEntry(name);
    else {
      const handle = await folder.getFileHandle(name);
      const file = await handle.createWritable({keepExistingData: true});
      await file.truncate(1000);
      await file.close();
    }
  }
}"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {i: tmp_path_factory.mktemp(i.partition("/")[2]) for i in (SHARDED, PLAIN)}
    for folder in made.values():
        tiny_llama.write_checkpoint(folder)
    tiny_llama.shard(made[SHARDED])
    return made


@pytest.fixture(scope="module")
def servers(loop: harness.Loop, folders: dict[str, Path]) -> Iterator[tuple[Hub, str]]:
    hub = Hub(dict(folders))
    hub_served = hub.served()
    loop.run(hub_served.__aenter__())
    site = server.serve(server.application(hub.address))
    yield hub, loop.run(site.__aenter__())
    loop.run(site.__aexit__(None, None, None))
    loop.run(hub_served.__aexit__(None, None, None))


@pytest.fixture
def hub(servers: tuple[Hub, str], loop: harness.Loop) -> Iterator[Hub]:
    yield servers[0]

    async def works() -> None:
        servers[0].works()

    loop.run(works())


@pytest.fixture(scope="module")
def context(loop: harness.Loop, chrome: harness.Tab) -> Iterator[BrowserContext]:
    made = loop.run(chrome.page.browser.new_context(service_workers="block"))
    yield made
    loop.run(made.close())


def visited(loop: harness.Loop, context: BrowserContext, address: str) -> Visit:
    visit = Visit(loop.run, address, context, loop.run(context.new_page()))
    visit.open("write", "ready")
    return visit


@pytest.fixture(scope="module")
def page(loop: harness.Loop, context: BrowserContext, servers: tuple[Hub, str]) -> Iterator[Visit]:
    """One page for all tests, each of which leaves it with no model kept."""
    visit = visited(loop, context, servers[1])
    yield visit
    loop.run(visit.page.close())


def ask(visit: Visit, text: str) -> None:
    visit.do(visit.page.fill("#address", text))
    visit.do(visit.page.press("#address", "Enter"))


def written(visit: Visit) -> str:
    return visit.written(PROMPT)


def stored(visit: Visit) -> dict[str, dict[str, str]]:
    return visit.do(visit.page.evaluate(STORED))


def reload(visit: Visit) -> None:
    visit.do(visit.page.reload())
    visit.expect("#engine").to_have_attribute("data-state", "ready")


def drop(visit: Visit) -> None:
    """Remove the first kept model."""
    visit.do(visit.page.click(f"{ROW} >> text='Remove'"))
    visit.do(visit.page.click(f"{ROW} >> text=Really remove?"))
    visit.expect("#model-list li").to_have_count(1)
    assert stored(visit) == {}


def opened(visit: Visit, text: str, name: str) -> None:
    """Type it, open it, and wait until it is kept."""
    ask(visit, text)
    visit.expect("#fact-model").to_have_text(name)
    visit.expect(ROW).to_contain_text(name)
    visit.expect(ROW).to_have_attribute("aria-current", "true")


def home(visit: Visit) -> None:
    """Back to the model that comes with the page."""
    visit.do(visit.page.click("#embedded"))
    visit.expect("#fact-model").to_have_text("python-16m")


def test_a_hubs_model_is_kept_to_the_bit_and_starts_without_the_hub(
    page: Visit, hub: Hub, folders: dict[str, Path], native: harness.Native, tmp_path: Path
) -> None:
    async def expected() -> str:
        model = await tt.load(str(folders[SHARDED]), device=native.device)
        pieces = model.generate(PROMPT, temperature=0, max_new_tokens=8)
        text = "".join([piece async for piece in pieces])
        await tt.save(model, tmp_path / "q4")
        model.destroy()
        return text

    text = page.do(expected())
    opened(page, SHARDED, SHARDED)
    assert written(page) == text
    (files,) = stored(page).values()
    for file in (tmp_path / "q4").iterdir():
        assert files[file.name] == hashlib.sha256(file.read_bytes()).hexdigest(), file.name
    assert files.keys() - {f.name for f in (tmp_path / "q4").iterdir()} == {"kept.json", "used"}
    assert page.text("#model-room").endswith("kB kept")

    async def block(route: Route) -> None:
        await route.abort()

    for pattern in (f"{hub.address}/**", "**/models/**"):
        page.do(page.context.route(pattern, block))
    hub.asked.clear()
    reload(page)
    page.expect("#fact-model").to_have_text(SHARDED)
    assert written(page) == text
    assert hub.asked == []
    page.do(page.context.unroute_all())
    drop(page)
    page.expect("#fact-model").to_have_text(SHARDED)  # the device has it still
    reload(page)
    page.expect("#fact-model").to_have_text("python-16m")
    page.expect("#model-problem").to_be_hidden()


def test_an_address_and_a_folder_are_found_again_when_they_are_opened_again(
    page: Visit, hub: Hub, folders: dict[str, Path]
) -> None:
    address = f"{hub.address}/{PLAIN}/resolve/main/"
    opened(page, address, PLAIN)
    text = written(page)
    home(page)
    hub.asked.clear()
    opened(page, address, PLAIN)
    assert hub.asked == []
    assert written(page) == text
    page.do(page.page.set_input_files("#folder", folders[PLAIN]))
    page.expect("#fact-model").to_have_text(folders[PLAIN].name)
    page.expect("#model-list li").to_have_count(3)
    page.expect(ROW).to_contain_text("used today")
    assert written(page) == text
    first, second = stored(page).values()
    assert first["model.safetensors"] == second["model.safetensors"]
    page.do(page.page.click("#model-list li:nth-child(3) >> text='Use'"))
    page.expect("#fact-model").to_have_text(PLAIN)
    page.do(page.page.click("#model-list li:nth-child(3) >> text='Remove'"))
    page.do(page.page.click("text=Really remove?"))
    page.expect("#model-list li").to_have_count(2)
    home(page)
    drop(page)


def test_a_download_that_fails_goes_on_where_it_stopped(page: Visit, hub: Hub) -> None:
    hub.weights_left = 12  # three headers take nine of them
    ask(page, SHARDED)
    page.expect("#opening-failure").to_contain_text("answered 500")
    page.expect("#opening-stage").to_have_text("The download stopped")
    names = page.do(page.page.locator("#opening-files li span:first-child").all_inner_texts())
    shards = [name for name in names if name.endswith(".safetensors")]
    assert sorted(shards) == [f"model-{i:05}-of-00003.safetensors" for i in (1, 2, 3)]
    assert len(hub.asked) == 12
    hub.weights_left = float("inf")
    page.do(page.page.click("#retry"))
    page.expect("#fact-model").to_have_text(SHARDED)
    assert 12 < len(hub.asked) == len({*hub.asked}), "nothing is fetched twice"
    page.expect(ROW).to_contain_text(SHARDED)
    drop(page)
    home(page)


def test_a_cancelled_download_leaves_what_was_there(page: Visit, hub: Hub) -> None:
    before = written(page)
    hub.weights_left, hub.late = 12, asyncio.Event()
    ask(page, SHARDED)
    page.expect("#opening-files").to_contain_text(" of ")
    page.do(page.page.click("#cancel"))
    page.expect("#opening").to_be_hidden()
    page.expect("#model-problem").to_be_hidden()
    page.expect("#fact-model").to_have_text("python-16m")
    assert stored(page) == {}
    assert written(page) == before


def test_a_reload_in_the_middle_of_loading_and_of_keeping(page: Visit, hub: Hub) -> None:
    hub.weights_left, hub.late = 12, asyncio.Event()
    ask(page, SHARDED)
    page.expect("#opening-files").to_contain_text(" of ")
    reload(page)
    page.expect("#fact-model").to_have_text("python-16m")
    assert stored(page) == {}
    hub.works()

    async def stuck(route: Route) -> None:
        text = (await (await route.fetch()).text()).replace(
            "async write(name, at, data) {",
            "async write(name, at, data) { if (at) await new Promise(() => {});",
        )
        await route.fulfill(body=text, content_type="text/javascript")

    page.do(page.context.route("**/kept_models.js", stuck))
    reload(page)
    ask(page, SHARDED)
    page.expect("#fact-model").to_have_text(SHARDED)
    page.do(page.page.wait_for_function(f"async () => Object.keys(await ({STORED})()).length"))
    page.expect("#model-list li").to_have_count(1)
    page.do(page.context.unroute_all())
    reload(page)
    page.expect("#fact-model").to_have_text("python-16m")
    page.do(page.page.wait_for_function(f"async () => !Object.keys(await ({STORED})()).length"))
    page.expect("#model-list li").to_have_count(1)


def test_two_tabs_fetch_a_model_once(
    page: Visit, hub: Hub, loop: harness.Loop, servers: tuple[Hub, str]
) -> None:
    other = visited(loop, page.context, servers[1])
    hub.weights_left, hub.late = 12, asyncio.Event()
    ask(page, SHARDED)
    page.expect("#opening-files").to_contain_text(" of ")
    ask(other, SHARDED)
    other.expect("#opening-stage").to_contain_text("Waiting for this model")
    asked = [*hub.asked]

    async def go_on() -> None:
        late, hub.late, hub.weights_left = hub.late, None, float("inf")
        assert late
        late.set()

    loop.run(go_on())
    for visit in (page, other):
        visit.expect("#fact-model").to_have_text(SHARDED)
    assert len(hub.asked) == len({*hub.asked}), "each range once"
    assert len(hub.asked) > len(asked)
    assert written(page) == written(other)
    loop.run(other.page.close())
    page.expect(ROW).to_contain_text(SHARDED)
    drop(page)
    home(page)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "kept.json"])
def test_what_is_damaged_is_told_and_can_be_removed(page: Visit, name: str) -> None:
    opened(page, PLAIN, PLAIN)
    home(page)
    page.do(page.page.evaluate(BREAK, name))
    if name == "kept.json":  # half a model: gone by the next look
        ask(page, PLAIN)
        page.expect("#fact-model").to_have_text(PLAIN)
        page.expect(ROW).to_contain_text(PLAIN)
    else:
        page.do(page.page.click(f"{ROW} >> text='Use'"))
        page.expect("#model-problem").to_contain_text("cannot be read. Remove it, and open it anew")
        page.expect("#model-details").to_contain_text(name)
        page.expect("#fact-model").to_have_text("python-16m")
    drop(page)
    if name == "kept.json":
        home(page)


def test_a_full_disk_is_told_and_the_model_works(page: Visit) -> None:
    async def full(route: Route) -> None:
        text = (await (await route.fetch()).text()).replace(
            "await navigator.storage.estimate()", "({quota: 20000, usage: 0})"
        )
        await route.fulfill(body=text, content_type="text/javascript")

    page.do(page.context.route("**/kept_models.js", full))
    reload(page)
    ask(page, PLAIN)
    page.expect("#model-problem").to_contain_text(
        "“team/plain” is open, but was not kept for the next visit: model.safetensors cannot be"
        " written: the browser has no room left for this site: "
    )
    page.expect("#model-problem").to_contain_text("bytes are needed, 20000 are free")
    page.expect("#fact-model").to_have_text(PLAIN)
    assert written(page)
    assert stored(page) == {}
    page.do(page.context.unroute_all())
    home(page)


@pytest.fixture(scope="module")
def odd(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints that cannot be opened: of another architecture, and with too large caches."""
    made = {f"team/{name}": tmp_path_factory.mktemp(name) for name in ("mamba", "huge")}
    for name, folder in made.items():
        for file in folders[PLAIN].iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        config = json.loads((folder / "config.json").read_text())
        if name == "team/mamba":
            config["architectures"] = ["Mamba2ForCausalLM"]
        else:
            sizes = {"num_attention_heads": 2048, "num_key_value_heads": 2048, "head_dim": 256}
            config |= {**sizes, "max_position_embeddings": 8192}
            announce(folder / "model.safetensors", config)
        (folder / "config.json").write_text(json.dumps(config))
    return made


def announce(file: Path, config: dict[str, Any]) -> None:
    """A file that has every tensor's place, and nothing in them."""
    from tensortab.models import decoder, llama
    from tensortab.quant.recipe import FLOAT, Recipe

    _, weights = decoder.build(llama.read(config), Recipe(FLOAT))
    header, places = safetensors.layout({n: ("F32", w.shape) for n, w in weights.tensors.items()})
    file.write_bytes(header)
    os.truncate(file, max(place.end for place in places.values()))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("team/absent", "There is no config.json at"),
        ("team/gated", "is gated or private, or there is none of that name"),
        ("team/closed", "does not let other sites’ pages read its files"),
        (
            "https://example.org/model",
            "server and one hub only, and example.org is neither",
        ),
        ("team/mamba", "Models of the architecture Mamba2ForCausalLM cannot be run here, only"),
        ("team/huge", "It is too big for this device"),
        ("team/away", "does not answer. Check the address"),
        ("two words", "Type a hub’s id"),
    ],
)
def test_why_a_model_is_not_opened(
    page: Visit, hub: Hub, odd: dict[str, Path], folders: dict[str, Path], asked: str, told: str
) -> None:
    hub.folders |= {**odd, "team/closed": folders[PLAIN]}
    hub.gated, hub.closed = {"team/gated"}, {"team/closed"}

    async def away(route: Route) -> None:
        await route.abort("connectionrefused")

    page.do(page.context.route("**/team/away/**", away))
    before = page.text("#fact-model")
    ask(page, asked)
    page.expect("#model-problem").to_contain_text(told)
    assert page.text("#fact-model") == before
    page.do(page.context.unroute_all())
    assert stored(page) == {}
