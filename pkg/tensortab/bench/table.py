"""A record as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

# Heading and field of each section's columns.
_COLUMNS: Mapping[str, Sequence[tuple[str, str]]] = {
    "gemv": [
        ("4-bit linear, K×N", "case"), ("strategy", "strategy"), ("µs", "us"),
        ("limit µs", "limit_us"), ("GB/s", "gb_s"), ("of copy", "of_copy"),
    ],
    "gemm": [
        ("4-bit linear, K×N", "case"), ("rows", "rows"), ("strategy", "strategy"), ("µs", "us"),
        ("TFLOP/s", "tflop_s"), ("of peak", "of_peak"),
    ],
    "attention": [
        ("attention: rows", "rows"), ("context", "context"), ("head_dim", "head_dim"),
        ("strategy", "strategy"), ("µs", "us"), ("of copy", "of_copy"), ("TFLOP/s", "tflop_s"),
    ],
    "load": [
        ("model", "shape"), ("dispatches", "dispatches"), ("a layer", "dispatches_a_layer"),
        ("rows a run", "prompt_rows"), ("weights, B", "weight_bytes"), ("caches, B", "cache_bytes"),
        ("heap, MB", "heap_mb"),
    ],
    "model": [
        ("model", "shape"), ("prompt", "prompt"), ("prefill tokens/s", "prefill_tok_s"),
        ("decode tokens/s", "decode_tok_s"), ("sampled", "sampled_tok_s"),
        ("decode µs", "decode_us"), ("GPU µs", "decode_gpu_us"), ("host µs", "host_us"),
        ("of copy", "of_copy"),
    ],
    "cut": [
        ("model", "shape"), ("prompt", "prompt"), ("rows a run", "rows_a_run"),
        ("prefill tokens/s", "prefill_tok_s"), ("prefill µs", "prefill_us"),
        ("GPU µs", "prefill_gpu_us"),
    ],
}  # fmt: skip
_PROFILE = [
    ("op", "op"), ("kernel", "kernel"), ("dispatches", "dispatches"), ("µs", "us"),
    ("total µs", "total_us"), ("share", "share"), ("GB/s", "gb_s"), ("TFLOP/s", "tflop_s"),
]  # fmt: skip
_FRACTIONS = ("of_copy", "of_peak", "share")


def show(record: Mapping[str, Any]) -> None:
    """Print it."""
    console = Console()
    about, floor = record["about"], record["floor"]
    where = record["browser"] or "native"
    console.print(f"{about.get('device', 'no device')}, {where}, {record['date']}")
    if floor:
        console.print(
            f"copy {floor['copy_gb_s']:,} GB/s, read {floor['read_gb_s']:,} GB/s,"
            f" empty dispatch {floor['empty_us']} µs, float32 {floor['float_tflop_s']} TFLOP/s,"
            f" matrices {floor['matrix_tflop_s'] or '-'} TFLOP/s"
        )
    rows = record["rows"]
    for section, columns in _COLUMNS.items():
        if found := [row for row in rows if row["section"] == section]:
            console.print(_table("", columns, found))
    for row in rows:
        if row["section"] == "profile":
            title = f"{row['shape']}: {row['what']} of {row['rows']} rows, context {row['context']}"
            console.print(_table(title, _PROFILE, row["kernels"]))
    for error in record["errors"]:
        console.print(f"failed: {error}", style="red", markup=False, highlight=False)


def _table(
    title: str, columns: Sequence[tuple[str, str]], rows: Iterable[Mapping[str, Any]]
) -> Table:
    table = Table(title=title or None, title_justify="left")
    for heading, _ in columns:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(name, row.get(name)) for _, name in columns))
    return table


def _cell(name: str, value: Any) -> str:
    if name in _FRACTIONS and value is not None:
        return f"{value:.1%}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
