"""The tree of processes below this one, by the kernel's own account."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TICK_S: Final = 1.0 / os.sysconf("SC_CLK_TCK")
GONE: Final = (FileNotFoundError, ProcessLookupError)

Tree = dict[int, list[int]]
"""Process ids below each process."""


def process_tree() -> Tree:
    """All processes of this machine, by their parent."""
    below: Tree = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            below.setdefault(int(fields[1]), []).append(int(entry.name))
    return below


def descendants(pid: int, tree: Tree) -> Iterator[int]:
    """Every process below one."""
    for child in tree.get(pid, []):
        yield child
        yield from descendants(child, tree)


def processor_s(pid: int) -> tuple[tuple[int, int], float]:
    """Which process a pid is (it may be given again), and its user and system time so far, s."""
    fields = _stat(pid)
    if not fields:
        return (pid, -1), 0.0
    return (pid, int(fields[19])), (int(fields[11]) + int(fields[12])) * TICK_S


def _stat(pid: int) -> list[str]:
    """Fields of `/proc/PID/stat` from the state on; none for a process that has ended."""
    with contextlib.suppress(*GONE):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []
