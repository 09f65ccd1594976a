"""What 4 and 8 bits cost all-MiniLM-L6-v2: choices, bits a weight, and how far sentences move.

    python bench/quality.py            natively, through wgpu; a minute on two cores
    python bench/quality.py --write    and into bench/results/quality.json

Each choice embeds the 64 sentences of tests/data/sentences.txt (prose, code, single words, other
languages) and is compared with the float model: the cosine of a sentence's two vectors (mean and
least), and for how many sentences the nearest other sentence is the same one. Bits are those of the
linear layers, scales included.
"""

import asyncio
import datetime as dt
import json
from pathlib import Path

import click
import numpy as np

import tensortab as tt
from tensortab import vendor
from tensortab.quant.recipe import Format, Recipe

HERE = Path(__file__).parent
SENTENCES = HERE.parent / "tests" / "data" / "sentences.txt"

VALUE = r"self\.value"
ATTENTION = r"\.attention\."


def four(group: int = 32, *, search: bool = True) -> Format:
    return Format("q4gsw", group, search)


def eight(group: int = 32) -> Format:
    return Format("q8gsw", group)


CHOICES: dict[str, Recipe | str] = {
    "4-bit, plain rounding": Recipe(four(search=False)),
    "4-bit, group 128": Recipe(four(128)),
    "4-bit, group 64": Recipe(four(64)),
    "4-bit": Recipe(four()),
    "4-bit, values in 8-bit groups of 128": Recipe(four(), ((VALUE, eight(128)),)),
    "4-bit, all of attention in 8-bit groups of 32": Recipe(four(), ((ATTENTION, eight()),)),
    "default: values, attention outputs, later feed-forward in 8-bit groups of 128": "auto",
    "8-bit": Recipe(eight()),
}


def compare(vectors: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """Mean and least cosine, and how many keep their nearest neighbour."""
    cosine = (vectors * exact).sum(1)
    nearest = [(v @ v.T - 2 * np.eye(len(v))).argmax(1) for v in (vectors, exact)]
    return {
        "mean_cosine": round(float(cosine.mean()), 4),
        "least_cosine": round(float(cosine.min()), 4),
        "same_neighbour": int((nearest[0] == nearest[1]).sum()),
    }


async def measure() -> list[dict[str, object]]:
    sentences = SENTENCES.read_text(encoding="utf-8").splitlines()
    folder = str(vendor.model("all-MiniLM-L6-v2"))
    device = await tt.Device.open()
    exact = await (await tt.load(folder, quantize=None, device=device)).embed(sentences)
    rows = []
    for name, recipe in CHOICES.items():
        model = await tt.load(folder, quantize=recipe, device=device)
        row = compare(await model.embed(sentences), exact)
        rows.append({"choice": name, "bits": round(model.bits, 2), **row})
        model.session.destroy()
        click.echo(line(rows[-1]))
    return rows


def line(row: dict[str, object]) -> str:
    return "| " + " | ".join(map(str, row.values())) + " |"


@click.command()
@click.option("--write", is_flag=True, help="Record the table in bench/results/quality.json.")
def main(write: bool) -> None:
    click.echo("| choice | bits a weight | mean cosine | least cosine | same neighbour of 64 |")
    click.echo("|---|---|---|---|---|")
    rows = asyncio.run(measure())
    if write:
        record = {"date": dt.datetime.now(dt.UTC).date().isoformat(), "rows": rows}
        text = json.dumps(record, indent=2, ensure_ascii=False)
        (HERE / "results" / "quality.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
