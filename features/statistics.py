"""What the log says of each video: counts, smoothed rates and decayed popularity, as of an instant.

All is folded from whole numbers: events of a video by the day they happened, the day they were known and
their kind. So neither the order of rows nor reading them in pieces changes a bit. Time is counted in whole
days, so that what the nightly job computes holds for the day. Rates are shrunk towards the rate of all videos
(Bayesian smoothing with a prior of `PRIOR_COUNT` observations), so a video with two plays claims little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.contracts import DAY_MS, EVENT_CODES, Floats, Int64s, VideoTable
from features.event_log import code_expr, is_counted, known_expr, ts_expr
from features.histories import positive_mask
from features.videos import video_rows

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
    "creator_positives",
    "creator_complete_rate",
    "creator_like_rate",
)
"""Columns of `video_statistics`: log1p counts, log1p decayed positives (half-lives 7 days and 1 day), the
logarithm of recent over usual daily positives, rates in [0, 1], and the same of all videos by the creator
(0 and the rates of all videos where the creator is unknown)."""

PRIOR_COUNT: Final = 20.0
LONG_HALF_LIFE_DAYS: Final = 7.0
SHORT_HALF_LIFE_DAYS: Final = 1.0

UNTIMED: Final = -(2**31)
"""Stands for the day of events without a time."""

_F64 = npt.NDArray[np.float64]
_CELL: Final = ("row", "day", "known_day", "kind", "positive")


@dataclass(frozen=True, slots=True)
class DailyCounts:
    """How many events each video had, by day and kind: what statistics are folded from."""

    cells: pl.DataFrame
    """`row` Int32, `day` Int32, `known_day` Int32, `kind` UInt8, `positive` Boolean: each combination once,
    in this order; `events` Int64."""
    phase_ms: int = 0
    """Where in the UTC day a day begins, ms, [0, DAY_MS)."""


def video_statistics(interactions: pl.DataFrame, videos: VideoTable, as_of_ms: int | None) -> Floats:
    """Statistics of every video, float32, (n_videos, len(STATISTIC_NAMES)), finite.

    Args:
        interactions: columns of INTERACTIONS; rows of other videos and excess are passed over.
        videos: the rows of the result.
        as_of_ms: only events that had happened and been received before it count; events without a time never
            do. None counts all, and gives events without a time the age 0 where none has a time.
    """
    if as_of_ms is not None:
        return summarise(daily_counts(interactions, videos, as_of_ms % DAY_MS), videos, as_of_ms)
    counted = interactions.filter(is_counted()).join(video_rows(videos), on="video_id", how="semi")
    latest = counted.select(known_expr().max()).item()
    instant = 0 if latest is None else int(latest) + 1
    return summarise(daily_counts(interactions, videos, instant % DAY_MS), videos, None, instant)


def statistics_by_day(interactions: pl.DataFrame, videos: VideoTable, days_ms: Int64s) -> dict[int, Floats]:
    """`video_statistics` as of each of these instants, with one pass over the frame for each time of day."""
    days = np.unique(days_ms)
    counts = {
        int(phase): daily_counts(interactions, videos, int(phase)) for phase in np.unique(days % DAY_MS)
    }
    return {int(day): summarise(counts[int(day % DAY_MS)], videos, int(day)) for day in days}


def daily_counts(interactions: pl.DataFrame, videos: VideoTable, phase_ms: int = 0) -> DailyCounts:
    """The counts of a frame; those of a log are the `merge_counts` of its pieces.

    Args:
        interactions: `video_id, event, ts, received_at, watch_s, excess` of INTERACTIONS, any order.
        videos: whose events are counted.
        phase_ms: where in the UTC day a day begins, ms.
    """
    found = (
        interactions.select("video_id", "event", "ts", "received_at", "watch_s", "excess")
        .filter(is_counted())
        .join(video_rows(videos), on="video_id", how="inner")
        .select(
            "row",
            day=_day(ts_expr(), phase_ms),
            known_day=_day(known_expr(), phase_ms),
            kind=code_expr(),
            w="watch_s",
        )
    )
    watch = found["w"].cast(pl.Float32).fill_null(float("nan")).to_numpy().astype(np.float32)
    positive = positive_mask(found["kind"].to_numpy(), watch, videos.duration_s[found["row"].to_numpy()])
    cells = found.with_columns(positive=pl.Series(positive, dtype=pl.Boolean)).group_by(_CELL)
    return DailyCounts(cells.agg(events=pl.len().cast(pl.Int64)).sort(_CELL), phase_ms)


def merge_counts(parts: Sequence[DailyCounts]) -> DailyCounts:
    """The counts of all parts together, at least one; their days begin alike."""
    cells = pl.concat([part.cells for part in parts]).group_by(_CELL).agg(pl.col("events").sum())
    return replace(parts[0], cells=cells.sort(_CELL))


def summarise(
    counts: DailyCounts, videos: VideoTable, as_of_ms: int | None, instant_ms: int | None = None
) -> Floats:
    """Statistics of every video from its counts, float32, (n_videos, len(STATISTIC_NAMES)).

    Args:
        counts: of these videos.
        videos: the rows of the result.
        as_of_ms: only what was known before counts; it lies where the counts' days begin. None counts all.
        instant_ms: with `as_of_ms` None: from where ages are counted.
    """
    instant = as_of_ms if as_of_ms is not None else instant_ms or 0
    today = (instant - counts.phase_ms) // DAY_MS
    cells = counts.cells
    if as_of_ms is not None:
        cells = cells.filter((pl.col("known_day") < today) & (pl.col("day") > UNTIMED))
    return _summarise(_columns(cells, today), videos)


@dataclass(frozen=True, slots=True)
class _Cells:
    rows: Int64s
    kinds: npt.NDArray[np.uint8]
    positive: npt.NDArray[np.bool_]
    ages: _F64
    """Whole days, >= 0; infinite where there is no time and other events have one."""
    events: _F64


def _columns(cells: pl.DataFrame, today: int) -> _Cells:
    days = cells["day"].to_numpy().astype(np.int64)
    untimed = days == UNTIMED
    ages = np.where(untimed, 0.0 if untimed.all() else np.inf, np.maximum(today - 1 - days, 0))
    return _Cells(
        cells["row"].to_numpy().astype(np.int64),
        cells["kind"].to_numpy(),
        cells["positive"].to_numpy(),
        ages,
        cells["events"].to_numpy().astype(np.float64),
    )


def _summarise(cells: _Cells, videos: VideoTable) -> Floats:
    n = len(videos)

    def count(mask: npt.NDArray[np.bool_], weights: _F64 | float = 1.0) -> _F64:
        # One addition after the other in the order of the cells, so always to the same bit.
        weighted = (cells.events * weights)[mask]
        return np.bincount(cells.rows[mask], weights=weighted, minlength=n).astype(np.float64)

    kind = {name: cells.kinds == code for name, code in EVENT_CODES.items()}
    shown, plays = count(kind["impression"]), count(kind["play"])
    completes, positives = count(kind["play"] & cells.positive), count(cells.positive)
    likes = count(kind["like"] | kind["share"] | kind["follow"])
    skips = count(kind["skip"] | kind["dislike"])
    usual = count(cells.positive, np.exp2(-cells.ages / LONG_HALF_LIFE_DAYS))
    recent = count(cells.positive, np.exp2(-cells.ages / SHORT_HALF_LIFE_DAYS))
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
        np.log1p(_of_creator(videos, positives)),
        _rate(_of_creator(videos, completes), _of_creator(videos, plays), completes.sum(), plays.sum()),
        _rate(_of_creator(videos, likes), _of_creator(videos, plays), likes.sum(), plays.sum()),
    )
    return np.stack(columns, axis=1).astype(np.float32)


def _of_creator(videos: VideoTable, counts: _F64) -> _F64:
    """Whole counts of all videos by each video's creator, float64, (n,); 0 where the creator is unknown."""
    known = videos.creators >= 0
    code = np.where(known, videos.creators, 0)
    total = np.bincount(code, weights=np.where(known, counts, 0.0), minlength=1)
    return np.where(known, total[code], 0.0)


def _rate(hits: _F64, trials: _F64, all_hits: float | None = None, all_trials: float | None = None) -> _F64:
    """Smoothed hits per trial, [0, 1]; the prior is the rate of all, by default of the sums."""
    prior = (hits.sum() if all_hits is None else all_hits) / max(
        trials.sum() if all_trials is None else all_trials, 1.0
    )
    return np.asarray(np.clip((hits + PRIOR_COUNT * prior) / (trials + PRIOR_COUNT), 0.0, 1.0))


def _day(ms: pl.Expr, phase_ms: int) -> pl.Expr:
    """Number of the day that an instant lies in, Int32; UNTIMED where there is none (0)."""
    return pl.when(ms > 0).then((ms - phase_ms).floordiv(DAY_MS)).otherwise(UNTIMED).cast(pl.Int32)
