"""What the view Inside runs in Python, on this machine's device: attention, plans, and the cell."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harness
import hf_checkpoints
import tensortab as tt
import tiny_llama
from close import assert_close
from tensortab import vendor

INSIDE = Path(__file__).parents[2] / "web" / "inside"
sys.path += [str(INSIDE), str(INSIDE.parent)]  # side by side in the page's worker

import cell  # noqa: E402
import inside  # noqa: E402
import reading  # noqa: E402

NAME = "all-MiniLM-L6-v2"
PROGRAM = INSIDE.parent / "programs" / "examples" / "attention.pte"
TEXT = "def add(a, b):\n    return a + b  # 雪\n\n\ndef sub(a, b):\n    return a - b"


@dataclass
class Writer:
    """As the view that writes has its model."""

    model: Any
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class Search:
    """As the view that searches has its model."""

    model: Any


@dataclass
class Programs:
    """As the view of programs has the one that is open."""

    module: Any
    used: dict[str, list[np.ndarray]] = field(default_factory=dict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@asynccontextmanager
async def writer(native: harness.Native, folder: Path, **options: Any) -> AsyncIterator[Writer]:
    model = await tt.load(str(folder), device=native.device, **options)
    try:
        yield Writer(model)
    finally:
        model.destroy()


def told(device: tt.Device, source: str, **views: Any) -> tuple[dict[str, Any], str, list[str]]:
    """A cell's answer, its text and its pictures."""
    said: list[tuple[str, str]] = []
    held = {"write": None, "search": None, "programs": None} | views

    async def run() -> dict[str, Any]:
        return await cell.Cell(device).run(source, held, lambda *what: said.append(what))

    answer = asyncio.run(run())
    return (
        answer,
        "".join(text for kind, text in said if kind == "text"),
        [text for kind, text in said if kind == "picture"],
    )


@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3", "phi4-mini", "smollm3"])
def test_attention_and_expectations_are_those_of_transformers(
    name: str, native: harness.Native, tmp_path: Path
) -> None:
    folder = hf_checkpoints.write(tmp_path, name)

    async def work() -> reading.Reading:
        async with writer(native, folder, quantize=None, context=60) as held:
            held.model.scorer.chunk = 5  # so that a text takes several runs
            found = await reading.read(held.model, TEXT)
            assert held.model.held == found.ids
            again = await held.model.generate_ids(found.ids, max_new_tokens=3, temperature=0)
            assert held.model.last.reused_tokens > 0, "it goes on where the text ends"
            held.model.held = []
            assert again == await held.model.generate_ids(
                found.ids, max_new_tokens=3, temperature=0
            )
            return found

    found = asyncio.run(work())
    hf = hf_checkpoints.model_of(folder)
    with torch.no_grad():
        want = hf(input_ids=torch.tensor([found.ids]), output_attentions=True)
    assert len(found.layers) == len(want.attentions)
    assert len(found.ids) > 16, "longer than the windows"
    for layer, golden in zip(found.layers, want.attentions, strict=True):
        assert_close(layer.weights(), golden[0].numpy(), atol=1e-5, rtol=0)
    shares = torch.softmax(want.logits[0].double(), -1).numpy()
    for row, (expected, golden) in enumerate(zip(found.expected, shares, strict=True)):
        assert_close(np.array(expected.shares), np.sort(golden)[::-1][:8], atol=1e-5, rtol=0)
        assert_close(golden[list(expected.best)], np.array(expected.shares), atol=1e-5, rtol=0)
        came = None if row + 1 == len(found.ids) else golden[found.ids[row + 1]]
        assert expected.came == (came and pytest.approx(came, abs=1e-5))


def test_only_so_much_of_a_text_is_read(native: harness.Native, tmp_path: Path) -> None:
    tiny_llama.write_checkpoint(tmp_path)

    async def work() -> tuple[dict[str, Any], dict[str, Any]]:
        async with writer(native, tmp_path) as held:
            look = inside.Inside(native.device)
            return await look.read(held, tiny_llama.TEXT), await look.read(held, "")

    found, empty = asyncio.run(work())
    assert len(found["tokens"]) == reading.LONGEST
    assert found["left"] > 100
    assert "".join(found["tokens"]).startswith("def add(a, b):\n    return a + b")
    assert empty == {"refused": "the text has no tokens: type some"}


def test_a_plan_is_told_with_its_kernels_as_compiled(
    native: harness.Native, tmp_path: Path
) -> None:
    tiny_llama.write_checkpoint(tmp_path)

    async def work() -> tuple[dict[str, Any], dict[str, Any], Any]:
        async with writer(native, tmp_path) as held:
            look = inside.Inside(native.device)
            plan = held.model.decode.plan
            return look.look(held, 1), await look.profile(held, 1), plan

    told_, times, plan = asyncio.run(work())
    assert told_["parts"] == ["A prompt", "One more token"]
    assert [s[1] for s in told_["steps"]] == [s.kernel.name for s in plan.steps]
    assert len(told_["buffers"]) == len(plan.slots)
    for place, kernel in enumerate(told_["kernels"]):
        assert kernel["times"] == sum(s[4] == place for s in told_["steps"])
        for name, value, _ in kernel["knobs"]:
            assert f"{name}" in kernel["source"]
            assert f"= {value};" in kernel["source"]
    changed = [k for kernel in told_["kernels"] for k in kernel["knobs"] if k[1] != k[2]]
    assert changed, "some knob differs from its file"
    assert "would take" in told_["reuse"]
    assert times["dispatches"] == len(plan.steps)
    assert times["milliseconds"] == pytest.approx(sum(r[4] for r in times["rows"]) / 1e3)


def test_sentences_and_programs_are_looked_into(native: harness.Native) -> None:
    inputs = [np.ones((1, 3, 32), np.float32)]
    look = inside.Inside(native.device)

    async def work() -> list[dict[str, Any]]:
        encoder = await tt.load(str(vendor.model(NAME)), device=native.device)
        search = Search(encoder)
        found = [look.look(search, 0), await look.profile(search, 0)]
        encoder.destroy()
        held = Programs(None)
        found += [look.look(held, 0), await look.profile(held, 0)]
        held.module = await tt.load_pte(PROGRAM, device=native.device)
        found.append(look.look(held, 0))
        await held.module.forward(*inputs)
        found += [look.look(held, 2), await look.profile(held, 2)]
        held.used["forward"] = inputs
        found.append(await look.profile(held, 2))
        held.module.close()
        return found

    sentences, times, *closed, fresh, parts, refused, profiled = asyncio.run(work())
    assert sentences["parts"] == ["Sentences"]
    assert times["dispatches"] == len(sentences["steps"])
    assert [*closed, fresh] == [{"missing": True}] * 3
    assert parts["parts"] == [f"forward, delegate {i}" for i in range(3)]
    assert parts["part"] == 2
    assert refused["refused"].startswith("forward has not run yet")
    assert profiled["about"] == "forward on its latest inputs, all delegates"
    assert profiled["dispatches"] > len(parts["steps"])


def test_numpy_has_no_clock() -> None:
    device = asyncio.run(tt.Device.open("reference"))
    said = asyncio.run(inside.Inside(device).profile(None, 0))
    assert said["refused"].startswith("This adapter has no clock for kernels")
    assert inside.Inside(device).attention(0) == {"missing": True}


@pytest.mark.parametrize("name", sorted(f.name for f in (INSIDE / "examples").iterdir()))
def test_examples_run(name: str, native: harness.Native, tmp_path: Path) -> None:
    tiny_llama.write_checkpoint(tmp_path)
    source = (INSIDE / "examples" / name).read_text()
    said: list[tuple[str, str]] = []

    async def run() -> dict[str, Any]:
        module = await tt.load_pte(PROGRAM, device=native.device)
        await module.forward(np.ones((1, 3, 32), np.float32))
        encoder = await tt.load(str(vendor.model(NAME)), device=native.device)
        async with writer(native, tmp_path) as held:
            views = {"write": held, "search": Search(encoder), "programs": Programs(module)}
            ids = [5, 6, 7]
            before = await held.model.generate_ids(ids, max_new_tokens=4, temperature=0)
            answer = await cell.Cell(native.device).run(source, views, lambda *w: said.append(w))
            after = await held.model.generate_ids(ids, max_new_tokens=4, temperature=0)
            assert before == after, "a cell leaves the model as it was"
        encoder.destroy()
        module.close()
        return answer

    assert asyncio.run(run()) == {}
    assert {kind for kind, _ in said} <= {"text", "picture"}
    assert ("picture" in {kind for kind, _ in said}) == (name != "kernel.py")


def test_a_cell_prints_shows_and_frees(native: harness.Native) -> None:
    source = """
g = tt.Graph()
g.output("y", tt.ops.gelu(g.input("x", (4,))))
show(g)
print("half")
session = await device.compile(g)
(await session.run(x=[0, 0, 0, 0]))["y"]
"""
    answer, text, pictures = told(native.device, source)
    assert answer == {}
    assert text == "half\nfloat32[4]\n[0. 0. 0. 0.]\n"
    assert len(pictures) == 1
    assert pictures[0].startswith("<svg")


@pytest.mark.parametrize(
    ("source", "line", "error"),
    [
        ("x = 1\ny = (x +\n", 2, "SyntaxError: '(' was never closed"),
        ("def f():\n    return 1 / 0\n\n\nf()", 2, "ZeroDivisionError: division by zero"),
        ("\n\ntt.ops.gelu.shape(tt.Graph().input('x', (2,), 'int32'))", 3, "ShapeError: gelu"),
        ("import asyncio\nawait asyncio.sleep(0)\nraise SystemExit(3)", 3, "SystemExit: 3"),
        ("raise KeyboardInterrupt", 1, "KeyboardInterrupt"),
        ("class O(Exception):\n    __str__ = None\nraise O", 3, "O: <exception str() failed>"),
        ("def f(n):\n    return f(n + 1)\nf(0)", 2, "RecursionError"),
    ],
)  # fmt: skip
def test_errors_name_the_line(native: harness.Native, source: str, line: int, error: str) -> None:
    answer, _, _ = told(native.device, source)
    assert answer["line"] == line
    assert error in answer["error"]
    assert "cell.py" not in answer["trace"]


def test_much_is_cut_and_nothing_is_left_behind(native: harness.Native) -> None:
    _, text, _ = told(native.device, "print('x' * 300_000)\nprint('never')")
    assert "more than 100,000 characters are not shown" in text
    assert len(text) < 100_100
    answer, _, _ = told(native.device, "first = 1")
    assert answer == {}
    answer, _, _ = told(native.device, "first")
    assert answer["error"] == "NameError: name 'first' is not defined"


def test_a_cell_that_awaits_is_stopped(native: harness.Native) -> None:
    async def run() -> dict[str, Any]:
        where = cell.Cell(native.device)
        views = {"write": None, "search": None, "programs": None}
        source = "import asyncio\nwhile True:\n    await asyncio.sleep(0.01)"
        running = asyncio.ensure_future(where.run(source, views, lambda *_: None))
        await asyncio.sleep(0.1)
        where.stop()
        return await running

    assert asyncio.run(run()) == {"stopped": True}
