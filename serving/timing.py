"""The clock of one request: what each stage took, and what is left of the budget."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from features.errors import RecError


class OutOfTime(RecError):
    """The budget of a slate was spent before it was scored; a fallback may serve."""

    retryable = True


class Stopwatch:
    """Times the stages of one request; used by one thread at a time."""

    def __init__(self, budget_ms: float) -> None:
        self.budget_ms = budget_ms
        self.stages_ms: dict[str, float] = {}
        self._started = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times what stands under it, also when that fails; a stage entered twice adds up."""
        before = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - before) * 1e3
            self.stages_ms[name] = self.stages_ms.get(name, 0.0) + spent

    def elapsed_ms(self) -> float:
        """Since the request began, ms."""
        return (time.perf_counter() - self._started) * 1e3

    def check(self, before: str) -> None:
        """OutOfTime where the budget is spent, naming the stage that was not begun."""
        elapsed = self.elapsed_ms()
        if elapsed > self.budget_ms:
            raise OutOfTime(f"{elapsed:.1f} ms of {self.budget_ms:g} ms were spent before {before}")
