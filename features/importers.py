"""Event logs at the door: read in chunks, checked row by row, told apart by identity, and stored by day.

A file is judged as a whole only where its columns cannot be used; a bad row goes to a quarantine table with
its reason, and the rest is used. Whether a video is known is not asked here. An import is one commit: it is
laid aside in the workspace, chunk by chunk, until the last row was read.
"""

from __future__ import annotations

import datetime
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from features.catalogue import register
from features.commits import ATTEMPTS as ATTEMPTS
from features.contracts import INTERACTIONS, MAX_ID_BYTES, schema
from features.erasure.tombstones import refused_users
from features.formats.log_format import Batch
from features.formats.log_formats import FORMATS as FORMATS
from features.formats.log_formats import LogFile, find_logs
from features.formats.readers import Source
from features.formats.readers_text import CHUNK_BYTES
from features.import_embeddings import EmbeddingImport as EmbeddingImport
from features.import_embeddings import import_embeddings as import_embeddings
from features.intake.appending import (
    DAY,
    ERASED,
    OTHER_PAYLOAD,
    USER_DELETED,
    WITHHELD,
    Appended,
    append,
    append_refused,
    refuse_events,
)
from features.intake.appending import REFUSED as REFUSED
from features.intake.appending import append_events as append_events
from features.intake.event_checks import check_columns, contents, not_after_receipt, reason, take_columns
from features.intake.event_identity import Identities, identify, identities, joined
from features.intake.event_identity import key_of_event_id as key_of_event_id
from features.intake.event_index import NEW, OTHER, SAME
from features.intake.laid_aside import laid_aside
from features.tables import storing
from features.workspace import Workspace

_ROW_GROUP: Final = 50_000


@dataclass(frozen=True, slots=True)
class EventImport:
    """What became of the events of an import: rows = imported + duplicates + all refused."""

    rows: int
    """Events; a row of a public log may give several."""
    imported: int
    duplicates: int
    refused: dict[str, int] = field(default_factory=dict)
    """Rows refused, by reason."""
    formats: list[str] = field(default_factory=list)
    """Formats met."""
    excess: int = 0
    """Of the imported, how many lie beyond the rate limit: kept, and counted nowhere."""


@dataclass(frozen=True, slots=True)
class _Aside:
    """Checked events that wait for the end of their import."""

    good: list[Path]
    bad: list[Path]
    keys: Identities
    reasons: Counter[str]


def import_events(
    workspace: Workspace,
    paths: list[Path],
    fmt: str = "auto",
    *,
    now: datetime.datetime | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> EventImport:
    """Stores the events of files, each event once however often it is given.

    Args:
        workspace: where they go.
        paths: files and folders. Format `reelrank`: Parquet, CSV or JSON lines with `user_id`, `video_id` and
            any optional column of INTERACTIONS (`event` is `play` where absent). The others are releases of
            public logs, see `log_<format>.py`; what they say of videos goes to the catalogue.
        fmt: one of FORMATS; `auto` knows public logs by names and headers of their files.
        now: the present, by which an event lies in the future; the clock's by default.
        chunk_bytes: about how much of a file is in memory at a time.

    Raises:
        BadInput: an unknown format, a missing or unreadable file, or columns that cannot be used.
    """
    now_ms = int(now.timestamp() * 1000) if now else time.time_ns() // 1_000_000
    files = find_logs(paths, fmt)
    with laid_aside(workspace.root) as folder:
        aside = _lay_aside(workspace, files, folder, now_ms, chunk_bytes)
        videos = _videos(files)
        if videos is not None:
            register(workspace, videos)
        done = append(workspace, _scan(aside), aside.keys, limit=True)
        refused = [*aside.bad, *_refuse_more(aside, done, folder)]
        append_refused(workspace, [pl.scan_parquet(path, glob=False) for path in refused])
    late = Counter({OTHER_PAYLOAD: done.count(OTHER), USER_DELETED: done.count(ERASED)})
    reasons = aside.reasons + late
    return EventImport(
        rows=len(aside.keys) + aside.reasons.total(),
        imported=done.count(NEW),
        duplicates=done.count(SAME),
        refused=dict(sorted(reasons.items())),
        formats=sorted({file.format.name for file in files}),
        excess=done.excess,
    )


def _lay_aside(
    workspace: Workspace, files: list[LogFile], folder: Path, now_ms: int, chunk_bytes: int
) -> _Aside:
    """Checks all events of the files, and writes them below a folder."""
    good: list[Path] = []
    bad: list[Path] = []
    keys: list[Identities] = []
    reasons: Counter[str] = Counter()
    for batch in _batches(files, chunk_bytes):
        sound, refused = _check(workspace, batch, now_ms)
        if len(sound):
            start = sum(map(len, keys))
            placed = sound.with_columns(DAY, order=pl.int_range(pl.len(), dtype=pl.Int64) + start)
            keys.append(identities(placed))
            good.append(_put(placed.sort("day", "order"), folder / f"good-{len(good)}.parquet"))
        if len(refused):
            reasons.update(dict(refused.group_by("reason").len().iter_rows()))
            bad.append(_put(refused, folder / f"bad-{len(bad)}.parquet"))
    return _Aside(good, bad, joined(keys), reasons)


def _batches(files: list[LogFile], chunk_bytes: int) -> Iterator[Batch]:
    for file in files:
        if file.role == "events":
            for number, batch in enumerate(file.format.events(file.path, chunk_bytes)):
                if number == 0 and (len(batch.source.frame) or not len(batch.source.broken)):
                    check_columns(batch.events, ("user_id", "video_id"), file.path.name)
                yield batch


def _check(workspace: Workspace, batch: Batch, now_ms: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The sound events with `file` and `row`, and the others as REFUSED with `user_id`."""
    typed, given = take_columns(batch.events)
    erased = refused_users(workspace, typed["user_id"])
    why = pl.when(erased).then(pl.lit(USER_DELETED)).otherwise(reason(given, now_ms)).alias("reason")
    typed = typed.with_columns(why)
    source = batch.source
    good = typed.filter(pl.col("reason").is_null()).with_columns(not_after_receipt())
    named = good.with_columns(identify(good, source.digest), pl.lit(source.path.name).alias("file"))
    names = [column.name for column in INTERACTIONS if column.name != "order"]
    return named.select(*names, "file", "row"), _refuse(source, typed.filter(pl.col("reason").is_not_null()))


def _refuse(source: Source, bad: pl.DataFrame) -> pl.DataFrame:
    raw = bad.select("row").join(source.frame, on="row", how="left", maintain_order="left")
    erased = pl.col("reason") == USER_DELETED
    content = pl.when(erased).then(pl.lit(WITHHELD)).otherwise(contents(raw)).alias("content")
    rows = bad.select("row", "reason", content, "user_id")
    nobody = pl.lit(None, pl.String).alias("user_id")
    lines = source.broken.select("row", pl.lit("line not readable").alias("reason"), "content", nobody)
    return pl.concat([rows, lines]).select(pl.lit(source.path.name).alias("file"), pl.all())


def _videos(files: list[LogFile]) -> pl.DataFrame | None:
    """What the files say of videos, one row a video; the last that says a thing counts, tags add up."""
    parts = [file.format.videos(file.path) for file in files if file.role == "videos"]
    if not parts:
        return None
    given = pl.concat(parts, how="diagonal_relaxed")
    given = given.filter(pl.col("video_id").str.len_bytes().is_between(1, MAX_ID_BYTES))
    if len(parts) == 1:
        return given
    facts = [pl.col(n).drop_nulls().last() for n in given.columns if n not in ("video_id", "tags")]
    tags = pl.col("tags").explode().drop_nulls().unique(maintain_order=True).alias("tags")
    return given.group_by("video_id", maintain_order=True).agg(
        *facts, *([tags] if "tags" in given.columns else [])
    )


def _scan(aside: _Aside) -> pl.LazyFrame:
    if not aside.good:
        return pl.LazyFrame(schema={**schema(INTERACTIONS), "day": pl.Int32()})
    return pl.scan_parquet(aside.good, glob=False)


def _refuse_more(aside: _Aside, done: Appended, folder: Path) -> list[Path]:
    """Files of REFUSED and `user_id` with the sound events that were not taken in the end."""
    written: list[Path] = []
    some = bool(done.count(OTHER) + done.count(ERASED))
    for number, path in enumerate(aside.good if some else []):
        rows = refuse_events(pl.read_parquet(path), done)
        if len(rows):
            written.append(_put(rows, folder / f"late-{number}.parquet"))
    return written


def _put(rows: pl.DataFrame, path: Path) -> Path:
    with storing(path):
        rows.write_parquet(path, compression="lz4", row_group_size=_ROW_GROUP)
    return path
