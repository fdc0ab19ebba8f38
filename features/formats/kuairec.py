"""KuaiRec: an almost fully observed matrix of users and short videos of Kuaishou.

Source: Gao et al., "KuaiRec: A Fully-observed Dataset and Insights for Evaluating Recommender Systems", CIKM
2022. `big_matrix.csv` and `small_matrix.csv` are the events; `item_daily_features.csv`, `item_categories.csv`
and `kuairec_caption_category.csv` the catalogue; features of users and their network are left.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from features.formats.log_format import (
    Batch,
    LogFormat,
    Role,
    acts,
    divided,
    id_text,
    is_set,
    mapped,
    one_row_each,
    optional,
    read_videos,
)
from features.formats.readers import Source, columns_of, is_table
from features.formats.readers_text import csv_chunks
from features.timestamps import parse_times

_LOGS: Final = ("big_matrix", "small_matrix")
_VIDEOS: Final = {
    "item_daily_features": ("video_id", "author_id"),
    "item_categories": ("video_id", "feat"),
    "kuairec_caption_category": ("video_id", "caption"),
}
_LEVELS: Final = tuple(f"{level}_level_category_name" for level in ("first", "second", "third"))
_UNKNOWN: Final = ("", "UNKNOWN", "nan")


def _role(path: Path) -> Role | None:
    if not is_table(path):
        return None
    if path.stem in _LOGS:
        return "events"
    return "videos" if path.stem in _VIDEOS else None


def _needs(path: Path) -> tuple[str, ...]:
    return _VIDEOS.get(path.stem, ("user_id", "video_id", "play_duration", "timestamp"))


def _events(path: Path, chunk_bytes: int) -> Iterator[Batch]:
    return mapped(path, chunk_bytes, to_events)


def to_events(source: Source) -> pl.DataFrame:
    """The events of a chunk: for each row an impression, and a play where it was watched at all.

    A short watch is no skip: the data does not say that the user left on purpose. Some rows have no
    `timestamp`; their order is that of the file. The clock is that of `time`.
    """
    columns = source.frame.columns
    stamps = pl.col("timestamp").cast(pl.String).str.strip_chars()
    rows = source.frame.select(
        "row",
        id_text("user_id").alias("user_id"),
        id_text("video_id").alias("video_id"),
        pl.when(~stamps.str.to_lowercase().is_in(_UNKNOWN)).then(stamps).alias("ts"),
        divided("play_duration", 1000).alias("watch_s"),
        optional("time", columns).cast(pl.String).alias("local"),
        acts(("play", is_set("play_duration"))),
    )
    local, ts = (parse_times(rows[name]).dt.epoch("ms") for name in ("local", "ts"))
    offset = ((local - ts) / 900_000).round() * 15
    offset = offset.set(~offset.is_between(-14 * 60, 14 * 60), None).cast(pl.Int16).alias("utc_offset_min")
    return one_row_each(rows.drop("local").with_columns(offset), pl.col("event"))


def _videos(path: Path) -> pl.DataFrame:
    if path.stem == "item_daily_features":
        return _daily(path)
    video = id_text("video_id").alias("video_id")
    if path.stem == "item_categories":
        words = pl.col("feat").cast(pl.String).str.strip_chars("[] ").str.split(",")
        return read_videos(path, video, _words(words))
    return _captions(path, video)


def _daily(path: Path) -> pl.DataFrame:
    """The latest day's row of each video."""
    columns = list(columns_of(path))
    uploaded = optional("upload_dt", columns).cast(pl.String).str.to_datetime("%Y-%m-%d", strict=False)
    seconds = optional("video_duration", columns).cast(pl.Float64, strict=False) / 1000
    rows = read_videos(
        path,
        id_text("video_id").alias("video_id"),
        id_text("author_id").alias("creator_id"),
        uploaded.dt.replace_time_zone("UTC").dt.cast_time_unit("ms").alias("published_at"),
        seconds.cast(pl.Float32).alias("duration_s"),
        _words(pl.concat_list(optional("video_tag_name", columns).cast(pl.String))),
    )
    return rows.unique("video_id", keep="last", maintain_order=True)


def _captions(path: Path, video: pl.Expr) -> pl.DataFrame:
    """Captions and names of categories; the release has bytes in it that are no UTF-8."""
    columns = list(columns_of(path))
    named = pl.concat_list(optional(level, columns) for level in _LEVELS)
    title = pl.col("caption").str.strip_chars()
    kept = (video, pl.when(~title.is_in(_UNKNOWN)).then(title).alias("title"), _words(named))
    return pl.concat(frame.select(kept) for frame in csv_chunks(path, lossy=True))


def _words(words: pl.Expr) -> pl.Expr:
    word = pl.element().str.strip_chars()
    return words.list.eval(word.filter(word.is_not_null() & ~word.is_in(_UNKNOWN))).alias("tags")


KUAIREC: Final = LogFormat("kuairec", _role, _needs, _events, _videos)
