"""What bench/results/ holds of `tensortab bench` and of other engines (peers-….json), to ask of.

Of several measurements the latest counts.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ALIASES = {"python-16m": "tiny", "llama1b": "llama-3.2-1b"}  # shapes' names elsewhere


@dataclass(frozen=True)
class Record:
    """A file: who measured where, and the rows."""

    file: str
    head: dict[str, Any]
    rows: list[dict[str, Any]]

    @property
    def about(self) -> dict[str, Any]:
        found = self.head.get("about")
        return found if isinstance(found, dict) else {}

    @property
    def peers(self) -> bool:
        return self.file.startswith("peers-")

    @property
    def date(self) -> str:
        return str(self.head.get("date", ""))

    @property
    def gpu(self) -> bool:
        told = f"{self.file} {json.dumps(self.head)}".lower()
        return not self.about.get("software", "swiftshader" in told)

    @property
    def browser(self) -> bool:
        return self.peers or bool(self.head.get("browser"))

    @property
    def matrices(self) -> bool:
        return bool(self.about.get("matrices"))

    @property
    def place(self) -> str:
        """Machine, browser and day, as a sentence may have them."""
        machine = self.head.get("machine") or self.about.get("device", "?")
        parts = [machine, self.head.get("browser") or "native", self.date[:10]]
        return ", ".join(map(str, parts))


class Records:
    """Every record of a browser, the latest first."""

    def __init__(self, folder: Path) -> None:
        found = filter(None, map(_read, sorted(folder.glob("*.json"))))
        self.all = sorted((r for r in found if r.browser), key=lambda r: r.date, reverse=True)

    def own(self, *, gpu: bool) -> Iterator[Record]:
        return (r for r in self.all if not r.peers and r.gpu == gpu)

    def rows(self, section: str, *, gpu: bool, **fields: Any) -> list[dict[str, Any]]:
        """Those of the latest record that has any."""
        wanted = {"section": section, **fields}
        for record in self.own(gpu=gpu):
            if found := [row for row in record.rows if _fits(row, wanted)]:
                return found
        return []

    def row(self, section: str, *, gpu: bool, **fields: Any) -> dict[str, Any] | None:
        return next(iter(self.rows(section, gpu=gpu, **fields)), None)

    def model(
        self, shape: str, prompt: int | None, *, gpu: bool, matrices: bool
    ) -> dict[str, Any] | None:
        """A whole model's row, of a browser with or without subgroup matrices."""
        for record in self.own(gpu=gpu):
            if record.matrices != matrices:
                continue
            for row in record.rows:
                fits = row.get("section") == "model" and row["shape"] == shape
                if fits and prompt in (None, row["prompt"]):
                    return row
        return None

    def best(
        self, shape: str, prompt: int | None, field: str, *, gpu: bool
    ) -> dict[str, Any] | None:
        """The better of a browser with subgroup matrices and one without."""
        both = (self.model(shape, prompt, gpu=gpu, matrices=m) for m in (False, True))
        return max(filter(None, both), key=lambda row: float(row[field]), default=None)

    def engines(self, shape: str, prompt: int | None, field: str, *, gpu: bool) -> dict[str, float]:
        """Each engine's best setting, this package first; its own rows beside them go before."""
        best: dict[str, float] = {}
        for record in (r for r in self.all if r.peers and r.gpu == gpu):
            for row in record.rows:
                if ALIASES.get(row.get("shape", ""), row.get("shape")) != shape:
                    continue
                if prompt in (None, row.get("prompt")) and row.get(field):
                    name = row["engine"] + (" (CPU)" if row.get("setting") == "CPU" else "")
                    best[name] = max(best.get(name, 0.0), row[field])
            if best:
                break
        if "tensortab" not in best and (own := self.best(shape, prompt, field, gpu=gpu)):
            best["tensortab"] = own[field]
        return dict(sorted(best.items(), key=lambda kv: (kv[0] != "tensortab", -kv[1])))

    def against(
        self, shape: str, prompt: int | None, field: str, *, gpu: bool, engine: str = ""
    ) -> tuple[float, float, str] | None:
        """Our figure, the best of the others', whose it is."""
        found = self.engines(shape, prompt, field, gpu=gpu)
        ours = found.pop("tensortab", None)
        others = {name: rate for name, rate in found.items() if name.startswith(engine)}
        if ours is None or not others:
            return None
        name = max(others, key=others.__getitem__)
        return ours, others[name], name


def _read(file: Path) -> Record | None:
    found = json.loads(file.read_text("utf-8"))
    rows = found.get("rows") if isinstance(found, dict) else None
    if not isinstance(rows, list) or not (file.name.startswith("peers-") or "about" in found):
        return None  # another script's
    head = {k: v for k, v in found.items() if k not in ("rows", "errors")}
    return Record(file.name, head, [row for row in rows if isinstance(row, dict)])


def _fits(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(row.get(name) == value for name, value in wanted.items())
