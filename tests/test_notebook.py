"""What a notebook shows as things go on, and what is shown where there is none."""

import asyncio
import io
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from IPython.terminal.interactiveshell import TerminalInteractiveShell
from rich.console import Console
from traitlets.config import Config

import harness
import tensortab as tt
from catalogue import cases
from tensortab import bars, notebook, words
from tiny_llama import write_checkpoint

QUIET = Config({"HistoryManager": {"enabled": False}})


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """What a notebook's kernel is, and what it would send to the page."""
    made = InteractiveShell.instance(config=QUIET)
    made.display_pub = CapturingDisplayPublisher()
    yield made
    InteractiveShell.clear_instance()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds, for the bars to read; a test moves them on."""
    now = [100.0]
    for module in (bars, notebook):
        monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    return now


def shown(shell: InteractiveShell) -> list[str]:
    """What the one output of the cell showed, one after the other."""
    sent = shell.display_pub.outputs
    assert len({s["transient"]["display_id"] for s in sent}) == 1
    assert [s["update"] for s in sent] == [False] + [True] * (len(sent) - 1)
    return [s["data"].get("text/html", s["data"]["text/plain"]) for s in sent]


def test_a_cell_s_bar_is_rewritten_now_and_then(shell: Any, clock: list[float]) -> None:
    with tt.progress() as bar:
        assert isinstance(bar, bars.Cell)
        for done in range(101):
            clock[0] += 0.04
            bar("tensors", done, 100)
            bar("weights", done * 10**6, 10**8)
    found = shown(shell)
    assert 45 < len(found) < 55  # every 0.05 s at most
    row = ET.fromstring(found[25])[0]
    progress = row.find("progress")
    assert progress is not None
    assert progress.attrib == {"max": "100000000", "value": "50000000", "aria-label": "weights"}
    assert progress.tail == " 50 MB of 100 MB · 25 MB/s · 2 s left"
    assert ET.fromstring(found[-1])[0].text == "weights 100 MB in 4.0 s"


def test_a_stage_s_name_is_text(shell: Any) -> None:
    with tt.progress() as bar:
        bar("<b onclick='x'>", 1, 3)
    row = ET.fromstring(shown(shell)[-1])[0]
    assert (row.text or "").startswith("<b onclick='x'> ")
    assert [e.tag for e in row] == ["progress"]


def test_a_bar_that_is_never_called_shows_nothing(shell: Any) -> None:
    with tt.progress():
        pass
    assert not shell.display_pub.outputs


def test_a_terminal_s_bar(clock: list[float]) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with bars.Terminal(console) as bar:
        bar._rich.refresh()
        bar("embed", 0, 10)
        clock[0] += 2
        bar("embed", 4, 10)
        bar._rich.refresh()
    written = console.file.getvalue()
    assert "starting" in written
    assert "4 of 10 · 3 s left" in written
    assert written.index("starting") < written.index("embed")


def test_lines_as_stages_end(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with tt.progress() as bar:
        assert isinstance(bar, bars.Lines)  # pytest's stderr is no terminal
        bar("weights", 0, 2500)
        clock[0] += 1.5
        bar("tensors", 2, 2)
        bar("weights", 2500, 2500)
    assert capsys.readouterr().err == "weights: 2.5 KB in 1.5 s\n"


@pytest.mark.usefixtures("shell")
def test_which_bar_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert notebook.here()
    InteractiveShell.clear_instance()
    assert not notebook.here()
    TerminalInteractiveShell.instance(config=QUIET)
    assert not notebook.here()
    TerminalInteractiveShell.clear_instance()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert isinstance(tt.progress(), bars.Terminal)
    monkeypatch.setattr(bars, "find_spec", lambda _: None)  # as in Pyodide
    assert isinstance(tt.progress(), bars.Lines)


@pytest.mark.usefixtures("shell")
def test_what_a_function_is_given() -> None:
    def own(stage: str, done: int, total: int) -> None: ...

    for wanted, kind in ((None, bars.Cell), (True, bars.Cell), (False, type(None))):
        with bars.told(wanted) as found:
            assert type(found) is kind
    with bars.told(own) as found:
        assert found is own
    InteractiveShell.clear_instance()
    with bars.told(None) as found:
        assert found is None
    with bars.told(True) as found:
        assert type(found) is bars.Lines


def test_a_program_s_weights_are_told(loop: harness.Loop, native: harness.Native) -> None:
    calls: list[tuple[str, int, int]] = []
    data = cases()["convnet"].pte
    told = {"device": native.device, "progress": lambda *call: calls.append(call)}
    loop.run(tt.load_pte(data, **told)).close()
    assert [stage for stage, _, _ in calls] == ["weights"] * len(calls)
    done = [d for _, d, _ in calls]
    assert done == sorted(done)
    assert len({*done}) == 10  # its constants, one after the other
    assert {total for _, _, total in calls} == {done[-1]}
    calls.clear()
    loop.run(tt.load_pte(cases()["trivial_add"].pte, **told)).close()
    assert not calls  # it has no constants


@pytest.mark.parametrize(
    ("said", "want"),
    [
        (words.size(1), "1 byte"),
        (words.size(999), "999 bytes"),
        (words.size(999_900), "1 MB"),
        (words.size(84_321_000), "84.3 MB"),
        (words.size(5e12), "5e+03 GB"),
        (words.time(0), "0"),
        (words.time(12_345), "12.3 µs"),
        (words.time(2.5e9), "2.5 s"),
        (words.count(1, "dispatch", "dispatches"), "1 dispatch"),
        (words.count(1200, "op"), "1,200 ops"),
        (words.listed(["a", "", "b"]), "a · b"),
    ],
)
def test_numbers_in_words(said: str, want: str) -> None:
    assert said == want


def test_a_text_is_streamed_into_one_output(shell: Any, clock: list[float]) -> None:
    ended = []

    async def pieces() -> Any:
        try:
            for piece in ("<img src=x ", "onerror=alert(1)>", "\n", "end"):
                clock[0] += 0.03
                yield piece
        finally:
            ended.append(True)

    found = asyncio.run(tt.show(pieces(), before="> "))
    text = "> <img src=x onerror=alert(1)>\nend"
    assert found.text == str(found) == text
    assert [s["data"].keys() for s in shell.display_pub.outputs] == [{"text/plain"}] * 3
    assert shown(shell) == ["> <img src=x ", "> <img src=x onerror=alert(1)>\n", text]
    assert ended
    shell.display_pub.outputs.clear()
    shell.user_ns["found"] = found
    shell.run_cell("found")  # as the value of a cell it is not shown again
    assert not shell.display_pub.outputs


def test_a_text_that_breaks_off_is_shown_as_far_as_it_came(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async def pieces() -> Any:
        yield "one "
        yield "two"
        raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        asyncio.run(tt.show(pieces()))
    assert shown(shell)[-1] == "one two"
    InteractiveShell.clear_instance()
    with pytest.raises(ValueError, match="three"):
        asyncio.run(tt.show(pieces(), before="> "))
    assert capsys.readouterr().out == "> one two\n"


def test_a_cell_shows_a_graph(shell: Any) -> None:
    graph = tt.Graph()
    graph.output("y", tt.ops.gelu(graph.input("x", (3,))))
    data, _ = shell.display_formatter.format(graph)
    assert data["text/html"] == tt.display.html(graph)


def test_a_model_loads_and_writes_in_cells(
    loop: harness.Loop, native: harness.Native, shell: Any, tmp_path: Path
) -> None:
    folder = str(write_checkpoint(tmp_path))
    model = loop.run(tt.load(folder, device=native.device))
    assert re.search(r">weights \d+ KB in ", shown(shell)[-1])
    shell.display_pub.outputs.clear()
    prompt = "def add("
    found = loop.run(tt.show(model.generate(prompt, max_new_tokens=5), before=prompt))
    assert shown(shell)[-1] == found.text
    assert found.text.startswith(prompt)
    assert model.last.new_tokens == 5
    model.destroy()
