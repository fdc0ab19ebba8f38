"""Events into the table of interactions: each once, in the order of their arrival, in one commit.

Whatever the number of events, at most ROWS_AT_ONCE of them are in memory together, beside 24 bytes for each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.commits import ATTEMPTS, commit_again
from features.contracts import INTERACTIONS, Column
from features.erasure.tombstones import refused_users
from features.errors import CommitConflict
from features.formats.readers_text import MOST_CONTENT
from features.intake.event_identity import Identities, identities, repeats
from features.intake.event_index import NEW, OTHER, SAME, find_stored
from features.intake.excess import arrivals, arrived_before, excess_orders
from features.tables import Snapshot, Table
from features.workspace import Workspace

ROWS_AT_ONCE: Final = 400_000
"""Events that are brought together by day at a time."""

ERASED: Final = 3
"""Beside NEW, SAME and OTHER: the event's user was deleted and may not come back."""

OTHER_PAYLOAD: Final = "event_id given with another payload"
USER_DELETED: Final = "user was deleted"
WITHHELD: Final = "not kept: the user was deleted"
"""Stands in the quarantine for the content of an event of such a user."""

REFUSED: Final = (
    Column("file", pl.String(), True, "name of the file"),
    Column("row", pl.Int64(), True, "place in the file, from 0"),
    Column("reason", pl.String(), True, "why it was refused"),
    Column("content", pl.String(), True, "the row as JSON, cut at 2,000 characters"),
)

DAY: Final = pl.col("ts").dt.epoch("d").fill_null(-1).cast(pl.Int32).alias("day")
"""UTC day of an event since the epoch, -1 where it has no time."""

NEXT_ORDER: Final = "next_order"
"""Name, in what a commit says of the interactions, of the `order` that the next event gets."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of n events."""

    fates: npt.NDArray[np.int8]
    """NEW: it was added; SAME: it was there; OTHER: its identity was there with another payload; ERASED."""
    excess: int
    """Of those that were added, how many lie beyond the rate limit."""

    def count(self, fate: int) -> int:
        """How many events met this fate."""
        return int((self.fates == fate).sum())


def append_events(workspace: Workspace, events: pl.DataFrame) -> int:
    """Adds the events whose `event_key` is not stored yet; returns how many. Safe to repeat.

    An event under the key of another, with another user, video, kind or time, goes to the quarantine; of an
    event whose user was deleted only that it came.

    Args:
        workspace: where they go.
        events: columns of INTERACTIONS; `order` gives their sequence, and is moved behind what is stored.
            `excess` stays as it is given.
    """
    placed = events.sort("order", maintain_order=True).with_columns(
        DAY, order=pl.int_range(pl.len(), dtype=pl.Int64)
    )
    done = append(workspace, placed.lazy(), identities(placed))
    named = placed.with_columns(pl.lit("stream").alias("file"), pl.col("order").alias("row"))
    refused = refuse_events(named, done)
    if len(refused):
        append_refused(workspace, [refused.lazy()])
    return done.count(NEW)


def append(workspace: Workspace, events: pl.LazyFrame, keys: Identities, *, limit: bool = False) -> Appended:
    """Adds the events that are new, in one commit; of those under one identity the first.

    Args:
        workspace: where they go.
        events: columns of INTERACTIONS and `day`; `order` counts from 0, and is that of `keys`.
        keys: identities of the n events.
        limit: judge which events lie beyond the rate limit.

    Raises:
        CommitConflict: other writers kept committing first.
    """
    table = workspace.interactions
    # Many events are not written anew because a few came in between: their orders are set aside first.
    reserved = _reserve(table, len(keys)) if len(keys) > ROWS_AT_ONCE else None
    asked: set[str] = set()
    stored, fates = np.full(len(keys), NEW, np.int8), np.full(len(keys), ERASED, np.int8)
    written: tuple[int, int, list[tuple[str, int]]] | None = None  # first order, excess, files
    for _ in range(ATTEMPTS):
        before = table.snapshot()
        try:
            with _conflict_where_files_went(table, before):
                fresh = [name for name in before.files if name not in asked]
                stored = np.maximum(stored, find_stored(table, fresh, keys))
                asked |= set(before.files)
                known, fates = fates, _fates(keys, stored, _deleted(workspace, events, len(keys)))
                if not (fates == NEW).any():
                    return Appended(fates, 0)
                start = _next_order(table, before) if reserved is None else reserved
                if written is None or written[0] != start or not np.array_equal(known, fates):
                    written = start, *_write(table, before, events, fates == NEW, start, limit)
                after = max(start + len(keys), _next_order(table, before))
                table.add_files(written[2], onto=before, meta={NEXT_ORDER: after}, merge_small=True)
        except CommitConflict:
            continue
        return Appended(fates, written[1])
    raise CommitConflict(f"the interactions in {table.path} were changed by others {ATTEMPTS} times; repeat")


@contextmanager
def _conflict_where_files_went(table: Table, before: Snapshot) -> Iterator[None]:
    """A file of a commit that is gone, because a deletion followed it, is a CommitConflict."""
    try:
        yield
    except FileNotFoundError as error:
        if table.snapshot().sequence == before.sequence:
            raise
        raise CommitConflict(f"a file of commit {before.sequence} of {table.name} is gone; repeat") from error


def append_rows(table: Table, rows: pl.DataFrame) -> None:
    """Adds rows to a table, repeated when another writer commits first."""
    commit_again(table, lambda before: table.append_parts({"": rows}, onto=before))


def append_refused(workspace: Workspace, parts: Sequence[pl.LazyFrame]) -> None:
    """Adds rows to the quarantine, in one commit; of a user who was deleted meanwhile, only that they came.

    Args:
        workspace: whose quarantine.
        parts: columns of REFUSED and `user_id`; one of them is in memory at a time.
    """
    table = refused_events(workspace)

    def add(before: Snapshot) -> None:  # tombstones are asked for after the snapshot: see `tombstones`
        written = [
            item for part in parts for item in table.write_parts({"": _withheld(workspace, part.collect())})
        ]
        table.add_files(written, onto=before)

    if parts:
        commit_again(table, add)


def _withheld(workspace: Workspace, rows: pl.DataFrame) -> pl.DataFrame:
    gone = refused_users(workspace, rows["user_id"])
    content = pl.when(gone).then(pl.lit(WITHHELD)).otherwise("content").alias("content")
    return rows.with_columns(content).select(column.name for column in REFUSED)


def refused_events(workspace: Workspace) -> Table:
    """The quarantine of event rows."""
    return Table(workspace.root / "quarantine" / "interactions", REFUSED)


def refuse_events(events: pl.DataFrame, done: Appended) -> pl.DataFrame:
    """Those of the events that were not taken, and are no repeats, as rows of REFUSED with `user_id`.

    Args:
        events: sound events with `order` as it was given to `append`, `file` and `row`.
        done: what became of them.
    """
    fates = pl.Series("fate", done.fates[events["order"].to_numpy()])
    rows = events.with_columns(fates).filter(pl.col("fate").is_in([OTHER, ERASED]))
    said = [c.name for c in INTERACTIONS if c.name not in ("event_key", "order")]
    texts = rows.select(said).with_columns(pl.col("ts", "received_at").dt.to_string())
    content = [
        json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False)[:MOST_CONTENT]
        for row in texts.iter_rows(named=True)
    ]
    erased = pl.col("fate") == ERASED
    return rows.with_columns(pl.Series("content", content, dtype=pl.String)).select(
        "file",
        "row",
        pl.when(erased).then(pl.lit(USER_DELETED)).otherwise(pl.lit(OTHER_PAYLOAD)).alias("reason"),
        pl.when(erased).then(pl.lit(WITHHELD)).otherwise("content").alias("content"),
        "user_id",
    )


def _deleted(workspace: Workspace, events: pl.LazyFrame, n: int) -> npt.NDArray[np.bool_]:
    """Whose user may not come back, (n,)."""
    users = events.select(pl.col("user_id").unique()).collect(engine="streaming").to_series()
    gone = users.filter(refused_users(workspace, users))
    out = np.zeros(n, bool)
    if len(gone):
        theirs = events.filter(pl.col("user_id").is_in(gone.to_list())).select("order").collect()
        out[theirs["order"].to_numpy()] = True
    return out


def _fates(
    keys: Identities, stored: npt.NDArray[np.int8], deleted: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int8]:
    """What becomes of each event: what is stored was first, then who came first in the frame."""
    fates = np.full(len(keys), ERASED, np.int8)
    here = np.flatnonzero(~deleted)
    same, other = repeats(keys if len(here) == len(keys) else keys.take(here))
    among = np.where(same, SAME, np.where(other, OTHER, NEW)).astype(np.int8)
    fates[here] = np.where(stored[here] != NEW, stored[here], among)
    return fates


def _write(
    table: Table,
    at: Snapshot,
    events: pl.LazyFrame,
    keep: npt.NDArray[np.bool_],
    start: int,
    limit: bool,
) -> tuple[int, list[tuple[str, int]]]:
    """Writes the events to keep, by day, as files without a commit; how many are excess, and the files."""
    over = _excess(table, at, events, keep) if limit else np.zeros(0, np.int64)
    files: list[tuple[str, int]] = []
    for span in _spans(events):
        rows = events.filter(span).collect().sort("order")
        rows = rows.filter(pl.Series(keep[rows["order"].to_numpy()], dtype=pl.Boolean))
        if len(over):
            beyond = pl.Series(np.isin(rows["order"].to_numpy(), over), dtype=pl.Boolean)
            rows = rows.with_columns(excess=pl.col("excess").fill_null(False) | beyond)
        files += table.write_parts(_by_day(rows.with_columns(pl.col("order") + start)))
    return len(over), files


def _excess(
    table: Table, at: Snapshot, events: pl.LazyFrame, keep: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    new = arrivals(events)
    new = new.filter(pl.Series(keep[new["order"].to_numpy()], dtype=pl.Boolean))
    return excess_orders(new, arrived_before(table.scan(at=at), new)) if len(new) else np.zeros(0, np.int64)


def _spans(events: pl.LazyFrame) -> Iterator[pl.Expr]:
    """Conditions that part the events by day, and a long day by `order`, into what fits in memory."""
    days = events.group_by("day").agg(rows=pl.len()).sort("day").collect(engine="streaming")
    first, held = None, 0
    for day, rows in days.rows():
        if first is not None and held + rows > ROWS_AT_ONCE:
            yield pl.col("day").is_between(first, day, closed="left")
            first, held = None, 0
        if rows > ROWS_AT_ONCE:
            yield from _slices(events.filter(pl.col("day") == day), day, rows)
            continue
        first, held = day if first is None else first, held + rows
    if first is not None:
        yield pl.col("day") >= first


def _slices(of_day: pl.LazyFrame, day: int, rows: int) -> Iterator[pl.Expr]:
    orders = np.sort(of_day.select("order").collect(engine="streaming").to_series().to_numpy())
    for part in np.array_split(orders, math.ceil(rows / ROWS_AT_ONCE)):
        yield (pl.col("day") == day) & pl.col("order").is_between(int(part[0]), int(part[-1]))


def _reserve(table: Table, count: int) -> int:
    """The first of as many orders that nobody else will give."""

    def reserve(before: Snapshot) -> int:
        start = _next_order(table, before)
        table.add_files([], onto=before, meta={NEXT_ORDER: start + count})
        return start

    return commit_again(table, reserve)


def _next_order(table: Table, at: Snapshot) -> int:
    said: Any = at.meta.get(NEXT_ORDER)
    if said is None:  # written by an earlier release
        said = table.scan(at=at).select(pl.col("order").max() + 1).collect(engine="streaming").item() or 0
    return int(said)


def _by_day(events: pl.DataFrame) -> dict[str, pl.DataFrame]:
    parts = events.partition_by("day", as_dict=True, include_key=False)
    return {_directory(int(key[0])): part for key, part in sorted(parts.items())}


def _directory(day: int) -> str:
    """Directory of the interactions of a day since the epoch; -1 is that of events without a time."""
    return f"date={np.datetime64(day, 'D')}" if day >= 0 else "date=unknown"
