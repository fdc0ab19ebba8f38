"""Threads for blocking work, and a bound on how many requests may wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from serving.problems import Overloaded

P = ParamSpec("P")
R = TypeVar("R")


class BoundedExecutor:
    """A thread pool behind a bounded queue; entered from one event loop only, so its count needs no lock."""

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._most = threads + waiting
        self._inside = 0

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What the function returns, computed in a thread.

        Raises:
            Overloaded: all threads are busy and the queue is full.
        """
        if self._inside >= self._most:
            raise Overloaded(f"{self._inside} requests are being served or wait; repeat after a second")
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: function(*args, **kwargs)
            )
        finally:
            self._inside -= 1

    def close(self) -> None:
        """Waits for work in progress and ends the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
