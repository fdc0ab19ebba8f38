"""Rows of a user in the tables of a workspace: counted, dropped, and their files taken off the disk.

A dropped row lies on in files that older commits list, and in files that a writer made and never committed:
those that hold a row of the user go at once. Who reads an older commit in that moment keeps a file that is
open already; on one that is not, the read fails, and begins anew with the newest commit. A writer that has a
file ready and not committed is no loss either: the commit made here comes after its snapshot, it conflicts,
and the tombstone keeps the user out of the next attempt.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from features.commits import commit_again
from features.erasure.named_in import marks_of, named_in
from features.intake.appending import refused_events
from features.intake.laid_aside import left_behind
from features.merges import merges_table
from features.outbox import exposures
from features.table_sweep import discard, superseded
from features.tables import Snapshot, Table, storing, write_durably
from features.workspace import Workspace

ABANDONED_S: Final = 3600
"""A file under a temporary name that is older than this belongs to no writer any more."""

Match = Callable[[pl.LazyFrame], pl.Expr]
"""From rows of a table to what is true for those of the user, never null."""


@dataclass(frozen=True, slots=True)
class UserTable:
    """A table that may hold rows of the user."""

    name: str
    table: Table
    match: Match

    def rows(self, at: Snapshot | None = None) -> int:
        """How many rows a commit has of the user, by default the newest."""
        scan = self.table.scan(at=at)
        return int(scan.filter(self.match(scan)).select(pl.len()).collect(engine="streaming").item())


def user_tables(workspace: Workspace, ids: Sequence[str]) -> list[UserTable]:
    """The tables that hold ids of users, but the merges.

    Args:
        workspace: whose.
        ids: all that the user is called.
    """
    mine = pl.col("user_id").is_in(list(ids)).fill_null(False)
    return [
        UserTable("interactions", workspace.interactions, lambda rows: mine),
        UserTable("exposures", exposures(workspace), lambda rows: mine),
        UserTable("quarantine", refused_events(workspace), lambda rows: _contents_naming(rows, ids)),
    ]


def merge_rows(workspace: Workspace, ids: Sequence[str]) -> UserTable:
    """The table of merges: it goes last, because it says what else the user is called."""
    ours = pl.col("source").is_in(list(ids)) | pl.col("into").is_in(list(ids))
    return UserTable("merges", merges_table(workspace), lambda rows: ours.fill_null(False))


def drop_rows(place: UserTable) -> tuple[int, int, int]:
    """Drops the user's rows in one commit: its number (0 without a table), how many rows and files went.

    The commit is made where no row goes, too: whoever began to write before it begins again.
    """

    def commit(before: Snapshot) -> tuple[Snapshot, Snapshot, int]:
        scan = place.table.scan(at=before)
        gone = place.match(scan)
        after, removed = place.table.rewrite(~gone, meta={"erased_at": time.time()}, onto=before)
        return before, after, removed

    before, after, removed = commit_again(place.table, commit)
    return after.sequence, removed, discard(place.table, superseded(before, after))


def old_files(place: UserTable) -> list[str]:
    """Files of the table that its newest commit does not list and that hold rows of the user."""
    listed = set(place.table.snapshot().files)
    found = (path.relative_to(place.table.path).as_posix() for path in place.table.path.rglob("*.parquet"))
    return sorted(n for n in found if n not in listed and place.rows(Snapshot(0, (n,))))


def drop_old_files(place: UserTable) -> int:
    """Deletes `old_files`; how many."""
    return discard(place.table, old_files(place))


def abandoned(places: Sequence[UserTable]) -> list[Path]:
    """What writers that died left half-written below the tables."""
    since = time.time() - ABANDONED_S
    found = (path for place in places for path in place.table.path.rglob(".*.tmp"))
    return sorted(path for path in found if path.is_file() and path.stat().st_mtime < since)


def other_files(workspace: Workspace, places: Sequence[UserTable], ids: Sequence[str]) -> dict[Path, int]:
    """Parquet files with a column `user_id` that belong to no table, and their rows of the user."""
    counts = {
        path: _scan(path).filter(_is_user(ids)).select(pl.len()) for path in _outside(workspace, places)
    }
    rows = {path: int(count.collect(engine="streaming").item()) for path, count in counts.items()}
    return {path: count for path, count in rows.items() if count}


def drop_from_file(path: Path, ids: Sequence[str]) -> None:
    """Writes a file anew without the rows of the user."""
    buffer = io.BytesIO()
    _scan(path).filter(~_is_user(ids)).collect().write_parquet(buffer)
    write_durably(path, buffer.getvalue())


def abandoned_imports(workspace: Workspace) -> list[Path]:
    """Folders with the rows of imports that were killed; nobody works on them."""
    with storing(workspace.root):
        return left_behind(workspace.root)


def remove_folder(path: Path) -> None:
    """Deletes a folder that may be gone already."""
    with storing(path), contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def remove(path: Path) -> None:
    """Deletes a file that may be gone already."""
    with storing(path):
        path.unlink(missing_ok=True)


def _contents_naming(rows: pl.LazyFrame, ids: Sequence[str]) -> pl.Expr:
    maybe = pl.any_horizontal(pl.col("content").str.contains(mark, literal=True) for mark in marks_of(ids))
    contents = rows.filter(maybe).select(pl.col("content").unique()).collect(engine="streaming").to_series()
    return pl.col("content").is_in([text for text in contents if named_in(text, ids)])


def _outside(workspace: Workspace, places: Sequence[UserTable]) -> Iterator[Path]:
    """Readable Parquet files with a column `user_id` outside the tables."""
    for path in sorted(workspace.root.rglob("*.parquet")):
        if any(path.is_relative_to(place.table.path) for place in places):
            continue
        if any(part.startswith(".") for part in path.relative_to(workspace.root).parts):
            continue  # laid aside by a writer at work, who asks for tombstones before it commits
        try:
            columns = pl.read_parquet_schema(path)
        except (pl.exceptions.ComputeError, FileNotFoundError):
            continue  # still being written, or gone: it is no Parquet file
        if "user_id" in columns:
            yield path


def _scan(path: Path) -> pl.LazyFrame:
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def _is_user(ids: Sequence[str]) -> pl.Expr:
    return pl.col("user_id").cast(pl.String).is_in(list(ids)).fill_null(False)
