"""KuaiRand (Pure, 1K and 27K): short videos of Kuaishou, with a share of random exposures.

Source: Gao et al., "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos",
CIKM 2022. Of a release, `log_*.csv` are the events and `video_features_basic_*.csv` the catalogue; features
of users and monthly statistics of videos are left.
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

_LOG: Final = ("user_id", "video_id", "time_ms", "is_click", "play_time_ms")
_VIDEOS: Final = ("video_id", "author_id")
_HOUR_MS: Final = 3_600_000


def _role(path: Path) -> Role | None:
    name = path.name.lower()
    if not is_table(path):
        return None
    if name.startswith("video_features_basic"):
        return "videos"
    return "events" if name.startswith("log_") else None


def _needs(path: Path) -> tuple[str, ...]:
    return _VIDEOS if _role(path) == "videos" else _LOG


def _events(path: Path, chunk_bytes: int) -> Iterator[Batch]:
    return mapped(path, chunk_bytes, to_events)


def to_events(source: Source) -> pl.DataFrame:
    """The events of a chunk: for each row an impression, and one more for each thing that the user did.

    `is_click` gives a play (in the one-column feed the data sets it for a valid play: to the end, or 7 s).
    Watched without it gives a skip: the data says that the play was not valid. Both carry the time watched.
    `is_like`, `is_follow`, `is_forward` (share) and `is_hate` (dislike) give one event each; comments and
    visits to a profile have no counterpart. Policy is `random` where `is_rand` is set, else `standard`; the
    log states no propensity and no place in the slate. The clock is that of `date` and `hourmin`.
    """
    frame = source.frame
    flags = {name: is_set(name) if name in frame.columns else pl.lit(False) for name in _FLAGS}
    watched = is_set("play_time_ms")
    acted = acts(
        ("play", flags["is_click"]),
        ("skip", watched & ~flags["is_click"]),
        ("like", flags["is_like"]),
        ("follow", flags["is_follow"]),
        ("share", flags["is_forward"]),
        ("dislike", flags["is_hate"]),
    )
    policy = pl.when(flags["is_rand"]).then(pl.lit("random")).otherwise(pl.lit("standard"))
    rows = frame.select(
        "row",
        id_text("user_id").alias("user_id"),
        id_text("video_id").alias("video_id"),
        pl.col("time_ms").alias("ts"),
        divided("play_time_ms", 1000).alias("watch_s"),
        policy.alias("policy"),
        pl.concat_str(pl.lit("tab "), optional("tab", frame.columns)).alias("surface"),
        _utc_offset(frame.columns).alias("utc_offset_min"),
        acted,
    )
    return one_row_each(rows, pl.col("event"))


_FLAGS: Final = ("is_click", "is_like", "is_follow", "is_forward", "is_hate", "is_rand")


def _utc_offset(columns: list[str]) -> pl.Expr:
    """The user's clock minus UTC, whole hours in minutes: only the hour of `hourmin` is told."""
    day = optional("date", columns).cast(pl.String).str.to_date("%Y%m%d", strict=False)
    local = day.dt.epoch("d") * 24
    hour = optional("hourmin", columns).cast(pl.Float64, strict=False).cast(pl.Int64, strict=False) // 100
    ts = pl.col("time_ms").cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    offset = (local + hour - ts // _HOUR_MS) * 60
    return pl.when(offset.is_between(-14 * 60, 14 * 60)).then(offset)


def _videos(path: Path) -> pl.DataFrame:
    columns = list(columns_of(path))
    tags = optional("tag", columns).cast(pl.String).str.split(",")
    uploaded = optional("upload_dt", columns).cast(pl.String).str.to_datetime("%Y-%m-%d", strict=False)
    seconds = optional("video_duration", columns).cast(pl.Float64, strict=False) / 1000
    return read_videos(
        path,
        id_text("video_id").alias("video_id"),
        id_text("author_id").alias("creator_id"),
        uploaded.dt.replace_time_zone("UTC").dt.cast_time_unit("ms").alias("published_at"),
        seconds.cast(pl.Float32).alias("duration_s"),
        tags.list.eval(pl.element().str.strip_chars()).alias("tags"),
    )


KUAIRAND: Final = LogFormat("kuairand", _role, _needs, _events, _videos)
