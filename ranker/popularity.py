"""What everybody likes now, and what is new: scores that need no history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.contracts import DAY_MS, Floats, Int64s
from ranker.splits import positive_rows

if TYPE_CHECKING:
    from features.pipeline import FeatureSet

HALF_LIFE_DAYS = 7.0
"""A like of this age counts half."""
FRESH_HALF_LIFE_DAYS = 3.0


def popularity(features: FeatureSet, half_life_days: float = HALF_LIFE_DAYS) -> Floats:
    """log1p of each video's likers, each counted once, halved every half-life; float32, (videos,).

    Without times every liker counts one.
    """
    frame = features.interactions
    liked = frame.filter(positive_rows(features)).select("user_id", "video_key", "ts")
    latest = liked.group_by("user_id", "video_key").agg(pl.col("ts").max()).sort("video_key", "user_id")
    rows = features.videos.rows_of(latest["video_key"].to_numpy())
    at = latest["ts"].dt.epoch("ms").fill_null(0).to_numpy()
    now = int(at.max(initial=0))
    age_days = np.where(at > 0, (now - at) / DAY_MS, 0.0)
    weights = 0.5 ** (age_days / half_life_days)
    known = rows >= 0
    return np.log1p(np.bincount(rows[known], weights[known], len(features.videos))).astype(np.float32)


def freshness(published_ms: Int64s, now_ms: Int64s) -> Floats:
    """How new a video is at an instant, float32, shape of both, in [0, 1].

    0 where the publication or the instant is unknown (0), or the video is not out yet.
    """
    age_days = (now_ms - published_ms) / DAY_MS
    known = (published_ms > 0) & (now_ms > 0) & (age_days >= 0)
    return np.where(known, 0.5 ** (np.maximum(age_days, 0) / FRESH_HALF_LIFE_DAYS), 0.0).astype(np.float32)
