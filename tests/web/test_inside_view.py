"""The view that looks inside of models and programs, used as a person would use it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext

import harness
from tensortab import assets, kernel
from visit import Visit

EXAMPLES = sorted((assets.WEB / "inside" / "examples").glob("*.py"))
HOSTILE = b"<img/>x"  # as long as "forward"
MARKUP = '<img src="x" onerror="document.title = 1"><script>1</script>'

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


@pytest.fixture(scope="module")
def ready(loop: harness.Loop, chrome: harness.Tab, profile: BrowserContext) -> Iterator[Visit]:
    visit = Visit.start(loop.run, chrome, profile)
    visit.weights = []
    visit.on("request", lambda r: visit.weights.append(r.url) if "safetensors" in r.url else None)
    visit.open("inside", "ready")
    yield visit
    loop.run(visit.page.close())


def run(visit: Visit, source: str) -> str:
    """What the cell shows, once it is done."""
    visit.do(visit.page.fill("#cell", source))
    visit.do(visit.page.press("#cell", "Control+Enter"))
    visit.expect("#cell-run").to_be_visible()
    return visit.text("#cell-output")


def look(visit: Visit, subject: str) -> None:
    visit.do(visit.page.select_option("#subject", subject))


def texts(visit: Visit, selector: str) -> list[str]:
    return visit.do(visit.page.locator(selector).all_inner_texts())


def test_a_model_is_loaded_when_it_is_asked_for(ready: Visit) -> None:
    ready.expect("#absent-text").to_have_text("The language model is not loaded.")
    assert ready.weights == []
    ready.do(ready.page.click("#subject-load"))
    ready.expect("#plan > .drawn svg").to_be_visible()
    ready.expect("#subject-name").to_have_text("python-16m")
    look(ready, "programs")
    ready.expect("#absent-text").to_contain_text("No program is open")
    ready.expect("#subject-load").to_be_hidden()
    look(ready, "write")
    ready.expect("#plan > .drawn svg").to_be_visible()


def test_the_plan_of_the_model_that_is_there(ready: Visit) -> None:
    ready.expect("#plan-summary").to_contain_text("without reuse")
    before = ready.text("#plan-summary")
    ready.do(ready.page.select_option("#part", "1"))
    ready.expect("#plan-summary").not_to_have_text(before)
    count = int(ready.text("#plan-summary").split()[0])
    ready.do(ready.page.get_by_text(f"All {count} dispatches").click())
    assert ready.do(ready.page.locator("#plan tbody tr").count()) == min(count, 100)
    assert len(ready.weights) == 1, "the model was fetched a second time"


def test_kernels_are_shown_as_they_are_compiled(ready: Visit) -> None:
    ready.do(ready.page.locator("#plan tbody button", has_text="embedding").first.click())
    shown = ready.do(ready.page.locator("#kernel-source pre").text_content())
    name = ready.do(ready.page.locator("#kernels option:checked").text_content())
    plain = kernel.load(name.split()[0]).source.rstrip()
    assert len(shown.splitlines()) == len(plain.splitlines())
    knobs = dict(k.split(" = ") for k in ready.text("#kernel-knobs")[14:].split(", "))
    for knob, value in knobs.items():
        assert re.search(rf"{knob}\b.*= {re.escape(value)};", shown)
    comments = texts(ready, "#kernel-source .comment")
    assert comments[0] == plain.splitlines()[0]


def test_times_are_shown_by_kernel_and_in_a_row(ready: Visit) -> None:
    ready.do(ready.page.click("#time"))
    ready.expect("#times svg").to_have_count(2)
    ready.expect("#inside-problem").to_be_hidden()
    steps = int(ready.text("#plan-summary").split()[0])
    assert ready.text("#times p").startswith(f"{steps} dispatches")
    look(ready, "search")
    ready.do(ready.page.click("#subject-load"))
    ready.expect("#subject-name").to_have_text("all-MiniLM-L6-v2")
    ready.expect("#times svg").to_have_count(0)
    ready.do(ready.page.click("#time"))
    ready.expect("#times svg").to_have_count(2)
    ready.expect("#reading").to_be_hidden()


def test_a_text_is_read_and_a_token_looked_at(ready: Visit) -> None:
    look(ready, "write")
    ready.do(ready.page.fill("#read-text", "def add(a, b):\n    return a + "))
    ready.do(ready.page.click("#read"))
    ready.expect("#attention").to_be_visible()
    ready.expect("#following li").to_have_count(8)
    likeliest = texts(ready, "#following code")
    assert "b" in likeliest[:2]
    shares = [float(s.split()[0]) for s in texts(ready, "#following .value")]
    assert shares == sorted(shares, reverse=True)
    chips = ready.page.locator("#tokens .chip")
    assert "".join(texts(ready, "#tokens .chip")) == "[0]def·add(a,·b):⏎····return·a·+·"
    last = ready.do(chips.count()) - 1
    ready.expect("#attention-words").to_contain_text(f"Token {last}, ")
    ready.do(chips.nth(1).focus())
    ready.do(ready.page.keyboard.press("Enter"))
    ready.expect("#attention-words").to_contain_text("Token 1, ")
    ready.expect("#following code").not_to_have_text(likeliest)
    before = ready.text("#attention-words")
    ready.do(ready.page.select_option("#layer", "2"))
    ready.expect("#attention-words").not_to_have_text(before)
    ready.do(ready.page.select_option("#head", "0"))
    said = [float(s) for s in re.findall(r"\) ([\d.]+) %", ready.text("#attention-words"))]
    assert sum(said) == pytest.approx(100, abs=1)


def test_markup_in_a_text_stays_text(ready: Visit) -> None:
    ready.do(ready.page.fill("#read-text", MARKUP))
    ready.do(ready.page.click("#read"))
    ready.expect("#tokens").to_contain_text("<")
    ready.expect("#following li").to_have_count(8)
    assert MARKUP in run(ready, f"print({MARKUP!r})")
    graph = f"g = tt.Graph(); g.output('y', tt.ops.gelu(g.input({MARKUP!r}, (4,)))); g"
    run(ready, graph)
    ready.expect("#cell-output svg").to_contain_text("script")
    found = ready.page.locator("#inside img, #inside script")
    assert ready.do(found.count()) == 0


def test_a_cell_runs_and_shows_its_last_value(ready: Visit) -> None:
    shown = run(ready, "for i in range(3):\n    print(i)\nnp.arange(6).reshape(2, 3) * 2")
    assert shown.startswith("0\n1\n2\n")
    assert "int64[2, 3]" in shown or "int32[2, 3]" in shown
    assert "[ 6  8 10]" in shown
    assert ready.text("#cell-summary").startswith("Done in ")
    assert run(ready, "x = 1") == ""
    assert "NameError" in run(ready, "x"), "names of an earlier run are gone"


@pytest.mark.parametrize(
    ("source", "said", "line"),
    [
        ("y = 1\n\nprint(1 / 0)\n", "ZeroDivisionError", 3),
        ("y = 1\nif y\n", "SyntaxError", 2),
        ("def f():\n    raise ValueError('deep')\n\nawait device.call(f)", "deep", 2),
        (
            "x, w = map(tt.Graph().input, 'xw', [(2, 3), (4, 5)])\ntt.ops.linear(x, w)",
            "ShapeError",
            2,
        ),
    ],
)
def test_an_error_is_told_with_its_line(ready: Visit, source: str, said: str, line: int) -> None:
    shown = run(ready, source)
    assert said in shown
    assert "cell.py" not in shown, "the page's own frames are no business of a visitor"
    ready.expect("#cell-line").to_have_text(f"Go to line {line}")
    ready.do(ready.page.click("#cell-line"))
    chosen = "a => a.value.slice(a.selectionStart, a.selectionEnd)"
    assert ready.do(ready.page.eval_on_selector("#cell", chosen)) == source.split("\n")[line - 1]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_every_example_runs(ready: Visit, example: Path) -> None:
    ready.do(ready.page.click(f"[data-example='{example.name}']"))
    typed = example.read_text().rstrip()
    ready.expect("#cell").to_have_value(typed)
    ready.do(ready.page.click("#cell-run"))
    ready.expect("#cell-run").to_be_visible()
    assert ready.text("#cell-summary").startswith("Done in "), ready.text("#cell-output")
    assert ready.text("#cell-output")


def test_typing_indents_as_an_editor_does(ready: Visit) -> None:
    ready.do(ready.page.fill("#cell", ""))
    ready.do(ready.page.focus("#cell"))
    for key in ("i", "f", " ", "1", ":", "Enter", "x", "Enter", "Tab", "y"):
        ready.do(ready.page.keyboard.press(key))
    assert ready.do(ready.page.input_value("#cell")) == "if 1:\n    x\n        y"
    for key in ("Escape", "Tab"):
        ready.do(ready.page.keyboard.press(key))
    assert ready.do(ready.page.evaluate("document.activeElement.dataset.example")) == "layer.py"


def test_a_cell_that_awaits_is_stopped(ready: Visit) -> None:
    ready.do(ready.page.fill("#cell", "import asyncio\nprint('on')\nawait asyncio.sleep(600)"))
    ready.do(ready.page.click("#cell-run"))
    ready.expect("#cell-output").to_have_text("on")
    ready.do(ready.page.click("#cell-stop"))
    ready.expect("#cell-summary").to_contain_text("Stopped after")
    ready.expect("#cell-busy").to_be_hidden()


def test_a_program_is_looked_into(ready: Visit) -> None:
    whole = (assets.WEB / "programs" / "examples" / "tiny-llama-4bit.pte").read_bytes()
    ready.do(ready.page.click("nav a[href='#programs']"))
    data = whole.replace(b"forward", HOSTILE)
    file: Any = {"name": "<b>.pte", "mimeType": "", "buffer": data}
    ready.do(ready.page.set_input_files("#program-file", file))
    ready.expect("#program-name").to_have_text("<b>.pte")
    ready.do(ready.page.click("nav a[href='#inside']"))
    look(ready, "programs")
    ready.expect("#absent-text").to_contain_text("run it once")
    ready.do(ready.page.click("nav a[href='#programs']"))
    for box in (0, 1):
        field = ready.page.locator("#program-inputs fieldset").nth(box)
        ready.do(field.get_by_label("Filled with").select_option("zeros"))
    ready.do(ready.page.click("#program-run"))
    ready.expect("#program-summary").to_contain_text("call 1")
    ready.expect("#program-picture svg").to_be_visible()
    ready.do(ready.page.click("nav a[href='#inside']"))
    ready.expect("#part").to_contain_text(f"{HOSTILE.decode()}, delegate 0")
    ready.do(ready.page.click("#time"))
    ready.expect("#times svg").to_have_count(2)
    assert ready.do(ready.page.locator("#inside img, #inside b").count()) == 0


def test_many_rows_are_unfolded_by_hundreds(ready: Visit) -> None:
    counts = ready.do(ready.page.evaluate(UNFOLD))
    assert counts == [100, "Show 100 more of 150", 200, "Show 50 more of 50", 250, True]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1200, 780)])
def test_looks(ready: Visit, width: int, height: int, scheme: str, tmp_path: Path) -> None:
    ready.do(ready.page.set_viewport_size({"width": width, "height": height}))
    ready.do(ready.page.emulate_media(color_scheme=scheme))
    look(ready, "write")
    ready.expect("#subject-name").to_have_text("python-16m")
    ready.do(ready.page.click("#time"))
    ready.expect("#times svg").to_have_count(2)
    ready.do(ready.page.fill("#read-text", "def mean(values):\n    return sum(values) / len("))
    ready.do(ready.page.click("#read"))
    ready.expect("#following li").to_have_count(8)
    run(ready, (assets.WEB / "inside" / "examples" / "layer.py").read_text())
    widest = ready.do(ready.page.evaluate("document.documentElement.scrollWidth"))
    assert widest == width, "the page scrolls sideways"
    shot = tmp_path / f"inside-{width}-{scheme}.png"
    ready.do(ready.page.screenshot(path=shot, full_page=True))
    assert shot.stat().st_size > 10_000


def test_nothing_was_complained_of(ready: Visit) -> None:
    """Last but one: over all that was done in this page."""
    assert ready.foreign == []
    assert ready.complaints == []


def test_busy_python_is_ended_by_starting_again(ready: Visit) -> None:
    ready.do(ready.page.fill("#cell", "while True:\n    pass"))
    ready.do(ready.page.click("#cell-run"))
    ready.expect("#cell-summary").to_have_text("Running")
    ready.do(ready.page.click("#cell-stop"))
    ready.expect("#cell-busy").to_contain_text("cannot be stopped")
    ready.do(ready.page.click("#cell-restart"))
    ready.expect("#cell-summary").to_have_text("Broken off.")
    ready.expect("#absent-text").to_have_text("The language model is not loaded.")
    assert ready.do(ready.page.input_value("#cell")) == "while True:\n    pass"
    assert run(ready, "1 + 1").strip() == "2"
