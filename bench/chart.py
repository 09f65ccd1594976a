"""docs/speed.svg: tokens a second of each engine, and of this one by context, as bars."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from records import Records

from tensortab.display.svg import PALETTE, QUIET, box, drawing, label, width_of, written

WIDTH, LEFT, BAR, GAP, HEAD = 720, 230, 18, 6, 30
OURS, THEIRS = PALETTE[0], PALETTE[7]
FLAGSHIP = "llama-3.2-1b"
NAMES = {"llama-3.2-1b": "Llama-3.2-1B", "llama-3.1-8b": "Llama-3.1-8B",
         "qwen3-0.6b": "Qwen3-0.6B", "tiny": "the embedded model"}  # fmt: skip

Bars = Sequence[tuple[str, float, str]]  # what, how much, colour


def chart(records: Records) -> str:
    """The picture's text; panels without a measurement are left out."""
    gpu = next(records.own(gpu=True), None) is not None
    shape, prompts = (FLAGSHIP, (128, 2048)) if gpu else ("tiny", (None, None))
    panels = [
        _engines(records, shape, prompts[0], "decode_tok_s", "Decode", gpu=gpu),
        _engines(records, shape, prompts[1], "prefill_tok_s", "Prefill", gpu=gpu),
        ("Decode by the prompt before it, tokens/s", _contexts(records, gpu=gpu)),
    ]
    y, parts = 0.0, []
    for title, bars in panels:
        if bars:
            parts += _panel(y, title, bars)
            y += HEAD + len(bars) * (BAR + GAP) + 2 * GAP
    if not parts:
        parts, y = [label(0, 20, "nothing is measured yet")], float(HEAD)
    about = "Tokens a second in a browser: " + "; ".join(t for t, bars in panels if bars)
    return written(drawing(WIDTH, y, about, *parts))


def _engines(
    records: Records, shape: str, prompt: int | None, field: str, what: str, *, gpu: bool
) -> tuple[str, Bars]:
    found = records.engines(shape, prompt, field, gpu=gpu)
    size = "" if prompt is None else f", a prompt of {prompt}"
    title = f"{what}, {NAMES.get(shape, shape)}{size}, tokens/s"
    return title, [(name, rate, OURS if name == "tensortab" else THEIRS)
                   for name, rate in found.items()]  # fmt: skip


def _contexts(records: Records, *, gpu: bool) -> Bars:
    rates: dict[tuple[str, int], float] = {}
    for record in records.own(gpu=gpu):
        for row in record.rows:
            if row["section"] == "model":
                rates.setdefault((row["shape"], row["prompt"]), row["decode_tok_s"])
    shapes = list(dict.fromkeys(shape for shape, _ in sorted(rates)))
    return [
        (f"{NAMES.get(shape, shape)}, {prompt}", rate, PALETTE[shapes.index(shape)])
        for (shape, prompt), rate in sorted(rates.items())
    ]


def _panel(top: float, title: str, bars: Bars) -> list[Element]:
    most = max(rate for _, rate, _ in bars) or 1.0
    parts = [label(0, top + 16, title, font_weight="bold")]
    room = WIDTH - LEFT - width_of(" 100,000")
    for i, (name, rate, colour) in enumerate(bars):
        y = top + HEAD + i * (BAR + GAP)
        width = max(rate / most * room, 1.0)
        parts += [
            label(LEFT - 8, y + 13, name, text_anchor="end"),
            box(LEFT, y, width, BAR, fill=colour, about=f"{name}: {rate:,.1f} tokens/s"),
            label(LEFT + width + 6, y + 13, f"{rate:,.4g}" if rate < 1000 else f"{rate:,.0f}",
                  opacity=QUIET),
        ]  # fmt: skip
    return parts
