"""A manifest of videos: Parquet, CSV or JSONL with `video_id`, `uri` and what is known of each video."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import polars as pl

from features.contracts import CATALOGUE, INGEST_TEXT, cast_column
from features.errors import BadInput

MANIFESTS: Final = frozenset({".parquet", ".csv", ".jsonl", ".ndjson"})
TAG_SEPARATORS: Final = r"[|,]"
TEXT_COLUMNS: Final = tuple(column for column in CATALOGUE if column.name in INGEST_TEXT)


def read_manifest(content: Path | bytes, kind: str, base: str, what: str) -> pl.DataFrame:
    """Rows of video_id, uri and the columns of TEXT_COLUMNS that it has, as they are typed there.

    Args:
        content: the file, or its bytes.
        kind: its ending, one of MANIFESTS.
        base: directory or URL that relative uris are relative to.
        what: its name, for errors.

    Raises:
        BadInput: it cannot be read, lacks `video_id` or `uri` in some row, or holds what a column cannot.
    """
    frame = _parse(content, kind, what)
    missing = [name for name in ("video_id", "uri") if name not in frame.columns]
    if missing:
        has = ", ".join(frame.columns) or "none"
        raise BadInput(f"{what} lacks the column(s) {', '.join(missing)}; it has {has}")
    frame = frame.with_columns(cast_column(frame[name], pl.String(), what) for name in ("video_id", "uri"))
    for name in ("video_id", "uri"):
        if empty := frame[name].null_count():
            raise BadInput(f"{what}: {name} is null in {empty} of {len(frame)} rows; give every video one")
    if not len(frame):
        raise BadInput(f"{what} has no rows; list at least one video")
    return _words(frame.select("video_id", _resolved(base), *_given(frame)), what)


def _parse(content: Path | bytes, kind: str, what: str) -> pl.DataFrame:
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        if kind == ".parquet":
            return pl.read_parquet(source)
        return pl.read_csv(source, infer_schema=False) if kind == ".csv" else pl.read_ndjson(source)
    except pl.exceptions.NoDataError:
        raise BadInput(f"{what} is empty; it needs at least the columns video_id and uri") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadInput(f"{what} cannot be read: {str(error).splitlines()[0]}") from error


def _resolved(base: str) -> pl.Expr:
    """The uri as given where it is a URL or absolute, else below the manifest's directory."""
    uri = pl.col("uri")
    whole = uri.str.contains("://", literal=True) | uri.str.starts_with("/")
    below = pl.when(whole).then(uri).otherwise(pl.lit(base.rstrip("/") + "/") + uri)
    if "://" in base:
        return below.alias("uri")
    untidy = ~uri.str.contains("://", literal=True) & uri.str.contains(r"(^|/)\.?(/|$)")
    return pl.when(untidy).then(below.map_elements(_tidy, pl.String())).otherwise(below).alias("uri")


def _tidy(path: str) -> str:
    """Without empty steps and steps to where it is; `..` stays, as a link may be before it."""
    return str(Path(path))


def _given(frame: pl.DataFrame) -> list[str]:
    return [column.name for column in TEXT_COLUMNS if column.name in frame.columns]


def _words(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    wrong: list[str] = []
    columns = [frame["video_id"], frame["uri"]]
    for column in TEXT_COLUMNS:
        try:
            if column.name in frame.columns:
                columns.append(_typed(frame[column.name], column.dtype))
        except pl.exceptions.PolarsError:
            wrong.append(f"{column.name} cannot be read as {column.dtype}")
    if wrong:
        raise BadInput(f"{what}: {'; '.join(wrong)}")
    return pl.DataFrame(columns)


def _typed(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    if isinstance(dtype, pl.List) and series.dtype == pl.String:
        return _split(series)
    if isinstance(dtype, pl.Datetime) and series.dtype == pl.String:
        return series.str.to_datetime(time_unit="ms", time_zone="UTC", strict=True)
    kind = series.dtype
    if isinstance(dtype, pl.Datetime) and isinstance(kind, pl.Datetime) and kind.time_zone is None:
        return series.dt.replace_time_zone("UTC").cast(dtype)
    return series.cast(dtype)


def _split(series: pl.Series) -> pl.Series:
    """Words of a cell, stripped, lower case; a cell without one is null."""
    words = pl.col(series.name).str.to_lowercase().str.replace_all(TAG_SEPARATORS, "|").str.split("|")
    stripped = words.list.eval(pl.element().str.strip_chars())
    cleaned = stripped.list.eval(pl.element().filter(pl.element() != ""))
    table = series.to_frame().select(cleaned)
    return table.select(pl.when(pl.col(series.name).list.len() > 0).then(pl.col(series.name)))[series.name]
