"""The view that looks inside models, used as a person would use it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext

import harness
from axe import serious
from tensortab import assets
from visit import Visit

SIDES = ["plan", "times", "kernels", "attention", "cell"]
INLINE = "document.querySelectorAll('main script, main foreignObject, main .chip b').length"
SUMS = """canvas => {
  const { width } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, width);
  const alpha = (row, i) => data[4 * (row * width + i) + 3] / 255;
  const columns = [...Array(width).keys()];
  return columns.map((row) => columns.reduce((sum, i) => sum + alpha(row, i) ** 2, 0));
}"""
PICTURE = """async (text) => {
  const { pictureNode } = await import(document.URL);
  return pictureNode(text, "a test").innerHTML;
}"""
UNFOLD = """async () => {
  const { made, unfolding } = await import("/dom.js");
  const body = made("div");
  const more = unfolding(body, 250, (i) => made("p", "", String(i)));
  const seen = [body.children.length, more.textContent];
  more.click();
  seen.push(body.children.length, more.textContent);
  more.click();
  return [...seen, body.children.length, more.hidden];
}"""
MARKUP = '<img src="x" onerror="document.title = 1"><script>1</script>'
HOSTILE = b"<img/>x"  # as long as "forward"
SVG = '<svg xmlns="http://www.w3.org/2000/svg"'
WATCH = """() => {
  window.longestFrame = 0;
  let last = performance.now();
  const next = (now) => {
    window.longestFrame = Math.max(window.longestFrame, now - last);
    last = now;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}"""


@pytest.fixture(scope="module")
def ready(loop: harness.Loop, chrome: harness.Tab, profile: BrowserContext) -> Iterator[Visit]:
    """The view with the embedded language model, loaded from there."""
    visit = Visit.start(loop.run, chrome, profile)
    visit.fetched = []
    visit.on("request", lambda r: visit.fetched.append(r.url) if "safetensors" in r.url else None)
    visit.open("inside", "ready")
    assert visit.fetched == []
    visit.expect("#missing-text").to_have_text("The language model is not loaded yet.")
    visit.expect("#inside-empty").to_be_visible()
    visit.do(visit.page.click("#inside-load"))
    visit.expect("#side-plan svg").to_have_count(2)
    yield visit
    loop.run(visit.page.close())


def side(visit: Visit, name: str) -> None:
    visit.do(visit.page.click(f"#tab-{name}"))
    visit.expect(f"#side-{name}").to_be_visible()


def run(visit: Visit, source: str) -> str:
    """A cell's text output, once it has come to an end."""
    side(visit, "cell")
    visit.do(visit.page.fill("#cell", source))
    visit.do(visit.page.press("#cell", "Control+Enter"))
    visit.expect("#cell-run").to_be_visible()
    return "".join(visit.do(visit.page.locator("#cell-output .said").all_text_contents()))


def test_the_plan_is_shown_as_pictures_and_tables(ready: Visit) -> None:
    side(ready, "plan")
    assert ready.text("#fact-model") == "python-16m"
    summary = ready.text("#side-plan p")
    assert re.match(r"\d+ dispatches · \d+ kernel files · \d+ values in \d+ work buffers", summary)
    ready.do(ready.page.click("#side-plan summary >> nth=0"))
    shown = min(100, int(summary.split()[0]))
    ready.expect("#side-plan details >> nth=0 >> tbody tr").to_have_count(shown)
    ready.do(ready.page.select_option("#inside-parts", label="One more token"))
    ready.expect("#side-plan p >> nth=0").not_to_have_text(summary)
    ready.do(ready.page.click("#side-plan summary >> nth=0"))
    name = ready.text("#side-plan td .link")
    ready.do(ready.page.click("#side-plan td .link"))
    ready.expect("#side-kernels").to_be_visible()
    assert ready.text("#side-kernels p").startswith(f"wgsl/{name}.wgsl · ")


def test_kernels_are_shown_as_compiled(ready: Visit) -> None:
    side(ready, "kernels")
    chooser = ready.page.locator("#side-kernels select")
    names = ready.do(chooser.locator("option").all_inner_texts())
    place = next(i for i, name in enumerate(names) if name.startswith("embedding_qgsw"))
    ready.do(chooser.select_option(str(place)))
    knobs = ready.do(ready.page.locator(".knobs tbody tr").all_inner_texts())
    assert "HALF\ttrue\tfalse" in knobs
    code = ready.do(ready.page.locator(".wgsl").text_content())
    assert "const HALF: bool = true;" in code
    assert ready.do(ready.page.locator(".wgsl .line").count()) == len(code.splitlines())
    assert "const" in ready.do(ready.page.locator(".wgsl .keyword").all_text_contents())
    assert ready.do(ready.page.locator(".wgsl .knob").count()) == len(knobs)


def test_kernels_are_timed_by_the_gpus_clock(ready: Visit) -> None:
    side(ready, "times")
    ready.expect("#side-times svg").to_have_count(2)
    words = ready.text("#side-times p")
    assert re.match(r"One more token after that: \d+ dispatches, .* on the GPU", words)
    boxes = ready.do(ready.page.locator("#side-times svg >> nth=1").locator("rect").count())
    assert boxes > int(words.split(": ")[1].split()[0])
    ready.do(ready.page.click("#side-times summary"))
    ready.expect("#side-times tbody tr >> nth=0").to_be_visible()
    ready.do(ready.page.click("#side-times button:text('Measure again')"))
    ready.expect("#side-times svg").to_have_count(2)


def test_attention_and_what_is_expected(ready: Visit) -> None:
    side(ready, "attention")
    ready.do(ready.page.fill("#read-text", "import numpy as"))
    ready.do(ready.page.press("#read-text", "Control+Enter"))
    ready.expect("#read-state").to_contain_text("tokens.")
    ready.expect("#read-after").to_have_text("After “·as”")
    best = ready.do(ready.page.locator(".expected li").all_inner_texts())
    assert best[0].startswith("·np")
    shares = [float(b.split("\n")[1].split()[0]) for b in best]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 50
    chips = ready.do(ready.page.locator(".chip").all_inner_texts())
    assert chips[-1] == "·as"
    ready.do(ready.page.focus(".chip:last-of-type input"))
    ready.do(ready.page.keyboard.press("ArrowLeft"))
    ready.expect("#read-after").to_have_text(f"After “{chips[-2]}”")
    assert "came next" in ready.text("#read-expected")
    before = ready.text("#read-words")
    assert f"token {len(chips) - 1}, “{chips[-2]}”, looks at “" in before
    ready.do(ready.page.click("#read-heads button >> nth=2"))
    ready.expect("#read-heads button >> nth=2").to_have_attribute("aria-pressed", "true")
    assert "head 3" in ready.text("#read-words")
    ready.do(ready.page.select_option("#read-layer", label="6"))
    ready.expect("#read-words").to_contain_text("Layer 6, head 3")
    sums = ready.do(ready.page.eval_on_selector("#read-matrix", SUMS))
    assert len(sums) == len(chips)
    assert all(abs(s - 1) < 0.1 for s in sums), "each row of the picture is a distribution"
    ready.do(ready.page.click("#read-matrix", position={"x": 20, "y": 2}))
    ready.expect("#read-words").to_contain_text("token 1,")


def test_a_text_is_needed_and_html_in_it_stays_text(ready: Visit) -> None:
    side(ready, "attention")
    ready.do(ready.page.fill("#read-text", ""))
    ready.do(ready.page.click("#read-form button"))
    ready.expect("#read-problem").to_have_text("Type a text first.")
    ready.do(ready.page.fill("#read-text", "<b>x</b><script>document.title = 1</script>"))
    ready.do(ready.page.click("#read-form button"))
    ready.expect("#read-problem").to_be_hidden()
    ready.expect("#read-state").to_contain_text("tokens.")
    ready.expect(".chip >> nth=1").to_contain_text("<")
    assert ready.do(ready.page.evaluate(INLINE)) == 0
    assert ready.do(ready.page.title()) == "Inside · tensortab"


def test_an_example_builds_a_graph_and_a_change_runs_again(ready: Visit) -> None:
    side(ready, "cell")
    ready.do(ready.page.click("[data-cell='graph.py']"))
    ready.expect("#cell-output svg").to_have_count(2)
    ready.expect("#cell-output .said").to_contain_text("float32[3, 10]")
    source = ready.do(ready.page.input_value("#cell"))
    run(ready, source.replace("tt.ops.gelu", "tt.ops.silu"))
    ready.expect("#cell-output svg").to_have_count(2)
    assert "silu" in ready.do(ready.page.locator("#cell-output svg").all_text_contents())[0]
    assert ready.text("#cell-state").startswith("Done after")


def test_the_models_own_python_runs_over_its_weights(ready: Visit) -> None:
    side(ready, "cell")
    ready.do(ready.page.click("[data-cell='model.py']"))
    ready.expect("#cell-state").to_contain_text("Done after")
    lines = "".join(ready.do(ready.page.locator("#cell-output .said").all_text_contents()))
    assert "Config(hidden=384" in lines
    assert len(re.findall(r"^ +\d+\.\d\d  ['\"]", lines, re.MULTILINE)) == 5
    source = ready.do(ready.page.input_value("#cell"))
    assert run(ready, source.replace('activation="silu"', 'activation="gelu_tanh"')) != lines


def test_errors_lead_to_their_line(ready: Visit) -> None:
    assert run(ready, "print('before')\n\nx = 1 / 0\nprint('after')") == "before\n"
    assert ready.text("#cell-output .error p") == "ZeroDivisionError: division by zero"
    assert ready.text("#cell-state").startswith("Failed after")
    ready.do(ready.page.click("#cell-output .error .link:text('Line 3')"))
    assert ready.do(ready.page.evaluate("getSelection().toString()")) == "x = 1 / 0"
    run(ready, "def f(:\n    pass")
    ready.expect("#cell-output .error .link").to_have_text("Line 1")


def test_markup_in_output_and_in_pictures_stays_text(ready: Visit) -> None:
    assert run(ready, f"print({MARKUP!r})") == f"{MARKUP}\n"
    run(ready, f"g = tt.Graph(); g.output('y', tt.ops.gelu(g.input({MARKUP!r}, (4,)))); g")
    ready.expect("#cell-output svg").to_contain_text("script")
    assert ready.do(ready.page.locator("#inside img, #inside script").count()) == 0


def test_the_editor_indents_and_can_be_left(ready: Visit) -> None:
    side(ready, "cell")
    page, keys = ready.page, ready.page.keyboard
    ready.do(page.fill("#cell", ""))
    ready.do(page.focus("#cell"))
    for key in ("i", "f", " ", "1", ":", "Enter", "x", "Enter", "Tab", "y", "Shift+Tab"):
        ready.do(keys.press(key))
    assert ready.do(page.input_value("#cell")) == "if 1:\n    x\n    y"
    assert ready.text("#cell-lines").split() == ["1", "2", "3"]
    ready.do(keys.press("Control+z"))
    assert ready.do(page.input_value("#cell")) == "if 1:\n    x\n        y"
    ready.do(keys.press("Control+a"))
    ready.do(keys.press("Tab"))
    assert ready.do(page.input_value("#cell")) == "    if 1:\n        x\n            y"
    ready.do(keys.press("Escape"))
    ready.do(keys.press("Tab"))
    assert ready.do(page.locator(":focus").get_attribute("data-cell")) == "graph.py"


def test_typing_goes_on_while_python_computes(ready: Visit) -> None:
    side(ready, "cell")
    ready.do(
        ready.page.fill(
            "#cell", "import time\nend = time.time() + 3\nwhile time.time() < end:\n    pass"
        )
    )
    ready.do(ready.page.evaluate(WATCH))
    ready.do(ready.page.press("#cell", "Control+Enter"))
    ready.expect("#cell-halt").to_be_visible()
    ready.do(ready.page.locator("#cell").press_sequentially("# and more", delay=20))
    assert ready.do(ready.page.evaluate("window.longestFrame")) < 500
    assert ready.do(ready.page.input_value("#cell")).endswith("# and more")
    ready.expect("#cell-state").to_contain_text("Done after 3")


def test_a_cell_that_awaits_is_stopped(ready: Visit) -> None:
    side(ready, "cell")
    endless = "import asyncio\nwhile True:\n    print('on')\n    await asyncio.sleep(0.05)"
    ready.do(ready.page.fill("#cell", endless))
    ready.do(ready.page.click("#cell-run"))
    ready.expect("#cell-output .said").to_contain_text("on\non\n")
    ready.do(ready.page.click("#cell-halt"))
    ready.expect("#cell-state").to_have_text("Stopped.")
    ready.expect("#cell-stuck").to_be_hidden()
    assert run(ready, "2 + 2") == "4\n"


def test_the_write_view_goes_on_with_the_same_model(ready: Visit) -> None:
    ready.do(ready.page.click("nav a[href='#write']"))
    ready.do(ready.page.fill("[name=temperature]", "0"))
    ready.do(ready.page.fill("[name=max_new_tokens]", "6"))
    ready.do(ready.page.click("#run"))
    ready.expect("#written").not_to_be_empty()
    ready.expect("#run").to_be_visible()
    ready.do(ready.page.click("nav a[href='#inside']"))
    side(ready, "plan")
    ready.expect("#side-plan svg").to_have_count(2)


def test_the_sentence_model_is_looked_into(ready: Visit) -> None:
    assert len(ready.fetched) == 1, "the language model was fetched a second time"
    side(ready, "times")
    ready.do(ready.page.click("text=the sentence model >> nth=0"))
    ready.expect("#missing-text").to_have_text("The sentence model is not loaded yet.")
    ready.do(ready.page.click("#inside-load"))
    ready.expect("#side-times svg").to_have_count(2)
    assert ready.text("#fact-model") == "all-MiniLM-L6-v2"
    assert ready.text("#side-times p").startswith("Two short sentences: ")
    side(ready, "cell")
    ready.do(ready.page.click("[data-cell='sentences.py']"))
    ready.expect("#cell-output .said").to_contain_text("float32[3, 3]")
    side(ready, "plan")
    ready.do(ready.page.click("text=the language model >> nth=0"))
    ready.expect("#side-plan p >> nth=0").to_contain_text("of states")


def test_a_program_is_looked_into(ready: Visit) -> None:
    whole = (assets.WEB / "programs" / "examples" / "convnet.pte").read_bytes()
    ready.do(ready.page.click("text=the program >> nth=0"))
    ready.expect("#missing-text").to_contain_text("No program is open")
    ready.do(ready.page.click("#inside-open"))
    file: Any = {"name": "<b>.pte", "mimeType": "", "buffer": whole.replace(b"forward", HOSTILE)}
    ready.do(ready.page.set_input_files("#program-file", file))
    ready.expect("#program-name").to_have_text("<b>.pte")
    ready.do(ready.page.click("nav a[href='#inside']"))
    side(ready, "plan")
    ready.expect("#side-plan svg").to_have_count(2)
    assert ready.text("#fact-model") == "<b>.pte"
    side(ready, "times")
    ready.expect("#side-times .notice").to_contain_text("run it once in Programs")
    ready.do(ready.page.click("nav a[href='#programs']"))
    ready.do(ready.page.click("#program-run"))
    ready.expect("#program-summary").to_contain_text(" in ")
    ready.do(ready.page.click("nav a[href='#inside']"))
    ready.expect("#side-times svg").to_have_count(2)
    assert ready.text("#side-times p").startswith(f"{HOSTILE.decode()} on its latest inputs")
    assert ready.do(ready.page.locator("#inside img, #inside b").count()) == 0
    side(ready, "attention")
    ready.expect("#no-attention").to_be_visible()
    ready.do(ready.page.click("text=the language model >> nth=0"))
    ready.expect("#attention").to_be_visible()


def test_keyboard_alone_gets_everywhere(ready: Visit) -> None:
    page = ready.page
    side(ready, "plan")
    ready.do(page.focus("#tab-plan"))
    for name in [*SIDES[1:], SIDES[0]]:
        ready.do(page.keyboard.press("ArrowRight"))
        ready.expect(f"#side-{name}").to_be_visible()
        assert ready.do(page.locator(":focus").get_attribute("id")) == f"tab-{name}"
    ready.do(page.keyboard.press("Tab"))
    assert ready.do(page.locator(":focus").get_attribute("role")) == "region"
    ready.do(page.focus("[name=subject]:checked"))
    ready.do(page.keyboard.press("ArrowRight"))
    ready.expect("#fact-model").to_have_text("all-MiniLM-L6-v2")
    ready.do(page.keyboard.press("ArrowLeft"))
    ready.expect("#fact-model").to_have_text("python-16m")
    ready.expect("#side-plan svg").to_have_count(2)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"{SVG}><g><title>a</title></g></svg>", "<svg><g><title>a</title></g></svg>"),
        (f"{SVG}><script>1</script><g></g></svg>", "<svg><g></g></svg>"),
        (f"{SVG}><foreignObject><b>1</b></foreignObject></svg>", "<svg></svg>"),
        (f'{SVG} onload="1"><g onclick="1" style="fill: red"></g></svg>', "<svg><g></g></svg>"),
        (f'{SVG} xmlns:l="http://www.w3.org/1999/xlink"><g l:href="x" href="y"></g></svg>',
         "<svg><g></g></svg>"),
        (f'{SVG}><img xmlns="http://www.w3.org/1999/xhtml"/></svg>', "<svg></svg>"),
        ("<html/>", ""),
    ],
)  # fmt: skip
def test_only_harmless_pictures_are_taken_over(visit: Visit, text: str, kept: str) -> None:
    # Without the page's policy, which would refuse handlers and styles first, and complain.
    visit.do(visit.page.goto(f"{visit.address}picture.js"))
    assert visit.do(visit.page.evaluate(PICTURE, text)) == kept


def test_a_picture_of_too_many_parts_is_drawn_when_asked_for(visit: Visit) -> None:
    visit.do(visit.page.goto(f"{visit.address}picture.js"))
    shown = visit.do(visit.page.evaluate(PICTURE, f"{SVG}>{'<g/>' * 6001}</svg>"))
    assert re.fullmatch(r"<button.*>Draw it: 6,001 parts</button>", shown)


def test_many_rows_are_unfolded_by_hundreds(ready: Visit) -> None:
    counts = ready.do(ready.page.evaluate(UNFOLD))
    assert counts == [100, "Show 100 more of 150", 200, "Show 50 more of 50", 250, True]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1200, 780)])
def test_looks(ready: Visit, width: int, height: int, scheme: str, tmp_path: Path) -> None:
    ready.do(ready.page.set_viewport_size({"width": width, "height": height}))
    ready.do(ready.page.emulate_media(color_scheme=scheme))
    for name in SIDES:
        side(ready, name)
        widest = ready.do(ready.page.evaluate("document.documentElement.scrollWidth"))
        assert widest == width, f"{name} scrolls sideways"
        assert serious(ready) == [], f"{name} keeps someone out"
        shot = tmp_path / f"inside-{name}-{width}-{scheme}.png"
        ready.do(ready.page.screenshot(path=shot, full_page=True))
        assert shot.stat().st_size > 10_000
    count = "document.querySelectorAll('#inside *').length"
    assert ready.do(ready.page.evaluate(count)) < 6000


def test_python_that_never_awaits_is_ended_with_its_worker(ready: Visit) -> None:
    side(ready, "cell")
    ready.do(ready.page.fill("#cell", "while True:\n    pass"))
    ready.do(ready.page.click("#cell-run"))
    ready.do(ready.page.click("#cell-halt"))
    ready.expect("#cell-stuck").to_contain_text("It does not stop")
    ready.do(ready.page.click("#cell-again"))
    ready.expect("#cell-state").to_have_text("Broken off.")
    ready.expect("#engine").to_have_attribute("data-state", "ready")
    assert run(ready, "model is not None") == "True\n"
    side(ready, "plan")
    ready.expect("#side-plan svg").to_have_count(2)


def test_the_cell_and_the_choices_survive_a_reload(ready: Visit) -> None:
    side(ready, "cell")
    ready.do(ready.page.fill("#cell", "kept = 1"))
    ready.do(ready.page.reload())
    ready.expect("#side-cell").to_be_visible()
    assert ready.do(ready.page.input_value("#cell")) == "kept = 1"
    assert run(ready, "print(model)") == "None\n", "a cell needs no model"


def test_without_webgpu_it_says_so_and_cells_run_on_numpy(visit: Visit) -> None:
    hidden = 'Object.defineProperty(navigator, "gpu", { value: undefined });\n'
    visit.replace("**/worker.js", lambda text: hidden + text)
    visit.open("inside", "ready")
    assert visit.text("#engine-notice").startswith("No WebGPU here, so numpy computes instead")
    said = run(visit, "await tt.ops.relu.on(device, np.array([-1.0, 2.0]))")
    assert said == "float32[2]\n[0. 2.]\n"
    visit.do(visit.page.click("#inside-load"))
    side(visit, "times")
    visit.expect("#side-times .notice").to_contain_text("no clock for kernels")
    assert visit.complaints == []


def test_nothing_was_complained_of(ready: Visit) -> None:
    """Last: over all that was done in this page."""
    assert ready.foreign == []
    assert ready.complaints == []
