"""The view that opens ExecuTorch programs and runs them, used as a person would use it."""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.async_api import BrowserContext

import catalogue
import harness
from visit import Visit

EXAMPLES = Path(__file__).parents[2] / "web" / "programs" / "examples"
TOOK = re.compile(r" in [\d.]+ m?s")
PIXELS = "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
SAME_LENGTH = b"<img/>x"  # as "forward"
DROP = """async ([name, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name));
  const init = {dataTransfer: transfer, bubbles: true, cancelable: true};
  document.body.dispatchEvent(new DragEvent("drop", init));
}"""


@pytest.fixture(scope="module")
def ready(loop: harness.Loop, chrome: harness.Tab, profile: BrowserContext) -> Iterator[Visit]:
    visit = Visit.start(loop.run, chrome, profile)
    visit.open("programs", "ready")
    yield visit
    loop.run(visit.page.close())


def pick(visit: Visit, name: str, data: bytes) -> None:
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": data}
    visit.do(visit.page.set_input_files("#program-file", file))
    opened(visit)


def opened(visit: Visit) -> None:
    visit.expect("#program-opening").to_be_empty()


def example(visit: Visit, file: str) -> None:
    visit.do(visit.page.click(f"[data-file='{file}.pte']"))
    opened(visit)
    visit.expect("#program-name").to_have_text(f"{file}.pte")


def fill(visit: Visit, number: int, how: str, **fields: str) -> None:
    """An input's select, and what is typed into its fields."""
    box = visit.page.locator("#program-inputs fieldset").nth(number)
    visit.do(box.get_by_label("Filled with").select_option(how))
    for label, text in fields.items():
        visit.do(box.get_by_label(label, exact=True).fill(text))


def run(visit: Visit) -> list[np.ndarray]:
    """The outputs as the files that are saved hold them."""
    visit.do(visit.page.click("#program-run"))
    visit.expect("#program-summary").to_contain_text(TOOK)
    return [saved(visit, i) for i in range(visit.do(visit.page.locator(".output").count()))]


def saved(visit: Visit, number: int) -> np.ndarray:
    async def download() -> Path:
        async with visit.page.expect_download() as started:
            await visit.page.locator(".output .link").nth(number).click()
        return await (await started.value).path()

    return np.load(visit.do(download()))


def refused(visit: Visit) -> str:
    visit.do(visit.page.click("#program-run"))
    visit.expect("#program-problem").to_be_visible()
    return visit.text("#program-problem")


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def png(pixels: np.ndarray) -> bytes:
    """An RGB picture [H, W, 3] as a PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    height, width, _ = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def choose(visit: Visit, number: int, name: str, data: bytes) -> None:
    box = visit.page.locator("#program-inputs fieldset").nth(number)
    file = {"name": name, "mimeType": "", "buffer": data}
    visit.do(box.locator("[type=file]").set_input_files(file))
    visit.do(box.locator(".wide", has_text=name).wait_for())


def golden(name: str, turn: int = 0) -> tuple[list[np.ndarray], dict[int, np.ndarray]]:
    case = catalogue.cases()[name]
    return case.inputs[turn], case.goldens[turn]


def test_the_examples_are_programs_of_the_tests() -> None:
    named = {
        "attention": "live_attention",
        "convnet": "convnet",
        "tiny-llama-4bit": "llama_q4_live",
    }
    assert {f.stem for f in EXAMPLES.iterdir()} == {*named}
    for file, case in named.items():
        assert (EXAMPLES / f"{file}.pte").read_bytes() == catalogue.cases()[case].pte


def test_an_example_shows_its_operators_and_runs(ready: Visit) -> None:
    example(ready, "attention")
    assert "Input 0 float32[1, ≤ 12, ≤ 32]" in ready.text("#program-inputs legend")
    assert ready.text("#operators-summary").startswith(
        "33 operators in 3 delegates on the GPU · 3 "
    )
    rows = ready.do(ready.page.locator("#operators tbody tr").all_inner_texts())
    assert any("aten.linear.default" in row and "GPU, delegate 0" in row for row in rows)
    inputs, goldens = golden("live_attention")
    fill(ready, 0, "file")
    choose(ready, 0, "x.npy", npy(inputs[0]))
    (y,) = run(ready)
    np.testing.assert_allclose(y, goldens[0], atol=2e-3, rtol=2e-3)
    assert ready.text("#fact-model") == "attention.pte"


def test_sizes_are_live_and_fills_are_seeded(ready: Visit) -> None:
    example(ready, "attention")
    fill(ready, 0, "random", Sizes="1, 3, 32", Seed="5")
    (first,) = run(ready)
    assert first.shape == (1, 3, 32)
    np.testing.assert_array_equal(run(ready)[0], first)
    fill(ready, 0, "random", Seed="6")
    assert (run(ready)[0] != first).any()
    fill(ready, 0, "random", Sizes="1, 13, 32")
    assert "input 0 has shape [1, 13, 32], expected [1, 12, 32] at most" in refused(ready)
    assert ready.do(ready.page.locator(".output").count()) == 1, (
        "the outputs that were there are lost"
    )
    fill(ready, 0, "random", Sizes="1, x")
    assert refused(ready).startswith("Input 0: sizes are whole numbers")


@pytest.mark.parametrize("typed", ["[[1, 2], [3", "[[1], [2, 3]]", '["a"]', "1" * 400])
def test_typed_values_are_checked(ready: Visit, typed: str) -> None:
    example(ready, "attention")
    fill(ready, 0, "values", Values=typed)
    text = refused(ready)
    assert "nput 0" in text
    assert "Traceback" not in text


def test_a_cache_lives_between_calls_until_reset(ready: Visit) -> None:
    example(ready, "tiny-llama-4bit")
    for turn in (0, 1):
        (tokens, place), goldens = golden("llama_q4_live", turn)
        fill(ready, 0, "values", Values=str(tokens.tolist()))
        fill(ready, 1, "values", Values=str(place.tolist()))
        ((y),) = run(ready)
        np.testing.assert_allclose(y, goldens[0], atol=5e-3, rtol=5e-3)
        ready.expect("#program-summary").to_contain_text(f"call {turn + 1}")
    (alone,) = run(ready)
    ready.do(ready.page.click("#program-reset"))
    ready.expect("#program-summary").to_contain_text("Reset")
    ready.expect("#program-reset").to_be_hidden()
    run(ready)
    ready.expect("#program-summary").to_contain_text("call 1")
    assert np.abs(saved(ready, 0) - alone).max() > 1e-3, "its cache held what was there before"
    best = ready.do(ready.page.locator(".best li").all_inner_texts())
    assert len(best) == 5, "the largest five of the last row"
    assert str(saved(ready, 0).reshape(-1, 96)[-1].argmax()) in best[0]


def test_a_picture_is_an_input(ready: Visit) -> None:
    example(ready, "convnet")
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8], pixels[8:, :, 2] = (255, 128, 0), 200
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    fill(ready, 0, "image")
    choose(ready, 0, "field.png", png(pixels))
    box = ready.page.locator("#program-inputs fieldset")
    for scale, array in {
        "unit": pixels / 255,
        "imagenet": (pixels / 255 - mean) / deviation,
    }.items():
        fill(ready, 0, "image")
        ready.do(box.get_by_label("Scaled to").select_option(scale))
        (got,) = run(ready)
        fill(ready, 0, "file")
        choose(ready, 0, "same.npy", npy(np.moveaxis(array, -1, 0)[None].astype(np.float32)))
        (want,) = run(ready)
        np.testing.assert_allclose(got, want, atol=1e-5)
    fill(ready, 0, "image")
    choose(ready, 0, "broken.png", b"no picture")
    assert "broken.png cannot be read as a picture." in ready.text("#program-inputs")


def test_an_output_that_looks_like_a_picture_is_one(ready: Visit) -> None:
    pick(ready, "up.pte", catalogue.cases()["conv2d__conv3x3_pad1"].pte)
    ready.expect("#program-name").to_have_text("up.pte")
    run(ready)
    ready.expect(".picture").to_have_count(0)  # 16 channels
    example(ready, "attention")
    fill(ready, 0, "count", Sizes="1, 7, 32")
    run(ready)
    ready.expect(".picture").to_have_count(0)  # seven pixels high
    fill(ready, 0, "count", Sizes="1, 12, 32")
    (y,) = run(ready)
    drawn = np.reshape(ready.do(ready.page.eval_on_selector(".picture", PIXELS)), (12, 32, 4))
    grey = 255 * (y[0] - y.min()) / (y.max() - y.min())
    assert np.abs(drawn[..., :3] - grey[..., None]).max() <= 1


def test_files_are_dropped(ready: Visit) -> None:
    case = catalogue.cases()["joined"]
    drop(ready, "joined.pte", case.pte)
    ready.expect("#program-name").to_have_text("joined.pte")
    file = io.BytesIO()
    np.savez(file, a=case.inputs[0][0], b=case.inputs[0][1])
    drop(ready, "both.npz", file.getvalue())
    ready.expect("#program-inputs fieldset:nth-child(2) .wide").to_contain_text(["both.npz, b"])
    for got, want in zip(run(ready), case.goldens[0].values(), strict=True):
        catalogue.assert_within(got, want, case.atol, case.rtol)
    drop(ready, "broken.npy", b"\x93NUMPY nothing")
    ready.expect("#program-inputs").to_contain_text("this is no .npy or .npz of plain numbers")


def drop(visit: Visit, name: str, data: bytes) -> None:
    visit.do(visit.page.evaluate(DROP, [name, list(data)]))


def test_pickles_are_never_loaded(ready: Visit) -> None:
    example(ready, "attention")
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], object), allow_pickle=True)
    drop(ready, "objects.npy", file.getvalue())
    ready.expect("#program-inputs").to_contain_text("Object arrays cannot be loaded")


def test_what_falls_back_is_told(ready: Visit) -> None:
    pick(ready, "mixed.pte", catalogue.cases()["mixed_portable_cumsum"].pte)
    ready.expect("#operators-summary").to_contain_text("1 operator on numpy")
    row = ready.do(ready.page.locator("tr:has(.fallback)").inner_text())
    assert "aten::cumsum.out" in row


def test_a_malformed_file_says_why_and_what_was_open_stays(ready: Visit) -> None:
    example(ready, "attention")
    fill(ready, 0, "random", Sizes="1, 3, 32")
    (before,) = run(ready)
    whole = (EXAMPLES / "attention.pte").read_bytes()
    for data, said in (
        (b"no program at all", "expected b'ET12' of an ExecuTorch program"),
        (whole[:9000], "truncated?"),
        (whole.replace(b"aten.linear.default", b"aten.lineal.default"), "aten.lineal.default (2)"),
        (whole.replace(b"VulkanBackend", b"VulkanBackemd"), "expected 'VulkanBackend'"),
    ):
        pick(ready, "broken.pte", data)
        ready.expect("#program-problem").to_contain_text(said)
        assert ready.text("#program-problem").startswith("broken.pte was not opened. ")
    ready.expect("#program-name").to_have_text("attention.pte")
    np.testing.assert_array_equal(run(ready)[0], before)
    ready.expect("#program-problem").to_be_hidden()


def test_hostile_names_stay_text(ready: Visit) -> None:
    whole = (EXAMPLES / "attention.pte").read_bytes().replace(b"forward", SAME_LENGTH)
    pick(ready, "<b>bold</b>.pte", whole)
    ready.expect("#program-name").to_have_text("<b>bold</b>.pte")
    ready.expect("#program-methods").to_contain_text(SAME_LENGTH.decode())
    run(ready)
    assert ready.text("#program-summary").startswith(SAME_LENGTH.decode())
    assert ready.do(ready.page.locator("#programs img, #programs b").count()) == 0


def test_a_crash_opens_the_program_again(ready: Visit) -> None:
    example(ready, "attention")
    fill(ready, 0, "random", Sizes="1, 3, 32")
    (before,) = run(ready)
    worker = next(w for w in ready.page.workers if w.url.endswith("worker.js"))
    ready.do(worker.evaluate("postMessage({type: 'failed', text: 'a test'})"))
    ready.expect("#engine").to_have_attribute("data-state", "error")
    np.testing.assert_array_equal(run(ready)[0], before)
    ready.expect("#engine").to_have_attribute("data-state", "ready")


def test_keyboard_alone_opens_and_runs(ready: Visit) -> None:
    page = ready.page
    ready.do(page.focus("#program-open"))
    for _ in range(2):
        ready.do(page.keyboard.press("Tab"))
    ready.do(page.keyboard.press("Enter"))
    ready.expect("#program-name").to_have_text("convnet.pte")
    ready.do(page.focus("#program-inputs select"))
    ready.do(page.keyboard.press("Control+Enter"))
    ready.expect("#program-summary").to_contain_text(TOOK)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1200, 780)])
def test_looks(ready: Visit, width: int, height: int, scheme: str, tmp_path: Path) -> None:
    ready.do(ready.page.set_viewport_size({"width": width, "height": height}))
    ready.do(ready.page.emulate_media(color_scheme=scheme))
    example(ready, "tiny-llama-4bit")
    fill(ready, 0, "values", Values="[[3, 5, 7, 9, 11]]")
    fill(ready, 1, "values", Values="0")
    run(ready)
    widest: Any = ready.do(ready.page.evaluate("document.documentElement.scrollWidth"))
    assert widest == width, "the page scrolls sideways"
    shot = tmp_path / f"programs-{width}-{scheme}.png"
    ready.do(ready.page.screenshot(path=shot, full_page=True))
    assert shot.stat().st_size > 10_000


def test_nothing_was_complained_of(ready: Visit) -> None:
    """Last: over all that was done in this page."""
    assert ready.foreign == []
    assert ready.complaints == []
