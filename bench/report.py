"""The tables in README.md and bench/README.md, and docs/speed.svg, from bench/results/.

    python bench/report.py [--check]

What stands between `<!-- bench: NAME -->` and `<!-- bench: end -->` is written anew. `--check`
changes nothing and exits with 1 where something would change.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chart import chart
from goals import GOALS
from records import Record, Records

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BLOCK = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- bench: end -->)", re.DOTALL)
UNKNOWN = "not measured yet"
KERNELS = 8  # of a profile


def goals(records: Records) -> str:
    rows = []
    for goal in GOALS:
        measured, met = goal.find(records) or (UNKNOWN, "")
        rows.append((goal.what, goal.goal, measured, met))
    places = [next(records.own(gpu=gpu), None) for gpu in (True, False)]
    where = "; ".join(record.place for record in places if record) or UNKNOWN
    table = _table(("what", "goal", "measured", "met"), rows)
    return f"{table}\n\nMeasured in a browser, the latest of each: {where}.\n"


def limits(records: Records) -> str:
    """What limits.md says of each goal that is missed."""
    said = paragraphs((HERE / "limits.md").read_text("utf-8"))
    missed: dict[str, list[str]] = {}
    for goal in GOALS:
        found = goal.find(records)
        if found and found[1] != "yes":
            missed.setdefault(goal.key, []).append(goal.what)
    if not any(goal.find(records) for goal in GOALS):
        return f"{UNKNOWN}\n"
    if not missed:
        return "Every goal measured so far is met.\n"
    lines = (f"- **{'; '.join(goals)}**: {said.get(key, '?')}" for key, goals in missed.items())
    return "\n".join(lines) + "\n"


def paragraphs(text: str) -> dict[str, str]:
    """Each `## key` and the text under it, on one line."""
    _, *parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {key.strip(): " ".join(body.split()) for key, body in pairs if body.strip()}


def models(records: Records) -> str:
    """Every shape and prompt, of GPUs first; of the latest record that has it."""
    rows, seen = [], set()
    for record, row in _model_rows(records):
        key = (record.gpu, record.matrices, row["shape"], row["prompt"])
        if key not in seen:
            seen.add(key)
            rows.append((key, (record, row)))
    rows.sort(key=lambda pair: (not pair[0][0], pair[0][2:], pair[0][1]))
    heads = ("shape", "prompt", "prefill tokens/s", "decode tokens/s", "decode: wall µs", "GPU µs",
             "host µs", "of copy", "where")  # fmt: skip
    return _table(heads, [_model(*pair) for _, pair in rows]) + "\n" if rows else f"{UNKNOWN}\n"


def _model_rows(records: Records) -> Iterator[tuple[Record, dict[str, Any]]]:
    for record in records.all:
        if not record.peers:
            yield from ((record, row) for row in record.rows if row["section"] == "model")


def _model(record: Record, row: dict[str, Any]) -> Sequence[str]:
    features = " with subgroup matrices" if record.matrices else ""
    numbers = (row.get(k) for k in ("prefill_tok_s", "decode_tok_s", "decode_us", "decode_gpu_us",
                                    "host_us"))  # fmt: skip
    share = row.get("of_copy")
    return (
        row["shape"],
        str(row["prompt"]),
        *("-" if n is None else f"{n:,.0f}" for n in numbers),
        "-" if share is None else f"{share:.0%}",
        record.place + features,
    )


def profiles(records: Records) -> str:
    """The kernels of a decode step and of a prompt's run, on a GPU."""
    parts = []
    for what in ("step", "prompt"):
        for row in records.rows("profile", gpu=True, shape="llama-3.2-1b", what=what):
            title = f"{row['shape']}, a {what} of {row['rows']} rows, context {row['context']}:"
            heads = ("op", "kernel", "dispatches", "µs", "share", "GB/s", "TFLOP/s")
            fields = ("op", "kernel", "dispatches", "us", "share", "gb_s", "tflop_s")
            kernels = row["kernels"][:KERNELS]
            table = _table(heads, [[_cell(f, k[f]) for f in fields] for k in kernels])
            parts.append(f"{title}\n\n{table}\n")
    return "\n".join(parts) or f"{UNKNOWN}\n"


def _cell(field: str, value: Any) -> str:
    if field == "share":
        return f"{value:.1%}"
    return value if isinstance(value, str) else f"{value:.4g}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written(records: Records) -> dict[Path, str]:
    """Every file that this makes or changes, and its text."""
    blocks = {
        "goals": goals(records),
        "limits": limits(records),
        "models": models(records),
        "profiles": profiles(records),
    }

    def block(found: re.Match[str]) -> str:
        return found[1] + blocks[found[2]] + found[3]

    files = (ROOT / "README.md", HERE / "README.md")
    texts = {file: BLOCK.sub(block, file.read_text("utf-8")) for file in files}
    return texts | {ROOT / "docs" / "speed.svg": chart(records) + "\n"}


def main() -> None:
    stale = [
        (file, text)
        for file, text in written(Records(HERE / "results")).items()
        if not file.exists() or file.read_text("utf-8") != text
    ]
    for file, text in stale:
        print(file.relative_to(ROOT))
        if "--check" not in sys.argv[1:]:
            file.write_text(text, "utf-8")
    sys.exit(1 if stale and "--check" in sys.argv[1:] else 0)


if __name__ == "__main__":
    main()
