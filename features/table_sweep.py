"""What a table no longer needs, taken off the disk: files that no commit of late lists, and old records.

A reader that began on a commit keeps its files for as long as that commit was the newest within the bound; a
file that a writer has just made, and not committed yet, is younger than the bound and stays too.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.tables import COMMITS, Snapshot, Table, storing

INDEX: Final = "_keys"
"""Directory of a table that caches what its files hold; see `event_index`."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep took away."""

    files: int
    """Parquet files."""
    size_bytes: int
    """Of those files."""
    records: int
    """Commit records."""


def vacuum(table: Table, *, older_than_s: float, now_s: float | None = None) -> Swept:
    """Deletes files that no commit of the last `older_than_s` lists, and the records of older commits.

    Args:
        table: whose files.
        older_than_s: how long readers of an older commit, and writers without one yet, are waited for, s.
        now_s: seconds since the epoch; the clock's by default.
    """
    since = (time.time() if now_s is None else now_s) - older_than_s
    old, listed = _records_before(table, since)
    gone = [path for path in _parquets(table) if _name(table, path) not in listed and _is_older(path, since)]
    swept = Swept(len(gone), sum(path.stat().st_size for path in gone), len(old))
    discard(table, [_name(table, path) for path in gone])
    for record in old:
        with storing(record), contextlib.suppress(FileNotFoundError):
            record.unlink()
    return swept


def discard(table: Table, names: Iterable[str]) -> int:
    """Deletes these files and what is cached of them, but none that the newest commit lists; how many.

    A reader that is in the midst of an older commit and comes to such a file fails, and has to begin anew.
    """
    listed = set(table.snapshot().files)
    gone = [name for name in names if name not in listed]
    for name in gone:
        for path in (table.path / name, cached(table, name)):
            with storing(path), contextlib.suppress(FileNotFoundError):
                path.unlink()
    return len(gone)


def superseded(before: Snapshot, after: Snapshot) -> list[str]:
    """Files of one commit that a later one no longer lists."""
    return sorted(set(before.files) - set(after.files))


def cached(table: Table, name: str) -> Path:
    """Where the cache of a file of the table lies, whether or not it is there."""
    return table.path / INDEX / f"{name}.keys"


def _records_before(table: Table, since: float) -> tuple[list[Path], set[str]]:
    """Records of commits that were no longer the newest at that time, and the files that the others list."""
    records = sorted((table.path / COMMITS).glob("*.json"), reverse=True)
    listed: set[str] = set()
    for place, path in enumerate(records):
        said = json.loads(path.read_text())
        listed.update(said["files"])
        if said["committed_at"] <= since:  # it was the newest then; all before it had been followed
            return records[place + 1 :], listed
    return [], listed


def _parquets(table: Table) -> Iterator[Path]:
    return table.path.rglob("*.parquet")


def _name(table: Table, path: Path) -> str:
    return path.relative_to(table.path).as_posix()


def _is_older(path: Path, since: float) -> bool:
    return path.stat().st_mtime <= since
