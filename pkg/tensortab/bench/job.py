"""What is to be measured: asked for outside, carried into the tab as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..errors import DeviceLostError

SECTIONS = ("floor", "kernels", "attention", "model")

# ("note", text) says what is under way; ("about", fields) and ("floor", fields) come once; ("row",
# fields) is a measurement; ("error", fields) is one that failed, and the rest goes on.
Tell = Callable[[str, Any], None]


def rounded(x: float) -> float:
    """Four digits: no measurement here is better."""
    return float(f"{x:.4g}")


@dataclass(frozen=True)
class Floor:
    """What the GPU did in this run when it did nothing else; 0 where that is not known."""

    copy_gb_s: float = 0.0
    read_gb_s: float = 0.0
    empty_us: float = 0.0
    float_tflop_s: float = 0.0
    matrix_tflop_s: float = 0.0

    def of_copy(self, nbytes: float, us: float) -> float:
        """The fraction of the copy bandwidth that bytes in a time are."""
        return rounded(nbytes / us / 1e3 / self.copy_gb_s) if self.copy_gb_s and us else 0.0

    def limit_us(self, nbytes: float) -> float:
        """Microseconds that a dispatch cannot do without: an empty one's, and its bytes'."""
        return self.empty_us + (nbytes / self.copy_gb_s / 1e3 if self.copy_gb_s else 0.0)


@dataclass(frozen=True)
class Job:
    """One section, and what it wants to know."""

    section: str
    floor: Floor = Floor()
    shape: str = "tiny"
    prompts: tuple[int, ...] = (128,)
    new: int = 64
    repeats: int = 5
    profile: bool = False

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> Job:
        fields = json.loads(data)
        fields |= {"floor": Floor(**fields["floor"]), "prompts": tuple(fields["prompts"])}
        return cls(**fields)

    def on(self, section: str, **changed: Any) -> Job:
        """The same of another section."""
        return replace(self, section=section, **changed)


@contextmanager
def attempted(tell: Tell, told: Mapping[str, Any]) -> Iterator[None]:
    """What fails inside is told as an error, with what it was, and takes nothing else along."""
    try:
        yield
    except DeviceLostError:  # nothing works after it
        raise
    except Exception as error:  # noqa: BLE001  # whatever it was
        text = str(error).strip().splitlines() or [type(error).__name__]
        tell("error", {**told, "error": text[0]})
