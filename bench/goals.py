"""What is aimed at, and how each figure is found in the records: the one table of goals.

A goal's `find` gives the measured figure as text and whether it is met ("yes", "partly", "no"), or
None where no record has it. `key` names its paragraph in limits.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from records import Records

Found = tuple[str, str] | None


@dataclass(frozen=True)
class Goal:
    key: str
    what: str
    goal: str
    find: Callable[[Records], Found]


def _met(*tests: bool) -> str:
    return "yes" if all(tests) else "partly" if any(tests) else "no"


def _number(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def _gemv(records: Records, case: str) -> dict[str, Any] | None:
    return records.row("gemv", gpu=True, case=case, strategy="chosen")


def _bandwidth(case: str) -> Callable[[Records], Found]:
    def find(records: Records) -> Found:
        if not (row := _gemv(records, case)):
            return None
        share = row["of_copy"]
        return f"{share:.0%}: {_number(row['us'])} µs, {_number(row['gb_s'])} GB/s", _met(
            share >= 0.6
        )

    return find


def _latency(case: str) -> Callable[[Records], Found]:
    def find(records: Records) -> Found:
        if not (row := _gemv(records, case)):
            return None
        us, limit = row["us"], row["limit_us"]
        return f"{_number(us)} µs, that limit being {_number(limit)}", _met(us <= limit)

    return find


def _gemm(least: float, *strategies: str) -> Callable[[Records], Found]:
    """Of each case the fastest of the strategies counts."""

    def find(records: Records) -> Found:
        rates: dict[str, float] = {}
        for strategy in strategies:
            for row in records.rows("gemm", gpu=True, rows=512, strategy=strategy):
                rates[row["case"]] = max(rates.get(row["case"], 0.0), row["tflop_s"])
        if not rates:
            return None
        span = f"{_number(min(rates.values()))} to {_number(max(rates.values()))} TFLOP/s"
        return span, _met(*(rate >= least for rate in rates.values()))

    return find


def _decode(shape: str, wanted: dict[int, float]) -> Callable[[Records], Found]:
    def find(records: Records) -> Found:
        rows = [records.best(shape, prompt, "decode_tok_s", gpu=True) for prompt in wanted]
        if not all(rows):
            return None
        rates = [row["decode_tok_s"] for row in rows if row]
        tests = (rate >= goal for rate, goal in zip(rates, wanted.values(), strict=True))
        return f"{' / '.join(map(_number, rates))} tokens/s", _met(*tests)

    return find


def _prefill(records: Records) -> Found:
    wanted = {False: 20000, True: 80000}
    rows = {m: records.model("llama-3.2-1b", 2048, gpu=True, matrices=m) for m in wanted}
    rates = {m: row["prefill_tok_s"] for m, row in rows.items() if row}
    if not rates:
        return None
    text = " / ".join(_number(rates[m]) if m in rates else "?" for m in wanted)
    return f"{text} tokens/s", _met(*(rates.get(m, 0) >= goal for m, goal in wanted.items()))


def _dispatches(records: Records) -> Found:
    row = records.row("load", gpu=True, shape="llama-3.2-1b")
    if not row:
        return None
    each = row["dispatches_a_layer"]
    return f"{each} ({row['dispatches']} a step)", _met(each <= 7)


def _host(records: Records) -> Found:
    row = records.best("llama-3.2-1b", 128, "decode_tok_s", gpu=True)
    if not row or not row.get("decode_gpu_us"):
        return None
    share = row["host_us"] / row["decode_gpu_us"]
    return f"{share:.0%}: {_number(row['host_us'])} µs", _met(share <= 0.1)


def _peers(records: Records) -> Found:
    decode = records.against("llama-3.2-1b", 128, "decode_tok_s", gpu=True)
    prefill = records.against("llama-3.2-1b", 2048, "prefill_tok_s", gpu=True)
    if not decode or not prefill:
        return None
    parts = [
        f"{what} {ours / best:.1f} × {engine}'s {_number(best)}"
        for what, (ours, best, engine) in (("decode", decode), ("prefill", prefill))
    ]
    tests = decode[0] >= 5 * decode[1], prefill[0] >= 2 * prefill[1]
    return ", ".join(parts), _met(*tests)


def _software(records: Records) -> Found:
    found = records.against("tiny", None, "decode_tok_s", gpu=False, engine="onnxruntime")
    if not found:
        return None
    ours, best, engine = found
    return f"{ours / best:.1f} × {engine}'s {_number(best)} tokens/s", _met(ours >= 5 * best)


GOALS = (
    Goal(
        "gemv-large", "GEMV, 4096×14336", "≥ 60 % of the copy bandwidth", _bandwidth("4096×14336")
    ),
    Goal("gemv-large", "GEMV, 2048×128256", "the same", _bandwidth("2048×128256")),
    Goal(
        "gemv-small",
        "GEMV, 2048×2048",
        "≤ 1.5 × (an empty dispatch + bytes / copy bandwidth)",
        _latency("2048×2048"),
    ),
    Goal("gemv-small", "GEMV, 2048×8192", "the same", _latency("2048×8192")),
    Goal(
        "gemm",
        "prefill GEMM, M = 512, float32 activations, no optional features",
        "≥ 2 × ExecuTorch's 16–19: 38 TFLOP/s",
        _gemm(38, "gemm", "dots"),
    ),
    Goal(
        "gemm-matrix",
        "the same with subgroup matrices",
        "≥ 250 TFLOP/s",
        _gemm(250, "matrix"),
    ),
    Goal(
        "decode",
        "decode, Llama-3.2-1B's shape, context 128 / 2048 / 8192",
        "≥ 1500 / 1300 / 1000 tokens/s",
        _decode("llama-3.2-1b", {128: 1500, 2048: 1300, 8192: 1000}),
    ),
    Goal(
        "decode-8b",
        "decode, Llama-3.1-8B's shape, context 128",
        "≥ 350 tokens/s",
        _decode("llama-3.1-8b", {128: 350}),
    ),
    Goal(
        "prefill",
        "prefill, Llama-3.2-1B's shape, 2048 tokens, no optional features / with subgroup matrices",
        "≥ 20,000 / 80,000 tokens/s",
        _prefill,
    ),
    Goal("dispatches", "dispatches a decoder layer at decode", "≤ 7", _dispatches),
    Goal("host", "host time a token (wall − GPU)", "≤ 10 % of GPU time", _host),
    Goal(
        "peers",
        "against the best of onnxruntime-web, transformers.js and wllama in the same browser",
        "≥ 5 × in decode, ≥ 2 × in prefill",
        _peers,
    ),
    Goal(
        "software",
        "two-core software adapter: decode of the embedded model, against onnxruntime-web",
        "≥ 5 ×",
        _software,
    ),
)
