"""Append-only Parquet tables: immutable files under names that say what they hold, and a log of commits.

A commit record lists every file of the table at that moment, so a reader needs the newest record only, and
sees either all of a write or nothing of it. Files are written under a temporary name, synced and renamed;
records are linked into place and never replaced, so of two writers of one commit exactly one wins.
Source: the commit protocol of Delta Lake (Armbrust et al., VLDB 2020, section 3), with whole snapshots as
records.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, islice, takewhile
from pathlib import Path
from typing import Any

import polars as pl

from features.contracts import Column, conform, schema
from features.errors import CommitConflict, NotFound, StorageFailed

COMMITS = "_commits"
WRITERS = 8
"""Files that are written at a time."""
SMALL_BYTES = 8 << 20
MOST_SMALL = 16
"""A directory of a table that ends in more files under SMALL_BYTES than this has them merged, where asked."""
MERGED_BYTES = 4 * SMALL_BYTES
"""Most that is merged at a time: some million rows."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One commit of a table: what a reader sees."""

    sequence: int
    """Number of the commit, from 1; 0 for a table that does not exist yet."""
    files: tuple[str, ...] = ()
    """Names below the table's directory, oldest first."""
    rows: int = 0
    """Rows in all files."""
    committed_at: float = 0.0
    """Seconds since the epoch."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What the writer said of it."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table below one directory; holds no state, so any number of readers may share it."""

    path: Path
    columns: tuple[Column, ...]

    @property
    def name(self) -> str:
        return self.path.name

    def snapshot(self) -> Snapshot:
        """The newest commit; sequence 0 where there is none."""
        newest = max(self._records(), default=None)
        if newest is None:
            return Snapshot(0)
        said = json.loads((self.path / COMMITS / f"{newest:08d}.json").read_text())
        return Snapshot(newest, tuple(said["files"]), said["rows"], said["committed_at"], said["meta"])

    def exists(self) -> bool:
        """True once something was committed."""
        return any(True for _ in self._records())

    def read(self, columns: list[str] | None = None, *, at: Snapshot | None = None) -> pl.DataFrame:
        """All committed rows in commit order; an empty frame where nothing was committed.

        Args:
            columns: which; all of them by default.
            at: the commit to read; the newest by default.
        """
        return self.scan(at=at).select(columns or [c.name for c in self.columns]).collect()

    def scan(self, *, at: Snapshot | None = None) -> pl.LazyFrame:
        """The committed rows, lazily."""
        files = (at or self.snapshot()).files
        if not files:
            return pl.LazyFrame(schema=schema(self.columns))
        # Files of an earlier release may lack a column that the contract has gained since: it is null there.
        return pl.scan_parquet(
            [self.path / f for f in files],
            schema=schema(self.columns) if self.columns else None,
            missing_columns="insert",
            extra_columns="ignore",
            hive_partitioning=False,
            glob=False,
        )

    def append(
        self, frame: pl.DataFrame, *, part: str | None = None, meta: Mapping[str, Any] | None = None
    ) -> Snapshot:
        """Adds rows in one commit. Writing the same rows under the same `part` again changes nothing.

        Args:
            frame: rows; checked against the table's columns.
            part: directory below the table for the file (`date=2026-01-31`), or None.
            meta: merged over the last commit's meta.
        """
        return self.append_parts({part or "": frame}, meta=meta)

    def append_parts(
        self,
        frames: Mapping[str, pl.DataFrame],
        *,
        meta: Mapping[str, Any] | None = None,
        onto: Snapshot | None = None,
        merge_small: bool = False,
    ) -> Snapshot:
        """Adds several files, by directory, in one commit.

        Args:
            frames: rows by directory; "" is the table's own.
            meta: merged over the last commit's meta.
            onto: the commit the rows were computed from; CommitConflict where it is no longer the newest.
            merge_small: as in `add_files`.
        """
        before = onto or self.snapshot()
        return self.add_files(self.write_parts(frames), onto=before, meta=meta, merge_small=merge_small)

    def write_parts(self, frames: Mapping[str, pl.DataFrame]) -> list[tuple[str, int]]:
        """Writes rows without a commit, so that nobody sees them yet: names and rows of the files."""
        filled = [(part, frame) for part, frame in frames.items() if len(frame)]
        with ThreadPoolExecutor(WRITERS) as threads:
            return list(threads.map(lambda item: self._write(item[1], item[0]), filled))

    def add_files(
        self,
        written: Iterable[tuple[str, int]],
        *,
        onto: Snapshot,
        meta: Mapping[str, Any] | None = None,
        merge_small: bool = False,
    ) -> Snapshot:
        """Commits what `write_parts` wrote; nothing changes where it is there already and `meta` is None.

        Args:
            written: names and rows of files.
            onto: the commit they come after; CommitConflict where it is no longer the newest.
            meta: merged over the last commit's meta.
            merge_small: bring small files of the touched directories together in the same commit. Repeating
                a write is then told by its rows' keys, no longer by the name of its file.
        """
        fresh = {name: count for name, count in written if name not in onto.files}
        if not fresh and meta is None and onto.sequence:
            return onto
        files = (*onto.files, *fresh)
        if merge_small:
            files = self._merge_small(files, {_part(name) for name in fresh})
        return self._commit(onto, files, onto.rows + sum(fresh.values()), {**onto.meta, **(meta or {})})

    def _merge_small(self, files: tuple[str, ...], parts: set[str]) -> tuple[str, ...]:
        """The files, where a part ends in many small ones those as one: its rows keep their order.

        Source: O'Neil et al., "The log-structured merge-tree", Acta Informatica 1996; here with two tiers.
        """
        within: dict[str, list[str]] = {part: [] for part in parts}
        for name in files:
            if _part(name) in parts:
                within[_part(name)].append(name)
        instead: dict[str, str] = {}
        for part, names in within.items():
            small = self._small_tail(names) if len(names) > MOST_SMALL else []
            if small:
                merged, _ = self._write(self.read(at=Snapshot(0, tuple(small))), part)
                instead |= {small[0]: merged} | dict.fromkeys(small[1:], "")
        return tuple(instead.get(name, name) for name in files if instead.get(name, name))

    def _small_tail(self, names: list[str]) -> list[str]:
        """The small files that a part ends in, if they are many; of these what fits into memory together."""
        sizes = [(self.path / name).stat().st_size for name in names]
        small = list(takewhile(lambda size: size < SMALL_BYTES, reversed(sizes)))
        if len(small) <= MOST_SMALL:
            return []
        together = sum(1 for total in accumulate(small) if total <= MERGED_BYTES)
        return names[-together:] if together > 1 else []

    def rewrite(
        self, keep: pl.Expr, *, meta: Mapping[str, Any] | None = None, onto: Snapshot | None = None
    ) -> tuple[Snapshot, int]:
        """Drops rows in one commit; the commit and how many rows went.

        Only files that hold such a row are written anew, one at a time. The old ones stay on disk for
        readers of older commits until they are swept.

        Args:
            keep: False for a row to drop; where it is null the row stays.
            meta: merged over the last commit's meta; with None, nothing is committed where nothing goes.
            onto: the commit to start from; CommitConflict where it is no longer the newest.
        """
        before = onto or self.snapshot()
        kept = [self._keep(name, keep.fill_null(True)) for name in before.files]
        removed = sum(gone for _, gone in kept)
        if not removed and (meta is None or not before.sequence):
            return before, 0
        files = tuple(name for name, _ in kept if name)
        after = self._commit(before, files, before.rows - removed, {**before.meta, **(meta or {})})
        return after, removed

    def _keep(self, name: str, keep: pl.Expr) -> tuple[str, int]:
        """A file with the rows to keep, "" where there are none, and how many rows went."""
        rows = self.scan(at=Snapshot(0, (name,)))
        total, gone = rows.select(pl.len(), (~keep).sum().alias("gone")).collect().row(0)
        if not gone or gone == total:
            return "" if gone else name, int(gone)
        return self._write(rows.filter(keep).collect(), _part(name))[0], int(gone)

    def replace(
        self, frame: pl.DataFrame, *, meta: Mapping[str, Any] | None = None, onto: Snapshot | None = None
    ) -> Snapshot:
        """Puts these rows in the place of all there were, in one commit; `onto` as in `append_parts`."""
        before = onto or self.snapshot()
        name, rows = self._write(frame, "")
        return self._commit(before, (name,), rows, dict(meta or {}))

    def upsert(
        self, frames: Iterable[pl.DataFrame], key: str, *, meta: Mapping[str, Any] | None = None
    ) -> Snapshot:
        """Adds rows, and drops what there was under the same keys, in one commit.

        Only files that hold such a key are written anew, and one frame at a time is in memory.

        Args:
            frames: new rows; no key twice.
            key: name of the column that tells rows apart.
            meta: merged over the last commit's meta.
        """
        before = self.snapshot()
        files, rows, keys = [], 0, [pl.Series(key, [], self._dtype(key))]
        for frame in frames:
            if len(frame):
                name, count = self._write(frame, "")
                files.append(name)
                rows += count
                keys.append(frame[key].cast(self._dtype(key)))
        new = pl.concat(keys).to_frame()
        kept = [self._without(name, new) for name in before.files]
        files = [*(name for name, count in kept if count), *files]
        rows += sum(count for _, count in kept)
        return self._commit(before, tuple(dict.fromkeys(files)), rows, {**before.meta, **(meta or {})})

    def _without(self, name: str, keys: pl.DataFrame) -> tuple[str, int]:
        """A file of the table without the rows of these keys, and how many are left."""
        path, key = self.path / name, keys.columns[0]
        held = pl.read_parquet(path, columns=[key])
        left = held.join(keys, on=key, how="anti")
        if len(left) == len(held) or not len(left):
            return name, len(left)
        rows = pl.read_parquet(path).join(keys, on=key, how="anti", maintain_order="left")
        return self._write(rows, _part(name))

    def _dtype(self, name: str) -> pl.DataType:
        return next(column.dtype for column in self.columns if column.name == name)

    def _records(self) -> Iterator[int]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path / COMMITS) as entries:
            for entry in entries:
                if entry.name.endswith(".json"):
                    yield int(entry.name.removesuffix(".json"))

    def _write(self, frame: pl.DataFrame, part: str) -> tuple[str, int]:
        buffer = io.BytesIO()
        conform(frame, self.columns, f"table {self.name}").write_parquet(
            buffer, compression="zstd", statistics=True
        )
        content = buffer.getvalue()
        digest = hashlib.blake2b(content, digest_size=12).hexdigest()
        name = f"{part}/part-{digest}.parquet" if part else f"part-{digest}.parquet"
        write_durably(self.path / name, content)
        return name, len(frame)

    def _commit(
        self, before: Snapshot, files: tuple[str, ...], rows: int, meta: Mapping[str, Any]
    ) -> Snapshot:
        after = Snapshot(before.sequence + 1, files, rows, time.time(), dict(meta))
        record = {"files": files, "rows": rows, "committed_at": after.committed_at, "meta": after.meta}
        target = self.path / COMMITS / f"{after.sequence:08d}.json"
        if not create_durably(target, json.dumps(record, sort_keys=True).encode()):
            raise CommitConflict(
                f"commit {after.sequence} of table {self.name} was made by another writer; repeat"
            )
        return after


def _part(name: str) -> str:
    """Directory of a file below its table, "" for the table's own."""
    return name.rpartition("/")[0]


def write_durably(target: Path, content: bytes) -> None:
    """The file with this content: written aside, synced and renamed, so that nobody meets half of it."""
    with storing(target):
        os.replace(_write_aside(target, content), target)
        _sync_directory(target.parent)


def write_all_durably(files: Iterable[tuple[Path, bytes]]) -> None:
    """Many files like `write_durably`, several at a time: a disk syncs eight about as fast as one."""
    folders: set[Path] = set()

    def write(item: tuple[Path, bytes]) -> Path:
        target, content = item
        with storing(target):
            os.replace(_write_aside(target, content), target)
        return target.parent

    with ThreadPoolExecutor(WRITERS) as threads:
        for some in _batches(files, WRITERS * 16):
            folders.update(threads.map(write, some))
    for folder in folders:
        with storing(folder):
            _sync_directory(folder)


def create_durably(target: Path, content: bytes) -> bool:
    """Like `write_durably`, but False and nothing changed where the file is there already."""
    with storing(target):
        aside = _write_aside(target, content)
        try:
            os.link(aside, target)
        except FileExistsError:
            return False
        finally:
            aside.unlink()
        _sync_directory(target.parent)
    return True


def read_json(path: Path, what: str) -> Any:
    """The parsed file; NotFound names it where it is absent."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise NotFound(f"{what} is not there: {path}") from None


def _batches(items: Iterable[tuple[Path, bytes]], size: int) -> Iterator[list[tuple[Path, bytes]]]:
    """Lists of at most `size` of the items: no more of them are held at a time."""
    source = iter(items)
    while some := list(islice(source, size)):
        yield some


def _write_aside(target: Path, content: bytes) -> Path:
    aside = target.parent / f".{target.name}.{secrets.token_hex(6)}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    return aside


@contextmanager
def storing(target: Path) -> Iterator[None]:
    """The operating system's refusal as ours."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(target, error) from error


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
