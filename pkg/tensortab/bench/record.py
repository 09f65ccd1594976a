"""A benchmark's record: what was measured, of what, where and when; written anew with every row.

    {"command": …, "date": "2026-11-28T12:00:00Z", "browser": "Chromium 156.0…" | null,
     "machine": "NVIDIA H200" | "2 cores", "versions": {…},
     "about": {device, software, …}, "floor": {copy_gb_s, …},
     "rows": [{"section": …, …}, …], "errors": [{"section": …, "error": …}, …], "seconds": …}

A run that ends early leaves what it had. Rows of whole models have the fields engine, setting,
shape, prompt, prefill_tok_s and decode_tok_s, as the records of other engines have.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import re
from dataclasses import fields
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.markup import escape

from tensortab import __version__, system
from tensortab.words import count

from .job import Floor


class Record:
    """Takes what is told (job.Tell)."""

    def __init__(self, command: str, out: Path | None) -> None:
        self._out = out
        self._start = perf_counter()
        now = dt.datetime.now(tz=dt.UTC).replace(microsecond=0, tzinfo=None)
        self.found: dict[str, Any] = {
            "command": command,
            "date": f"{now.isoformat()}Z",
            "browser": None,
            "machine": machine(),
            "versions": {"tensortab": __version__, "python": platform.python_version()},
            "about": {},
            "floor": {},
            "rows": [],
            "errors": [],
        }

    @property
    def floor(self) -> Floor:
        known = {field.name for field in fields(Floor)}
        return Floor(**{k: v for k, v in self.found["floor"].items() if k in known})

    def tell(self, kind: str, value: Any) -> None:
        if kind == "note":
            system.say(escape(value))
            return
        if kind in ("about", "floor"):
            self.found[kind] = value
        elif kind == "row":
            self.found["rows"].append(value)
        else:
            self.found["errors"].append(value)
            system.say(escape(f"failed: {value}"))
        self.write()

    def write(self) -> None:
        """Leave it where it is wanted."""
        self.found["seconds"] = round(perf_counter() - self._start, 1)
        if self._out:
            write_whole(self._out, self.found)


def write_whole(out: Path, found: dict[str, Any]) -> None:
    """JSON that is whole, whenever it is read."""
    part = out.with_name(f"{out.name}.part")
    part.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    part.replace(out)


def machine() -> str:
    """The NVIDIA GPU, whose name browsers keep to themselves; where there is none, the cores."""
    for file in Path("/proc/driver/nvidia/gpus").glob("*/information"):
        if found := re.search(r"^Model:\s*(.+)$", file.read_text("utf-8"), re.MULTILINE):
            return found[1].strip()
    return count(os.cpu_count() or 1, "core")
