"""The notebooks' cells on this machine's driver, without Jupyter; in JupyterLite: tests/lite."""

import ast
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import harness

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
PIP = "%pip install tensortab"
WIDE = 77  # columns of code that a window of 1200 pixels shows beside the list of files

# What a notebook prints and draws, from its beginning to its end.
SHOWN = {
    "1-hello-kernel": ["100000 elements", "broken.wgsl:13:5", ">wiggle<", "of the pixels agree"],
    "2-four-bits": ["largest error:", "10.32%", "5.00", "0.99", "group 128: 127 of the 128"],
    "3-language-model": ["196 launches", "·second", 'path, "rb") as f:', "tokens a second"],
    "4-pytorch-model": ["method forward", ">convolution<", "200 of 200", "conv_tile<", "square"],
}


def read(name: str) -> list[dict[str, Any]]:
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    return notebook["cells"]


async def value_of(tree: ast.AST, where: str, names: dict[str, Any]) -> Any:
    """Run a syntax tree, in which `await` stands anywhere, as Jupyter does."""
    mode = "eval" if isinstance(tree, ast.Expression) else "exec"
    code = compile(tree, where, mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    value = eval(code, names)
    return await value if inspect.iscoroutine(value) else value


async def run(name: str) -> str:
    """Run the cells one after the other; what the expressions at their ends show."""
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for i, cell in enumerate(read(name)):
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or source == PIP:
            continue
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        await value_of(tree, f"{name}, cell {i}", names)
        if last is not None:
            value = await value_of(ast.Expression(last.value), f"{name}, cell {i}", names)
            shown.append(getattr(value, "_repr_html_", value.__repr__)())
    return "\n".join(shown)


@pytest.mark.usefixtures("native")  # which skips or fails where there is no driver
@pytest.mark.parametrize("name", SHOWN)
def test_cells_run(
    name: str,
    loop: harness.Loop,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(NOTEBOOKS)
    monkeypatch.syspath_prepend(NOTEBOOKS)
    drawn = loop.run(run(name))
    told = capsys.readouterr().out + drawn
    for text in SHOWN[name]:
        assert text in told, f"{text!r} is not in what {name} shows:\n{told}"


def test_every_notebook_is_run() -> None:
    assert [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))] == [*SHOWN]


@pytest.mark.parametrize("name", SHOWN)
def test_cells_are_as_a_reader_wants_them(name: str) -> None:
    cells = read(name)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert "".join(cells[0]["source"]).startswith("# ")
    assert "".join(code[0]["source"]) == PIP
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    lines = [line.rstrip() for cell in code for line in cell["source"]]
    assert [line for line in lines if len(line) > WIDE] == []
