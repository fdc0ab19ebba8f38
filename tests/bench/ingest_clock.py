"""A command run to its end: its wall time, and the processor time of all processes that it started."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.bench.ingest_processes import descendants, process_tree, processor_s
from tests.bench.record import ROOT

PR_SET_CHILD_SUBREAPER: Final = 36
LOOK_S: Final = 0.25
"""Between two looks at the processes: so much of each one's time may be missed at its end."""


@dataclass(frozen=True, slots=True)
class Timed:
    """What a command took."""

    started: float
    """Instant at which it was started, s since the epoch."""
    wall_s: float
    cpu_s: float
    """User and system time of the command and all its descendants, s."""
    said: Any
    """The last line of its standard output, parsed."""


def run_timed(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Timed:
    """Runs a command whose last line is JSON, in the checkout; RuntimeError where it fails."""
    adopt_orphans()
    with _adding_processor_time() as spent:
        started = time.time()
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, env=_environment(environment or {})
        )
        wall_s = time.time() - started
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
        _await_orphans()
    return Timed(started, wall_s, sum(spent.values()), json.loads(done.stdout.splitlines()[-1]))


def run_module(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Timed:
    """Runs a module of this checkout with this interpreter."""
    return run_timed([sys.executable, "-m", module, *arguments], environment)


def adopt_orphans() -> None:
    """Processes that outlive their parent become ours: only so do we see them to their end."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this kernel does not let us adopt orphans")


@contextmanager
def _adding_processor_time() -> Iterator[dict[tuple[int, int], float]]:
    """Processor time of each process below us, s, as last seen. Ray does not hand on its workers' times."""
    spent: dict[tuple[int, int], float] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK_S):
            for pid in descendants(os.getpid(), process_tree()):
                process, seconds = processor_s(pid)
                spent[process] = max(seconds, spent.get(process, 0.0))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield spent
    finally:
        ended.set()
        thread.join()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, with this checkout before any installed one, also for processes that are started by others."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def _await_orphans(allowed_s: float = 30.0) -> None:
    deadline = time.monotonic() + allowed_s
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.05)
        except ChildProcessError:
            return
    raise RuntimeError(f"processes of the command were still running {allowed_s:.0f} s after its end")
