"""Open Bandit Dataset: slates of a fashion shop, chosen at random or by Bernoulli Thompson sampling.

Source: Saito et al., "Open Bandit Dataset and Pipeline", NeurIPS Datasets and Benchmarks 2021. One row is one
item in one of three places, with the probability with which it came there. No user is named.
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
    id_text,
    is_set,
    mapped,
    one_row_each,
    read_videos,
)
from features.formats.readers import Source, columns_of, is_table

_LOG: Final = ("timestamp", "item_id", "position", "click", "propensity_score")
_POLICIES: Final = ("random", "bts")
_TAGS: Final = "item_feature_"


def _role(path: Path) -> Role | None:
    if not is_table(path):
        return None
    return "videos" if path.name.startswith("item_context") else "events"


def _needs(path: Path) -> tuple[str, ...]:
    return ("item_id",) if _role(path) == "videos" else _LOG


def _events(path: Path, chunk_bytes: int) -> Iterator[Batch]:
    return mapped(path, chunk_bytes, to_events)


def policy_of(path: Path) -> str | None:
    """`random` or `bts`, as the file's name or the nearest folder says; None where nothing does."""
    for part in reversed(path.absolute().parts):
        words = part.lower().replace("-", "_").split("_")
        for policy in _POLICIES:
            if policy in (word.split(".")[0] for word in words):
                return policy
    return None


def to_events(source: Source) -> pl.DataFrame:
    """The events of a chunk: for each row an impression, and a play where it was clicked.

    Both carry the place (from 0; the log counts from 1), the propensity, the policy, and a `request_id` of
    the row, by which the click is joined to its impression. Features of users and their affinities to items
    have no column here.
    """
    policy = policy_of(source.path)
    place = pl.col("position").cast(pl.Float64, strict=False)
    rows = source.frame.select(
        "row",
        pl.lit(None, pl.String).alias("user_id"),
        id_text("item_id").alias("video_id"),
        pl.col("timestamp").alias("ts"),
        pl.coalesce((place - 1).cast(pl.String), pl.col("position").cast(pl.String)).alias("position"),
        pl.col("propensity_score").alias("propensity"),
        pl.lit(policy, pl.String).alias("policy"),
        pl.concat_str(pl.lit(f"{policy or 'bandit'}:{source.digest[:12]}:"), "row").alias("request_id"),
        acts(("play", is_set("click"))),
    )
    return one_row_each(rows, pl.col("event"))


def _videos(path: Path) -> pl.DataFrame:
    words = [name for name in columns_of(path) if name.startswith(_TAGS) and name != f"{_TAGS}0"]
    tags = pl.concat_list(pl.col(name).cast(pl.String) for name in words) if words else pl.lit(None)
    return read_videos(path, id_text("item_id").alias("video_id"), tags.alias("tags"))


OPENBANDIT: Final = LogFormat("openbandit", _role, _needs, _events, _videos)
