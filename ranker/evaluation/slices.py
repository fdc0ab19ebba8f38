"""For whom and when: the same metric by length of history, by day, and for videos that nobody had met."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from features.contracts import DAY_MS, Int64s
from ranker.evaluation.metrics import Bools, KeySets
from ranker.splits import positive_rows

if TYPE_CHECKING:
    from features.pipeline import FeatureSet
    from ranker.splits import Split, Truth

HISTORY_SLICES: Final = (("0", 0, 0), ("1-5", 1, 5), ("6-20", 6, 20), ("21+", 21, 2**62))
"""Name, fewest and most events before the cut."""


def history_sizes(parts: Split) -> Int64s:
    """Events of each user before the cut, impressions not counted, int64, (u,)."""
    codes, sizes = parts.truth.user_codes, np.diff(parts.train.log.offsets)
    if not len(sizes):
        return np.zeros(len(codes), np.int64)
    return np.where(codes >= 0, sizes[np.maximum(codes, 0)], 0).astype(np.int64)


def history_slices(sizes: Int64s) -> dict[str, Bools]:
    """Who is in which of HISTORY_SLICES."""
    return {name: (sizes >= least) & (sizes <= most) for name, least, most in HISTORY_SLICES}


def cold_keys(parts: Split) -> Int64s:
    """Keys of the catalogue that no user had met before the cut."""
    return np.setdiff1d(parts.train.videos.keys, parts.train.log.video_keys)


def days_of(relevant: KeySets, truth: Truth, features: FeatureSet) -> Int64s:
    """UTC day on which each relevant video was first liked, ms since the epoch, int64, (m,); -1 where
    unknown.

    Args:
        relevant: the relevant keys of the truth's users.
        truth: the users, and the cut.
        features: the whole feature set, with what was held out.
    """
    cut = int(truth.at_ms.min(initial=0))
    liked = features.interactions.select(
        "user_id", "video_key", pl.col("ts").dt.epoch("ms").alias("ms")
    ).filter(pl.Series(positive_rows(features), dtype=pl.Boolean))
    first = liked.filter(pl.col("ms") >= cut).group_by("user_id", "video_key").agg(pl.col("ms").min())
    wanted = pl.DataFrame(
        {
            "user_id": pl.Series(truth.users, dtype=pl.String).gather(relevant.users),
            "video_key": relevant.keys,
        }
    )
    found = wanted.join(first, on=["user_id", "video_key"], how="left", maintain_order="left")["ms"]
    ms = found.fill_null(-1).to_numpy()
    return np.where(ms >= 0, ms // DAY_MS * DAY_MS, -1).astype(np.int64)
