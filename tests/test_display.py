"""Pictures and tables: well-formed, harmless whatever the names, and right."""

import dataclasses
import pickle
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
import tensortab as tt
from catalogue import cases
from tensortab import display
from tensortab.display.fold import Run, runs
from tensortab.display.graph import Diagram
from tensortab.display.layout import layered
from tensortab.display.plan import held
from tensortab.errors import UnsupportedError
from tensortab.plan import Plan
from tensortab.plan import plan as make_plan
from tensortab.profile import Profile, rows
from tensortab.target import Target

HOSTILE = "</text><script>alert(1)</script>\"'&\x00\x1b]]> onload=x"
DRAWN = ("svg", "title", "g", "text", "path", "rect")
WRITTEN = ("div", "p", "h4", "pre", "details", "summary")
TABLES = ("table", "thead", "tbody", "tr", "th", "td")


def parsed(html: str) -> ET.Element:
    """The elements, after a look at what a page must not be given."""
    root = ET.fromstring(html)
    for e in root.iter():
        name = e.tag.removeprefix("{http://www.w3.org/2000/svg}")
        assert name in (*DRAWN, *WRITTEN, *TABLES), name
        assert not {"style", "id", "href", "src"} & e.attrib.keys()
        assert not [a for a in e.attrib if a.startswith("on")]
    return root


def said(root: ET.Element) -> str:
    return " ".join(root.itertext())


def boxes(root: ET.Element) -> list[str]:
    """What is said where boxes of nodes are pointed at."""
    found = [e for e in root.iter() if e.tag.endswith("rect") and e.get("rx") == "6"]
    return [e[0].text or "" for e in found]


def network(layers: int, name: str = "x") -> tt.Graph:
    """Residual layers, each of a norm, a product and a sum, and one op more at both ends."""
    g = tt.Graph()
    y = tt.ops.gelu(g.input(name, (tt.Sym("rows", 9), 8)))
    for i in range(layers):
        weight = g.constant(f"norm.{i}{name}", np.ones(8, np.float32))
        matrix = g.constant(f"weight.{i}{name}", np.ones((8, 8), np.float32))
        y = tt.ops.add(y, tt.ops.linear(tt.ops.rms_norm(y, weight), matrix))
    g.output(f"y{name}", tt.ops.silu(y))
    return g


def planned(graph: tt.Graph) -> Plan:
    return make_plan(graph, Target("native"))


def profile(made: Plan, ns: int = 1500) -> Profile:
    steps = [(s.op, s.kernel.name, (1, 2, 3), s.kernel.workgroup) for s in made.steps]
    return Profile(rows(steps, [(i * ns, (i + 1) * ns) for i in range(len(steps))]))


def compared(n: int = 4, group: int = 32) -> tt.quant.Comparison:
    weight = np.random.default_rng(0).normal(size=(n, 128))
    return tt.quant.compare(weight, *tt.quant.q4gsw.quantize(weight, group=group))


def hostile_things() -> list[Any]:
    graph = network(2, HOSTILE)
    made = planned(graph)
    report = profile(made)
    renamed = [dataclasses.replace(r, op=HOSTILE, kernel_name=HOSTILE) for r in report.rows]
    odd = dataclasses.replace(compared(), format=HOSTILE)
    return [graph, made, Profile(renamed), odd]


@pytest.mark.parametrize("thing", hostile_things(), ids=lambda thing: type(thing).__name__)
def test_names_stay_text(thing: Any) -> None:
    html = thing._repr_html_()
    root = parsed(html)
    assert "</script>\"'&\ufffd\ufffd]]>" in said(root)
    assert html == display.html(thing)


def test_the_pictures_alone_are_the_same() -> None:
    graph = network(1)
    made = planned(graph)
    for svg, thing in (
        (display.graph_svg(graph), graph),
        (display.plan_svg(made), made),
        (display.profile_bars(profile(made)), profile(made)),
        (display.profile_timeline(profile(made)), profile(made)),
        (display.error_svg(compared()), compared()),
    ):
        assert parsed(svg).get("role") == "img"
        assert svg in display.html(thing)
    with pytest.raises(UnsupportedError, match=r"int has no picture; .* those of Graph"):
        display.html(3)


def test_a_graph_shows_shapes_leaves_and_options() -> None:
    g = tt.Graph()
    x = g.input("x", (tt.Sym("rows", 9), 8))
    state = g.state("sum", (1, 8))
    g.effect(tt.ops.assign(state, tt.ops.narrow(tt.ops.clamp(state, 0.5), 0, 0, 1)))
    g.output("y", tt.ops.gelu(x, approximate="tanh"))
    root = parsed(display.html(g))
    about = boxes(root)
    assert about[0] == "input 'x': float32[rows, 8]"
    assert "gelu(x: float32[rows, 8], approximate='tanh') → float32[rows, 8]" in about
    assert about[-1] == "output 'y': float32[rows, 8]"
    assert "4 ops · 1 input · 1 state (32 bytes) · 1 output" in said(root)
    assert "sum float32[1, 8]" in said(root)


def test_equal_layers_are_folded() -> None:
    root = parsed(display.graph_svg(network(24)))
    ops = [about.split("(")[0] for about in boxes(root)]
    assert ops[1:-1] == ["gelu", "rms_norm", "linear", "add", "silu"]
    assert "× 24" in said(root)
    assert "norm.0x" in said(root)
    assert "norm.1x" not in said(root)
    diagram = Diagram.of(network(24))
    assert set(diagram.edges) == {
        (("input", "x"), 0), (0, 1), (1, 2), (2, 3), (0, 3), (3, 73), (73, ("output", "yx")),
    }  # fmt: skip


def test_what_is_empty_has_a_picture() -> None:
    parsed(display.html(tt.Graph()))
    g = tt.Graph()
    g.output("y", g.input("x", (3,)))
    assert boxes(parsed(display.html(g))) == ["input 'x': float32[3]", "output 'y': float32[3]"]
    assert "0 dispatches" in said(parsed(display.html(planned(g))))


def test_what_is_long_is_cut() -> None:
    g = tt.Graph()
    y = g.input("x", (8,))
    for i in range(40):
        y = tt.ops.narrow(tt.ops.concat(y, y), 0, 0, 8 + i + 1)
    g.output("y", y)
    root = parsed(display.graph_svg(g, most=30))
    assert len(boxes(root)) == 30 + 3  # the ops, the cut, both ends
    assert "… 50 more ops" in said(root)


@st.composite
def dags(draw: st.DrawFn) -> tuple[dict[int, tuple[float, float]], list[tuple[int, int]]]:
    n = draw(st.integers(1, 14))
    sizes = {i: (draw(st.floats(20, 200)), draw(st.floats(20, 60))) for i in range(n)}
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))
    edges = draw(st.sets(pairs.filter(lambda p: p[0] < p[1]))) if n > 1 else set()
    return sizes, sorted(edges)


@given(dags())
def test_a_layout_overlaps_nothing_and_leads_down(
    dag: tuple[dict[int, tuple[float, float]], list[tuple[int, int]]],
) -> None:
    sizes, edges = dag
    found = layered(sizes, edges)
    corners = {}
    for n, (w, h) in sizes.items():
        x, y = found.centres[n]
        corners[n] = x - w / 2, y - h / 2, x + w / 2, y + h / 2
        assert -1e-6 <= corners[n][0] <= corners[n][2] <= found.width + 1e-6
        assert -1e-6 <= corners[n][1] <= corners[n][3] <= found.height + 1e-6
    for a, (left, top, right, end) in corners.items():
        for b, (l2, t2, r2, e2) in corners.items():
            apart = right <= l2 + 1e-6 or r2 <= left + 1e-6 or end <= t2 + 1e-6 or e2 <= top + 1e-6
            assert a == b or apart
    for a, b in edges:
        line = found.lines[a, b]
        assert line[0] == (found.centres[a][0], corners[a][3])
        assert line[-1] == (found.centres[b][0], corners[b][1])
        heights = [y for _, y in line]
        assert heights == sorted(heights)


@pytest.mark.parametrize(
    ("items", "want"),
    [
        ("xabcabcabcy", [Run(1, 3, 3)]),
        ("abcdefabcdef", [Run(0, 6, 2)]),
        ("ababab", []),  # two pieces of two less are not worth a frame
        ("xxxxxxxyabcdabcdabcd", [Run(0, 1, 7), Run(8, 4, 3)]),
        ("", []),
    ],
)
def test_runs(items: str, want: list[Run]) -> None:
    assert runs(items) == want


def test_a_buffer_holds_one_value_at_a_time() -> None:
    made = planned(network(6))
    values = held(made)
    for slot in {h.slot for h in values}:
        mine = sorted((h.first, h.last) for h in values if h.slot == slot)
        for (_, end), (start, _) in pairwise(mine):
            assert start > end
    for i, step in enumerate(made.steps):
        for slot in step.slots:
            inside = [h for h in values if h.slot == slot and h.first <= i <= h.last]
            assert len(inside) == (made.slots[slot].role != "constant")
    work = [i for i, s in enumerate(made.slots) if s.role == "work"]
    count = sum(h.slot in work for h in values)
    assert count > len(work)
    assert f"{count} values in {len(work)} work buffers" in said(parsed(display.html(made)))


def test_a_plan_of_many_states_shows_the_work_first() -> None:
    g = tt.Graph()
    x = g.input("x", (4,))
    for i in range(50):
        x = tt.ops.add(x, g.state(f"state {i}", (4,)))
    g.output("y", x)
    text = said(parsed(display.plan_svg(planned(g))))
    assert "work 51" in text
    assert "and 22 buffers more" in text


def test_a_profile_shows_each_kernel_and_each_dispatch() -> None:
    made = planned(network(2))
    report = profile(made)
    bars = parsed(display.profile_bars(report))
    for name, times, _, ns in report.by_kernel():
        assert name in said(bars)
        assert f"{ns / 1e3:.3g} µs · {ns / report.total_ns:.1%} · ×{times}" in said(bars)
    line = [e for e in parsed(display.profile_timeline(report)).iter() if e.get("stroke") == "none"]
    assert len(line) == len(made.steps)
    ends = [(float(e.attrib["x"]), float(e.attrib["width"])) for e in line]
    assert ends[0][0] == 0
    assert sum(ends[-1]) == pytest.approx(760, abs=0.1)
    nothing = parsed(display.html(Profile([])))
    assert "no timestamps" in said(nothing)


def test_an_error_s_histogram_and_numbers() -> None:
    weight = np.random.default_rng(1).normal(size=(6, 256)).astype(np.float32)
    for module, bits in ((tt.quant.q4gsw, 4.5), (tt.quant.q8gsw, 8.5)):
        packed, scales = module.quantize(weight, group=64)
        found = tt.quant.compare(weight, packed, scales)
        error = module.dequantize(packed, scales) - weight
        assert [found.format, found.group, found.bits] == [module.FORMAT.name, 64, bits]
        assert found.max_error == np.abs(error).max()
        assert found.mean_error == pytest.approx(np.abs(error).mean(), rel=1e-5)
        assert found.rms_error == pytest.approx(error.std(), rel=1e-2)
        assert found.relative_error == pytest.approx(found.rms_error / weight.std(), rel=1e-2)
        assert sum(found.counts) == weight.size
        edges = np.linspace(-found.reach, found.reach, len(found.counts) + 1)
        middle = len(found.counts) // 2
        inside = (error >= edges[middle]) & (error < edges[middle + 1])
        assert found.counts[middle] == inside.sum()
        assert f"{found.max_error:.3g}" in said(parsed(display.html(found)))
        assert str(found).startswith(f"{found.format} [6, 256], group 64: {bits} bits a weight")
    zeros = np.zeros((1, 32), np.float32)
    still = tt.quant.compare(zeros, *tt.quant.q4gsw.quantize(zeros))
    assert [still.max_error, still.relative_error, max(still.counts)] == [0, 0, 32]
    parsed(display.html(still))


def test_a_program_shows_its_methods_and_graphs(loop: harness.Loop, native: harness.Native) -> None:
    texts = {}
    for name in ("convnet", "live_mlp", "mixed_portable_cumsum", "integers"):
        module = loop.run(tt.load_pte(cases()[name].pte, device=native.device))
        texts[name] = said(parsed(display.html(module)))
        assert module.describe().splitlines()[1] in texts[name]
        module.close()
    assert "max_pool2d" in texts["convnet"]
    assert re.search(r"input 0 float32\[1, ≤ 12, ≤ 32\]", texts["live_mlp"])
    assert "aten::cumsum" in texts["mixed_portable_cumsum"]


def test_a_strict_page_takes_the_pictures(loop: harness.Loop, chrome: harness.Tab) -> None:
    """And a tab draws what this machine draws."""
    things = [network(3), planned(network(3)), profile(planned(network(3))), compared()]
    html = [display.html(thing) for thing in things]
    source = """
import pickle
from tensortab import display

async def main(things):
    return pickle.dumps([display.html(thing) for thing in pickle.loads(things)])
"""
    assert pickle.loads(chrome.call(source, pickle.dumps(things))) == html
    complaints = []

    async def show() -> int:
        page = await chrome.page.browser.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        await page.set_content(
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
        )
        # As a page does, rather than with a document: there it is that a style would be refused.
        await page.evaluate("html => { document.body.innerHTML = html }", "".join(html))
        wide = await page.evaluate("document.querySelectorAll('svg rect').length")
        await page.evaluate("document.body.setAttribute('style', 'color: red')")
        await page.close()
        return wide

    assert loop.run(show()) > 20
    assert len(complaints) == 1, complaints  # the last one: the policy is in force
