"""What was being read when a run ended: a file that takes the whole machine with it is found out.

A content is written down, and synced, before a worker is given it, and struck out when its outcome is known.
What a run leaves standing is read by the next one last, and alone; a content that stood alone at the end of
`MAX_ALONE` runs is not tried again. One shared end means little: a run may be killed for reasons of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from features.errors import BadInput
from features.tables import storing

MAX_ALONE: Final = 2
"""Runs that may end while they read one content and nothing else."""


class Journal:
    """Lines of `+` begun, `!` begun alone, `-` ended, each with a content's hash; see `open_journal`."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path, self._handle = path, handle
        self._alone: set[str] = set()  # a run counts once, however many workers it gave the content
        self.suspects: Counter[str] = Counter()
        """Contents that earlier runs left standing, with how often they stood alone."""
        written = path.read_text()
        if written and not written.endswith("\n"):
            self._write("\n")  # the last run ended within a line
        for line in written.splitlines():
            self._replay(line)

    @property
    def lethal(self) -> frozenset[str]:
        """Suspects that are not tried again."""
        return frozenset(content for content, alone in self.suspects.items() if alone >= MAX_ALONE)

    def begin(self, content_hash: str, *, alone: bool) -> None:
        """Writes down what a worker is about to be given."""
        first = alone and content_hash not in self._alone
        if first:
            self._alone.add(content_hash)
        self._write(f"{'!' if first else '+'}{content_hash}\n")
        os.fdatasync(self._handle)

    def end(self, content_hash: str) -> None:
        """Strikes out what has an outcome."""
        self._write(f"-{content_hash}\n")

    def forget(self) -> None:
        """Starts afresh: everything that was begun has ended."""
        os.ftruncate(self._handle, 0)

    def _write(self, line: str) -> None:
        with storing(self._path):
            os.write(self._handle, line.encode())

    def _replay(self, line: str) -> None:
        content = line[1:]
        if line.startswith("-"):
            self.suspects.pop(content, None)
        elif content:
            self.suspects[content] += line.startswith("!")


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """The journal at a path, made where it is missing, held by this process alone.

    Raises:
        BadInput: another run holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(
                f"another ingest is writing to {path.parent.parent}; wait for its end or stop it"
            ) from None
        try:
            yield Journal(path, handle)
        except BadInput:
            if not os.fstat(handle).st_size:  # refused before anything began: nothing is left of it
                path.unlink()
                with contextlib.suppress(OSError):
                    path.parent.rmdir()
            raise
    finally:
        os.close(handle)
