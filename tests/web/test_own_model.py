"""A checkpoint of one's own in the page: a folder picked or dropped."""

import json
from pathlib import Path

import pytest

import harness
import tensortab as tt
import tiny_llama
from visit import Visit

PROMPT = "def add(a, b):"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama.write_checkpoint(tmp_path_factory.mktemp("tiny"))


def write(visit: Visit) -> str:
    visit.do(visit.page.fill("#prompt", PROMPT))
    for name, value in {"temperature": 0, "max_new_tokens": 8}.items():
        visit.do(visit.page.fill(f"[name={name}]", str(value)))
    visit.do(visit.page.press("#prompt", "Control+Enter"))
    visit.expect("#run").to_be_visible()
    return visit.do(visit.page.locator("#written").text_content())


def pick(visit: Visit, folder: Path) -> None:
    visit.do(visit.page.set_input_files("#folder", folder))
    visit.expect("#opening").to_be_hidden()


def test_a_picked_folder_writes_as_it_does_natively(
    ready: Visit, folder: Path, native: harness.Native
) -> None:
    async def expected() -> str:
        model = await tt.load(str(folder), device=native.device)
        pieces = model.generate(PROMPT, temperature=0, max_new_tokens=8)
        text = "".join([piece async for piece in pieces])
        model.destroy()
        return text

    pick(ready, folder)
    ready.expect("#fact-model").to_have_text(folder.name)
    ready.expect("#model-problem").to_be_hidden()
    assert write(ready) == ready.do(expected())
    ready.expect("#context").to_contain_text("200 tokens")
    ready.do(ready.page.click("#embedded"))
    ready.expect("#fact-model").to_have_text("python-16m")
    ready.expect("#embedded").to_be_hidden()
    assert write(ready)


def test_what_is_unsupported_is_told_and_the_model_stays(
    ready: Visit, folder: Path, tmp_path: Path
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    before = write(ready)
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["Mamba2Model"]}))
    pick(ready, tmp_path)
    assert ready.text("#model-problem").startswith("The model was not opened. ")
    assert "Mamba2Model" in ready.text("#model-problem")
    assert "Traceback" not in ready.text("#model-problem")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(b"short")
    pick(ready, tmp_path)
    assert "model.safetensors" in ready.text("#model-problem")
    ready.expect("#engine").to_have_attribute("data-state", "ready")
    ready.expect("#fact-model").to_have_text("python-16m")
    assert write(ready) == before


def test_a_folder_without_a_config_is_refused_at_once(ready: Visit, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    ready.do(ready.page.set_input_files("#folder", tmp_path))
    ready.expect("#model-problem").to_contain_text("There is no config.json")


def test_a_crash_opens_the_picked_model_again(ready: Visit, folder: Path) -> None:
    pick(ready, folder)
    before = write(ready)
    ready.do(ready.page.evaluate("performance.clearMarks()"))
    worker = next(w for w in ready.page.workers if w.url.endswith("worker.js"))
    ready.do(worker.evaluate("postMessage({type: 'failed', text: 'a test'})"))
    ready.expect("#engine").to_have_attribute("data-state", "error")
    ready.do(ready.page.click("#restart"))
    ready.expect("#engine").to_have_attribute("data-state", "ready")
    ready.expect("#fact-model").to_have_text(folder.name)
    assert write(ready) == before
    assert ready.complaints == []
