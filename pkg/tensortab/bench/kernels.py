"""4-bit linears, group 32, float16 scales: of one row (GEMV) and of many (GEMM), by strategy.

Of one row each dispatch of a chain has a matrix of its own, so many that no cache holds them, and
`limit_us` is 1.5 times an empty dispatch and the bytes at the copy bandwidth. The choice of `lower`
comes first; then, for some sizes, every strategy there is, the portable ones among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..graph import Graph
from ..op import Spec
from ..ops import linear_q4gsw, linear_qgsw
from ..plan import Plan
from .clock import Clock
from .job import Floor, Tell, attempted, rounded
from .probes import ended

GROUP = 32
_BEYOND_CACHES = 128 << 20  # bytes of matrices
_MANY_ROWS = ("gemm", "dots", "matrix")  # strategies that one row is not meant for


@dataclass(frozen=True)
class Linear:
    """A product as a decoder asks for it."""

    k: int
    n: int
    rows: int = 1
    norm: bool = False
    act: str | None = None
    add: bool = False
    strategy: str | None = None

    @property
    def nbytes(self) -> int:
        """Of codes and scales."""
        return self.k * self.n // 2 + self.k // GROUP * self.n * 2

    @property
    def flops(self) -> int:
        return 2 * self.rows * self.k * self.n

    @property
    def name(self) -> str:
        also = [("norm", self.norm), (self.act, self.act), ("add", self.add)]
        return " + ".join([f"{self.k}×{self.n}", *(str(name) for name, has in also if has)])


VECTORS = [
    Linear(2048, 2048),
    Linear(2048, 8192),
    Linear(8192, 2048),
    Linear(2048, 2048, add=True),
    Linear(8192, 2048, add=True),
    Linear(2048, 3072, norm=True),
    Linear(2048, 16384, norm=True, act="silu"),
    Linear(4096, 14336),
    Linear(2048, 128256),
]
COMPARED = [Linear(2048, 2048), Linear(2048, 8192), Linear(4096, 14336)]
MATRICES = [
    Linear(2048, 2048, rows=512),
    Linear(2048, 8192, rows=512),
    Linear(8192, 2048, rows=512),
    Linear(4096, 14336, rows=512),
    Linear(2048, 8192, rows=2048),
    Linear(8192, 2048, rows=2048),
]
SMALL_VECTORS = [Linear(512, 512), Linear(512, 1024, norm=True, act="silu")]
SMALL_MATRICES = [Linear(256, 256, rows=32)]


async def measure(clock: Clock, floor: Floor, tell: Tell) -> None:
    """Every case is a row, or an error."""
    small = clock.device.info.software
    vectors = SMALL_VECTORS if small else VECTORS
    for case in [*vectors, *_compared(SMALL_VECTORS[:1] if small else COMPARED)]:
        await _case(clock, "gemv", case, tell, _vector_fields(floor))
    for case in _forced(SMALL_MATRICES if small else MATRICES, clock):
        await _case(clock, "gemm", case, tell, _matrix_fields(floor))


def _compared(cases: Sequence[Linear]) -> Iterator[Linear]:
    """Each by every strategy for one row."""
    for case in cases:
        for strategy in _strategies():
            if strategy not in _MANY_ROWS:
                yield replace(case, strategy=strategy)


def _forced(cases: Sequence[Linear], clock: Clock) -> Iterator[Linear]:
    """Each by the choice of `lower` and by the strategies for many rows; one by the plain tiles."""
    for case in cases:
        yield case
        for strategy in _strategies():
            if strategy == "matrix" and not clock.device.info.matrices:
                continue
            if strategy in _MANY_ROWS or (strategy == "tile" and case is cases[0]):
                yield replace(case, strategy=strategy)


def _strategies() -> Sequence[str]:
    return getattr(linear_qgsw, "_STRATEGIES", ())


Fields = Callable[[Linear, float, Plan], dict[str, object]]


async def _case(clock: Clock, section: str, case: Linear, tell: Tell, fields: Fields) -> None:
    told: dict[str, object] = {"section": section, "case": case.name, "rows": case.rows}
    told["strategy"] = case.strategy or "chosen"
    tell("note", f"{section}: {case.name}, {case.rows} rows, {told['strategy']}")
    with attempted(tell, told):
        time, plan = await clock.chain(chain(case, small=clock.device.info.software))
        tell("row", told | time.fields() | fields(case, time.us, plan))


def _vector_fields(floor: Floor) -> Fields:
    def fields(case: Linear, us: float, plan: Plan) -> dict[str, object]:
        return {
            "kernels": kernels_of(plan),
            "bytes": case.nbytes,
            "gb_s": rounded(case.nbytes / us / 1e3),
            "of_copy": floor.of_copy(case.nbytes, us),
            "limit_us": rounded(1.5 * floor.limit_us(case.nbytes)),
        }

    return fields


def _matrix_fields(floor: Floor) -> Fields:
    def fields(case: Linear, us: float, plan: Plan) -> dict[str, object]:
        kernels = kernels_of(plan)
        units = any("matrix" in name for name in kernels)
        peak = floor.matrix_tflop_s if units else floor.float_tflop_s
        rate = case.flops / us / 1e6
        return {
            "kernels": kernels,
            "flops": case.flops,
            "tflop_s": rounded(rate),
            "of_peak": rounded(rate / peak) if peak else 0.0,
            "matrix_units": units,
        }

    return fields


def kernels_of(plan: Plan) -> list[str]:
    """The names of a plan's kernels for linears, once each."""
    return list(dict.fromkeys(s.kernel.name for s in plan.steps if s.op.startswith("linear")))


def _count(case: Linear, *, small: bool) -> int:
    """Products in a chain: with one row so many that no cache holds their matrices."""
    if small:
        return 4 if case.rows == 1 else 2
    return max(4, min(64, _BEYOND_CACHES // case.nbytes)) if case.rows == 1 else 8


def chain(case: Linear, *, small: bool) -> Callable[[Graph], int]:
    """Products of one x with matrices of their own."""

    def build(g: Graph) -> int:
        x = g.constant("x", Spec((case.rows, case.k)))
        norm = g.constant("norm", Spec((case.k,))) if case.norm else None
        wide = case.n // 2 if case.act else case.n
        plus = g.constant("add", Spec((case.rows, wide))) if case.add else None
        count = _count(case, small=small)
        for i in range(count):
            packed = g.constant(f"packed {i}", Spec((case.n, case.k // 2), "uint8"))
            scales = g.constant(f"scales {i}", Spec((case.k // GROUP, case.n), "float16"))
            y = linear_q4gsw(
                x, packed, scales, group=GROUP, norm=norm, act=case.act, add=plus,
                strategy=case.strategy,
            )  # fmt: skip
            g.effect(y)
        return ended(g, count)

    return build
