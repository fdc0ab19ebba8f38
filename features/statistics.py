"""What the log says of each video: counts, smoothed rates and decayed popularity, as of an instant.

Time is counted in whole days, so that what the nightly job computes holds for the day. An event counts from
the moment it had both happened and reached us; rates are shrunk towards the rate of all videos (Bayesian
smoothing with a prior of `PRIOR_COUNT` observations), so a video with two plays claims little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.contracts import DAY_MS, EVENT_CODES, EVENTS, Floats, Int64s, VideoTable
from features.histories import positive_mask

STATISTIC_NAMES: Final = (
    "impressions",
    "plays",
    "positives",
    "popularity",
    "recent_popularity",
    "trend",
    "play_rate",
    "complete_rate",
    "like_rate",
    "skip_rate",
)
"""Columns of `video_statistics`: log1p counts, log1p decayed positives (half-lives 7 days and 1 day), the
logarithm of recent over usual daily positives, and rates in [0, 1]."""

PRIOR_COUNT: Final = 20.0
LONG_HALF_LIFE_DAYS: Final = 7.0
SHORT_HALF_LIFE_DAYS: Final = 1.0

_F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Events:
    """Events of known videos, sorted by when they became known; (m,) each."""

    rows: Int64s
    codes: npt.NDArray[np.uint8]
    positive: npt.NDArray[np.bool_]
    ts_ms: Int64s
    known_ms: Int64s


def video_statistics(interactions: pl.DataFrame, videos: VideoTable, as_of_ms: int | None) -> Floats:
    """Statistics of every video, float32, (n_videos, len(STATISTIC_NAMES)).

    Args:
        interactions: columns of INTERACTIONS; rows of other videos are passed over.
        videos: the rows of the result.
        as_of_ms: only events that had happened and been received before it count; events without a time never
            do. None counts all, and gives events without a time the age 0 where none has a time.
    """
    events = _collect(interactions, videos)
    instant = int(events.known_ms[-1]) + 1 if as_of_ms is None and len(events.known_ms) else as_of_ms or 0
    return _summarise(events if as_of_ms is None else _until(events, instant), len(videos), instant)


def statistics_by_day(interactions: pl.DataFrame, videos: VideoTable, days_ms: Int64s) -> dict[int, Floats]:
    """`video_statistics` as of each of these instants, with one pass over the frame."""
    events = _collect(interactions, videos)
    return {
        int(day): _summarise(_until(events, int(day)), len(videos), int(day)) for day in np.unique(days_ms)
    }


def _collect(interactions: pl.DataFrame, videos: VideoTable) -> _Events:
    ids = pl.DataFrame(
        {"video_id": list(videos.ids), "row": np.arange(len(videos))},
        schema_overrides={"video_id": pl.String},
    )
    found = (
        interactions.select("video_id", "event", "ts", "received_at", "watch_s")
        .join(ids, on="video_id", how="inner", maintain_order="left")
        .with_columns(
            ts_ms=pl.col("ts").dt.epoch("ms").fill_null(0), got=pl.col("received_at").dt.epoch("ms")
        )
        .with_columns(known_ms=pl.max_horizontal("ts_ms", "got"))
        .sort("known_ms", maintain_order=True)
    )
    rows = found["row"].to_numpy().astype(np.int64)
    codes = found["event"].replace_strict(list(EVENTS), list(range(len(EVENTS))), return_dtype=pl.UInt8)
    watch = found["watch_s"].cast(pl.Float32).fill_null(float("nan")).to_numpy().astype(np.float32)
    events = codes.to_numpy().astype(np.uint8)
    return _Events(
        rows,
        events,
        positive_mask(events, watch, videos.duration_s[rows]),
        found["ts_ms"].to_numpy().astype(np.int64),
        found["known_ms"].to_numpy().astype(np.int64),
    )


def _until(events: _Events, instant: int) -> _Events:
    end = int(np.searchsorted(events.known_ms, instant, side="left"))
    keep = np.flatnonzero((events.ts_ms[:end] > 0) & (events.ts_ms[:end] < instant))
    return _Events(
        events.rows[keep],
        events.codes[keep],
        events.positive[keep],
        events.ts_ms[keep],
        events.known_ms[keep],
    )


def _summarise(events: _Events, n: int, instant: int) -> Floats:
    def count(mask: npt.NDArray[np.bool_]) -> _F64:
        return np.bincount(events.rows[mask], minlength=n).astype(np.float64)

    kind = {name: events.codes == code for name, code in EVENT_CODES.items()}
    shown, plays = count(kind["impression"]), count(kind["play"])
    completes = count(kind["play"] & events.positive)
    positives = count(events.positive)
    likes = count(kind["like"] | kind["share"] | kind["follow"])
    skips = count(kind["skip"] | kind["dislike"])
    usual = _decayed(events, events.positive, n, instant, LONG_HALF_LIFE_DAYS)
    recent = _decayed(events, events.positive, n, instant, SHORT_HALF_LIFE_DAYS)
    columns = (
        np.log1p(shown),
        np.log1p(plays),
        np.log1p(positives),
        np.log1p(usual),
        np.log1p(recent),
        # Both are brought to events a day by the sum of their weights, about half-life / ln 2.
        np.log(
            (recent * np.log(2) / SHORT_HALF_LIFE_DAYS + 1) / (usual * np.log(2) / LONG_HALF_LIFE_DAYS + 1)
        ),
        _rate(plays, np.maximum(shown, plays)),
        _rate(completes, plays),
        _rate(likes, plays),
        _rate(skips, np.maximum(shown, plays + skips)),
    )
    return np.stack(columns, axis=1).astype(np.float32)


def _decayed(
    events: _Events, mask: npt.NDArray[np.bool_], n: int, instant: int, half_life_days: float
) -> _F64:
    """Sum of 2^(-age/half-life) of each video's events, (n,); where no event has a time, all are new."""
    ts = events.ts_ms[mask]
    if not events.ts_ms.any():
        return np.bincount(events.rows[mask], minlength=n).astype(np.float64)
    age_days = np.maximum(instant - 1 - ts, 0) // DAY_MS
    weights = np.where(ts > 0, np.exp2(-age_days / half_life_days), 0.0)
    return np.bincount(events.rows[mask], weights=weights, minlength=n).astype(np.float64)


def _rate(hits: _F64, trials: _F64) -> _F64:
    prior = hits.sum() / max(trials.sum(), 1.0)
    return np.asarray(np.clip((hits + PRIOR_COUNT * prior) / (trials + PRIOR_COUNT), 0.0, 1.0))
