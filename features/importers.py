"""Event logs at the door: read, checked row by row, told apart by identity, and stored by day.

A file is judged as a whole only where a required column is absent; a bad row goes to a quarantine table
with its reason, and the rest is used. Whether a video is known is not asked here.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from features.catalogue import register
from features.contracts import EVENTS, INTERACTIONS, MAX_ID_BYTES, TS, Column, cast_column, schema
from features.errors import BadInput, CommitConflict
from features.import_embeddings import EmbeddingImport as EmbeddingImport
from features.import_embeddings import import_embeddings as import_embeddings
from features.readers import (
    MOVIES,
    RATINGS,
    Source,
    find_files,
    is_movielens,
    is_table,
    read_movies,
    read_ratings,
    read_table,
)
from features.tables import Table
from features.timestamps import parse_times
from features.workspace import Workspace

FORMATS: Final = ("auto", "reelrank", "movielens")

ATTEMPTS: Final = 8
"""How often a commit is repeated when another writer was first."""

MOST_CONTENT: Final = 2000
"""Characters kept of a refused row."""

REFUSED: Final = (
    Column("file", pl.String(), True, "name of the file"),
    Column("row", pl.Int64(), True, "place in the file, from 0"),
    Column("reason", pl.String(), True, "why it was refused"),
    Column("content", pl.String(), True, "the row as JSON, cut at 2,000 characters"),
)

_COMPUTED: Final = ("event_key", "order")


@dataclass(frozen=True, slots=True)
class EventImport:
    """What became of the rows of an import: rows = imported + duplicates + all refused."""

    rows: int
    imported: int
    duplicates: int
    refused: dict[str, int] = field(default_factory=dict)
    """Rows refused, by reason."""
    formats: list[str] = field(default_factory=list)
    """Formats met."""


def import_events(workspace: Workspace, paths: list[Path], fmt: str = "auto") -> EventImport:
    """Stores the events of files, each event once however often it is given.

    Args:
        workspace: where they go.
        paths: files and folders. Format `reelrank`: Parquet, CSV or JSON lines with `user_id`, `video_id`
        and any
            optional column of INTERACTIONS (`event` is `play` where absent). Format `movielens`: a
            release's folder or files; ratings become plays with a rating, movies go to the catalogue.
        fmt: one of FORMATS; `auto` knows MovieLens by its file names.

    Raises:
        BadInput: an unknown format, a missing or unreadable file, or a required column that is wholly absent.
    """
    if fmt not in FORMATS:
        raise BadInput(f"unknown format {fmt}; this reads {', '.join(FORMATS)}")
    files = _list_files(paths, fmt)
    sources = [_read(path, fmt) for path in files if path.name not in MOVIES or not _as_movielens(path, fmt)]
    checked = [_check(source) for source in sources]
    movies = [read_movies(path) for path in files if path.name in MOVIES and _as_movielens(path, fmt)]
    if movies:
        videos = pl.concat(movies)
        sound = pl.col("video_id").str.len_bytes().is_between(1, MAX_ID_BYTES)
        register(workspace, videos.filter(sound))
    good = pl.concat([good for good, _ in checked]) if checked else pl.DataFrame(schema=schema(INTERACTIONS))
    bad = pl.concat([bad for _, bad in checked]) if checked else pl.DataFrame(schema=schema(REFUSED))
    imported = append_events(workspace, good)
    if len(bad):
        append_rows(Table(workspace.root / "quarantine" / "interactions", REFUSED), bad)
    formats = sorted({"movielens" if _as_movielens(path, fmt) else "reelrank" for path in files})
    refused = {
        str(reason): int(count) for reason, count in bad.group_by("reason").len().sort("reason").rows()
    }
    return EventImport(len(good) + len(bad), imported, len(good) - imported, refused, formats)


def append_events(workspace: Workspace, events: pl.DataFrame) -> int:
    """Adds the events whose `event_key` is not stored yet; returns how many. Safe to repeat.

    Args:
        workspace: where they go.
        events: columns of INTERACTIONS; `order` counts from 0 and is moved behind what is stored.
    """
    table = workspace.interactions
    for _ in range(ATTEMPTS):
        before = table.snapshot()
        stored = table.read(["event_key"], at=before)
        fresh = events.unique("event_key", keep="first", maintain_order=True).join(
            stored, on="event_key", how="anti", maintain_order="left"
        )
        if not len(fresh):
            return 0
        placed = fresh.with_columns(pl.col("order") + len(stored))
        try:
            table.append_parts(_by_day(placed), onto=before)
        except CommitConflict:
            continue
        return len(fresh)
    raise CommitConflict(
        f"the interactions in {workspace.root} were changed by others {ATTEMPTS} times; repeat"
    )


def append_rows(table: Table, rows: pl.DataFrame) -> None:
    """Adds rows to a table, repeated when another writer commits first."""
    for _ in range(ATTEMPTS):
        try:
            table.append(rows)
        except CommitConflict:
            continue
        return
    raise CommitConflict(f"table {table.name} was changed by others {ATTEMPTS} times; repeat")


def key_of_event_id(event_id: str) -> str:
    """The `event_key` of an event that its sender named."""
    return _hash(f"id:{event_id}")


def identify(events: pl.DataFrame, digest: str) -> pl.Series:
    """What makes each event itself, String, (n,): `event_id`; else user, video, time, kind; else file, row.

    Args:
        events: `event_id, user_id, video_id, event, ts` and `order` (the row in its file).
        digest: of the file's content.
    """
    named = pl.concat_str(pl.lit("id:"), "event_id")
    size = pl.col("user_id").str.len_bytes()
    natural = pl.concat_str(
        pl.lit("at:"),
        size,
        pl.lit(":"),
        "user_id",
        "video_id",
        pl.lit(":"),
        pl.col("ts").dt.epoch("ms"),
        "event",
    )
    placed = pl.concat_str(pl.lit(f"in:{digest}:"), pl.col("order"))
    texts = events.select(pl.coalesce(named, natural, placed)).to_series()
    return pl.Series("event_key", [_hash(text) for text in texts], dtype=pl.String)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _list_files(paths: list[Path], fmt: str) -> list[Path]:
    if fmt == "movielens":
        return _prefer_one_release(find_files(paths, is_movielens))
    files: list[Path] = []
    for path in paths or find_files(paths, is_table):
        release = fmt == "auto" and path.is_dir() and any((path / name).is_file() for name in RATINGS)
        files += _prefer_one_release(find_files([path], is_movielens if release else is_table))
    return files


def _prefer_one_release(files: list[Path]) -> list[Path]:
    """Where a folder holds the same table in several spellings, the first is taken."""
    taken: dict[tuple[Path, bool | str], Path] = {}
    for path in files:
        kind: bool | str = path.name in RATINGS if is_movielens(path) else path.name
        taken.setdefault((path.parent, kind), path)
    return list(taken.values())


def _as_movielens(path: Path, fmt: str) -> bool:
    if fmt == "movielens":
        return True
    if fmt != "auto" or not is_movielens(path):
        return False
    return path.suffix != ".csv" or b"movieId" in path.read_bytes()[:400]


def _read(path: Path, fmt: str) -> Source:
    return read_ratings(path) if _as_movielens(path, fmt) else read_table(path)


def _check(source: Source) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The sound rows as INTERACTIONS, and the others as REFUSED."""
    raw = source.frame
    missing = [name for name in ("user_id", "video_id") if name not in raw.columns]
    if missing and (len(raw) or not len(source.broken)):
        has = ", ".join(name for name in raw.columns if name != "row") or "none"
        raise BadInput(f"{source.path.name} lacks the required column(s) {', '.join(missing)}; it has {has}")
    typed, uncast = _cast(raw)
    reasons = typed.select(_reason(uncast)).to_series()
    bad = raw.filter(reasons.is_not_null())
    refused = _refuse(source, bad, reasons.drop_nulls())
    good = typed.filter(reasons.is_null())
    keyed = good.with_columns(identify(good, source.digest))
    return keyed.select(column.name for column in INTERACTIONS), refused


def _cast(raw: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """All columns of INTERACTIONS, null where a value has the wrong type; and the columns the file gave.

    A column `bad_<name>` is True where a value was there and could not be taken.
    """
    out: list[pl.Series] = [raw["row"].alias("order")] if "row" in raw.columns else []
    given = [c for c in INTERACTIONS if c.name in raw.columns and c.name not in _COMPUTED]
    for column in INTERACTIONS:
        if column in given:
            values = raw[column.name]
            taken = _take(values, column)
            out += [taken, (taken.is_null() & values.is_not_null()).alias(f"bad_{column.name}")]
        elif column.name not in _COMPUTED:
            filler = "play" if column.name == "event" else None
            out.append(pl.Series(column.name, [filler] * len(raw), dtype=column.dtype))
    typed = pl.DataFrame(out)
    return typed.with_columns(pl.col("event").fill_null("play")), [c.name for c in given if c.name != "event"]


def _take(values: pl.Series, column: Column) -> pl.Series:
    if values.dtype == pl.String and column.dtype != pl.String:
        stripped = values.str.strip_chars()
        values = (
            pl.select(pl.when(pl.lit(stripped) != "").then(pl.lit(stripped))).to_series().alias(values.name)
        )
    if column.dtype == TS:
        return parse_times(values).alias(column.name)
    if column.name == "event" and values.dtype == pl.String:
        values = values.str.strip_chars().str.to_lowercase()
    if column.dtype.is_integer() and values.dtype == pl.String:
        values = values.cast(pl.Float64, strict=False)  # a CSV may write 3.0
    return cast_column(values, column.dtype, "interactions", strict=False)


def _reason(given: list[str]) -> pl.Expr:
    """The first thing wrong with a row, or null."""
    checks: list[tuple[str, pl.Expr]] = []
    for name in ("user_id", "video_id", "event_id"):
        size = pl.col(name).str.len_bytes()
        if name != "event_id":
            checks.append((f"no {name}", pl.col(name).is_null() | (size == 0)))
        checks.append((f"{name} too long", size > MAX_ID_BYTES))
    checks.append(("unknown event", ~pl.col("event").is_in(EVENTS)))
    checks += [(f"{name} not readable", pl.col(f"bad_{name}")) for name in given]
    checks.append(("negative watch_s", ~((pl.col("watch_s") >= 0) & pl.col("watch_s").is_finite())))
    checks.append(("propensity outside (0, 1]", ~(pl.col("propensity").is_between(0, 1, closed="right"))))
    return pl.coalesce(
        pl.when(wrong.fill_null(False)).then(pl.lit(reason)) for reason, wrong in checks
    ).alias("reason")


def _refuse(source: Source, bad: pl.DataFrame, reasons: pl.Series) -> pl.DataFrame:
    contents = [
        json.dumps(row, default=_as_text, ensure_ascii=False)[:MOST_CONTENT]
        for row in bad.iter_rows(named=True)
    ]
    rows = pl.DataFrame(
        {"row": bad["row"], "reason": reasons, "content": pl.Series(contents, dtype=pl.String)}
    )
    lines = source.broken.select("row", reason=pl.lit("line not readable"), content="content")
    both = pl.concat([rows.cast({"reason": pl.String}), lines.cast({"reason": pl.String})])
    return both.select(pl.lit(source.path.name).alias("file"), "row", "reason", "content")


def _as_text(value: object) -> str:
    if isinstance(value, datetime.date):
        return value.isoformat()
    return "NaN" if isinstance(value, float) and math.isnan(value) else repr(value)


def _by_day(events: pl.DataFrame) -> dict[str, pl.DataFrame]:
    day = pl.concat_str(pl.lit("date="), pl.col("ts").dt.strftime("%Y-%m-%d").fill_null("unknown"))
    parts = events.with_columns(day.alias("_day")).partition_by("_day", as_dict=True, include_key=False)
    return {str(key[0]): part for key, part in sorted(parts.items())}
