"""Resident memory of Ray workers and of all below them, watched from outside while ingest runs."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.ingest_processes import GONE, Tree, descendants, process_tree

MIB: Final = 1 << 20


@dataclass(slots=True)
class Watch:
    """What was seen so far. Peaks are the kernel's high-water marks, so that none falls between two looks."""

    times: list[float] = field(default_factory=list)
    """Instants of the looks, s since the epoch."""
    workers: list[int] = field(default_factory=list)
    """Resident bytes of all Ray workers that hold an actor, at each look."""
    children: list[int] = field(default_factory=list)
    """Resident bytes of all processes below them, at each look."""
    worker_peak: int = 0
    """Of one worker, bytes."""
    child_peak: int = 0
    """Of one process below a worker, bytes."""
    together_peak: int = 0
    """High-water marks of one worker and its largest child, added, bytes: an upper bound."""
    child_pids: set[int] = field(default_factory=set)

    def look(self) -> None:
        """Adds one sample of all that runs below this process now."""
        tree = process_tree()
        now = [self._look_at(worker, tree) for worker in descendants(os.getpid(), tree) if _is_worker(worker)]
        if now:
            self.times.append(time.time())
            self.workers.append(sum(worker for worker, _ in now))
            self.children.append(sum(children for _, children in now))

    def _look_at(self, worker: int, tree: Tree) -> tuple[int, int]:
        """Resident bytes of a worker, and of all below it."""
        own, own_peak = _resident(worker)
        children = [_resident(child) for child in descendants(worker, tree)]
        largest = max((peak for _, peak in children), default=0)
        self.child_pids.update(descendants(worker, tree))
        self.worker_peak = max(self.worker_peak, own_peak)
        self.child_peak = max(self.child_peak, largest)
        self.together_peak = max(self.together_peak, own_peak + largest)
        return own, sum(now for now, _ in children)


@contextmanager
def watching(every_s: float) -> Iterator[Watch]:
    """Looks at the processes below this one again and again while the block runs."""
    watch, ended = Watch(), threading.Event()

    def run() -> None:
        while not ended.wait(every_s):
            watch.look()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()


def _is_worker(pid: int) -> bool:
    """Ray gives a worker the name of its actor once it holds one."""
    with contextlib.suppress(*GONE):
        name = Path(f"/proc/{pid}/cmdline").read_bytes()
        return name.startswith(b"ray::") and not name.startswith(b"ray::IDLE")
    return False


def _resident(pid: int) -> tuple[int, int]:
    """Resident memory now and at its highest, bytes; (0, 0) for a process that has ended."""
    found = {"VmRSS": 0, "VmHWM": 0}
    with contextlib.suppress(*GONE):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] = int(value.split()[0]) * 1024
    return found["VmRSS"], found["VmHWM"]
