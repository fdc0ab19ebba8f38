"""The ladder: the best slate that can still be made, its name, and why nothing better was.

`full` uses everything. `popular` needs no history: Redis is gone, or the budget is spent. `static` is a list
frozen when the bundle was loaded, for when even that fails. A breaker keeps a dead Redis from costing each
request its timeout.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from features.errors import RecError, StoreUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Served(Generic[T]):
    """What a rung made, which rung, and why those above it did not."""

    value: T
    served_by: str
    reasons: tuple[str, ...]


def first_that_works(rungs: Sequence[tuple[str, Callable[[], T]]], request_id: str) -> Served[T]:
    """The first rung's result that is made without an error; the last rung's errors are the caller's."""
    reasons: list[str] = []
    for name, make in rungs[:-1]:
        try:
            return Served(make(), name, tuple(reasons))
        except RecError as error:
            reasons.append(str(error))
        except Exception as error:  # outer edge: a fault of ours costs quality, never the slate
            log.exception("rung failed rung=%s request_id=%s", name, request_id)
            reasons.append(f"{name} met a fault ({type(error).__name__})")
    name, make = rungs[-1]
    return Served(make(), name, tuple(reasons))


class Breaker:
    """Stops calling what just failed, for a while that doubles up to a bound, with jitter."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._pause_s, self._closed_at, self._why = 0.0, 0.0, ""

    def call(self, operation: Callable[[], T]) -> T:
        """The operation's result.

        Raises:
            StoreUnavailable: it failed now, or failed so recently that it was not tried.
        """
        with self._lock:
            waiting = self._closed_at > self._clock()
            why = self._why
        if waiting:
            raise StoreUnavailable(f"not tried, since a moment ago: {why}")
        try:
            result = operation()
        except StoreUnavailable as error:
            self._open(str(error))
            raise
        if self._pause_s:
            with self._lock:
                self._pause_s = 0.0
        return result

    @property
    def is_open(self) -> bool:
        """True while calls are refused."""
        return self._closed_at > self._clock()

    def _open(self, why: str) -> None:
        with self._lock:
            self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            self._closed_at = self._clock() + self._pause_s * random.uniform(0.5, 1.0)
            self._why = why
