"""What a benchmark is: a function that measures one or more named figures."""

import hashlib
import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

REFERENCE_ROUNDS: Final = 20_000
"""Long enough (some 50 ms) that one preemption does not decide it."""


class Figure(NamedTuple):
    """One measured value. ``bound`` is what the project holds itself to; the unit says which way is better."""

    name: str
    value: float
    unit: str
    bound: float | None = None

    @property
    def rate(self) -> bool:
        """Whether more is better."""
        return self.unit.endswith("/s")

    @property
    def holds(self) -> bool:
        """Whether the value is within its bound."""
        if self.bound is None:
            return True
        return self.value >= self.bound if self.rate else self.value <= self.bound


Benchmark: TypeAlias = Callable[[], list[Figure]]

BENCHMARKS: Final[dict[str, Benchmark]] = {}


def measures(*names: str) -> Callable[[Benchmark], Benchmark]:
    """Register a benchmark under the names of the figures that it returns."""

    def register(benchmark: Benchmark) -> Benchmark:
        for name in names:
            BENCHMARKS[name] = benchmark
        return benchmark

    return register


def reference() -> float:
    """Microseconds for one turn of a loop that does what a request does: hash, look up, build. Best of three."""
    payload = b"x" * 600
    best = float("inf")
    for _ in range(3):
        seen: dict[bytes, int] = {}
        started = time.perf_counter()
        for turn in range(REFERENCE_ROUNDS):
            digest = hashlib.sha256(payload).digest()
            seen[digest] = seen.get(digest, 0) + turn
        best = min(best, time.perf_counter() - started)
    return best / REFERENCE_ROUNDS * 1e6
