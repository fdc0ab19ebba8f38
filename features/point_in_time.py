"""Features as a live request at some instant would have computed them: the past, looked up exactly.

Statistics are those of the last night: as of the UTC day's start. Histories and counters hold what was known
before the request, activity what was known at the watermark it used. All goes through `assemble`, as live.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features.activity import ActivityLog, activity_at, build_activity_log, watermark
from features.assemble import FEATURE_NAMES, assemble
from features.contracts import DAY_MS, Context, Floats, Int64s, VideoTable
from features.counters import counters_at
from features.errors import BadInput
from features.event_log import EventLog, build_event_log
from features.histories import histories_at
from features.statistics import DailyCounts, daily_counts, summarise
from features.videos import video_rows


@dataclass(frozen=True)
class Past:
    """A log in the forms that features as of an instant are looked up in."""

    videos: VideoTable
    log: EventLog
    activity: ActivityLog
    """Of the videos' rows."""
    daily: DailyCounts
    """Of the videos' rows; days begin at midnight UTC."""


@dataclass(frozen=True, slots=True)
class Moments:
    """n pairs of a request and a candidate, whose features are wanted as of then."""

    users: Int64s
    """Codes of the log, int64, (n,); -1 is a user without events."""
    rows: npt.NDArray[np.int32]
    """Rows of the videos, int32, (n,); -1 gets all defaults."""
    context: Context
    """Of the requests, (n,)."""
    history_until_ms: Int64s
    """Histories and counters hold what was known strictly before, ms, int64, (n,)."""
    activity_at_ms: Int64s
    """Watermark of the activity, ms, int64, (n,)."""
    statistics_at_ms: Int64s
    """Instant that the videos' statistics describe, ms, int64, (n,)."""

    def __post_init__(self) -> None:
        given = (self.users, self.rows, self.history_until_ms, self.activity_at_ms, self.statistics_at_ms)
        sizes = {len(a) for a in given}
        if sizes != {len(self.context.now_ms)}:
            raise BadInput(f"moments have columns of lengths {sorted(sizes)}; all must be alike")

    def __len__(self) -> int:
        return len(self.users)

    @staticmethod
    def at(users: Int64s, rows: npt.NDArray[np.int32], context: Context) -> Moments:
        """Requests that saw all that was known before their instant, and noted nothing else."""
        now = context.now_ms
        return Moments(users, rows, context, now, watermark(now), now // DAY_MS * DAY_MS)

    def part(self, at: slice) -> Moments:
        """Some of the moments."""
        return Moments(
            self.users[at],
            self.rows[at],
            self.context.part(at),
            self.history_until_ms[at],
            self.activity_at_ms[at],
            self.statistics_at_ms[at],
        )


def read_past(interactions: pl.DataFrame, catalogue: pl.DataFrame, videos: VideoTable) -> Past:
    """The past that a log tells.

    Args:
        interactions: columns of INTERACTIONS.
        catalogue: `video_id` and `video_key`.
        videos: rows of the features.
    """
    return Past(
        videos,
        build_event_log(interactions, catalogue)[0],
        build_activity_log(interactions, video_rows(videos)),
        daily_counts(interactions, videos),
    )


def features_at(past: Past, moments: Moments) -> Floats:
    """Every feature of every moment, as live, float32, (n, len(FEATURE_NAMES)), finite.

    In a log without times all is seen, and time features take their defaults.
    """
    out = np.empty((len(moments), len(FEATURE_NAMES)), np.float32)
    order = np.argsort(moments.statistics_at_ms, kind="stable")
    sorted_ = _taken(moments, order)
    activity = activity_at(past.activity, sorted_.rows, sorted_.activity_at_ms)
    days = sorted_.statistics_at_ms
    starts = np.flatnonzero(np.append(True, np.diff(days) > 0)) if len(days) else days
    for start, end in zip(starts, [*starts[1:], len(days)], strict=True):
        part = slice(int(start), int(end))
        statistics = nightly_statistics(past.daily, past.videos, past.log.has_times, int(days[start]))
        out[order[part]] = features_of(past.videos, past.log, statistics, activity[part], sorted_.part(part))
    return out


def nightly_statistics(daily: DailyCounts, videos: VideoTable, has_times: bool, day_ms: int) -> Floats:
    """The statistics that requests of a UTC day read; of all events where the log has no times."""
    return summarise(daily, videos, day_ms if has_times else None)


def features_of(
    videos: VideoTable, log: EventLog, statistics: Floats, activity: npt.NDArray[np.int32], moments: Moments
) -> Floats:
    """The features of moments that share their statistics, (n, len(FEATURE_NAMES)); activity is (n, 14)."""
    users, until = moments.users, moments.history_until_ms
    matrix = assemble(
        videos,
        statistics,
        activity[:, None, :],
        histories_at(log, users, until),
        counters_at(log, users, until),
        moments.context,
        moments.rows[:, None],
    )
    return matrix[:, 0]


def _taken(moments: Moments, order: Int64s) -> Moments:
    context = moments.context
    return Moments(
        moments.users[order],
        moments.rows[order],
        Context(
            context.now_ms[order],
            context.utc_offset_min[order],
            tuple(context.device[i] for i in order) if context.device else (),
            tuple(context.surface[i] for i in order) if context.surface else (),
        ),
        moments.history_until_ms[order],
        moments.activity_at_ms[order],
        moments.statistics_at_ms[order],
    )
