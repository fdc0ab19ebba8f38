"""What happened to each video in the last day and hours: live counts as of a watermark.

A watermark W is a whole minute. The day is the clock hour of W and the 23 before it, the hours are that hour
and the one before, both up to W, by when events were known. A log answers for any (video, W); live, counts
of whole clock hours are kept and summed. Both are the same integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.contracts import ACTIVITY_NAMES, ACTIVITY_PERIOD_MS, DAY_MS, EVENTS, Int64s
from features.errors import BadInput
from features.event_log import code_expr, is_counted, known_expr, ts_expr

Int32s = npt.NDArray[np.int32]

HOUR_MS: Final = 3_600_000
DAY_HOURS: Final = 24
"""Clock hours that a day of activity spans, the one of the watermark included."""

RECENT_HOURS: Final = 2
"""The same for the hours."""

_KINDS: Final = len(EVENTS)
_MINUTE_BITS: Final = 33  # an instant below LATEST_MS, in minutes
_LOOKED_UP: Final = 500_000


@dataclass(frozen=True, slots=True)
class ActivityLog:
    """When each video's events were known, by kind."""

    packed: Int64s
    """(row of the video * kinds + event code) << 33 | minute since the epoch, int64, (m,), rising."""


@dataclass(frozen=True, slots=True)
class HourCounts:
    """Events of one clock hour by video and kind, as far as they were known at a watermark."""

    hour_ms: int
    """Where the hour begins, ms since the epoch."""
    watermark_ms: int
    """Up to where events are counted, at most the end of the hour, ms since the epoch."""
    video_keys: Int64s
    """Videos with an event, int64, (m,), rising."""
    counts: Int32s
    """Events by kind, int32, (m, len(EVENTS))."""

    def __post_init__(self) -> None:
        if self.hour_ms % HOUR_MS or not self.hour_ms <= self.watermark_ms <= self.hour_ms + HOUR_MS:
            raise BadInput(
                f"hour {self.hour_ms} and watermark {self.watermark_ms} do not fit: the watermark lies in "
                "the hour, which is a whole one"
            )
        if self.counts.shape != (len(self.video_keys), _KINDS):
            raise BadInput(
                f"counts have shape {self.counts.shape}, expected {(len(self.video_keys), _KINDS)}"
            )


def watermark(t_ms: Int64s) -> Int64s:
    """The watermark of a request at an instant that noted none, ms, int64, same shape, >= 0."""
    return np.asarray(np.maximum(t_ms // ACTIVITY_PERIOD_MS - 1, 0) * ACTIVITY_PERIOD_MS)


def build_activity_log(interactions: pl.DataFrame, videos: pl.DataFrame) -> ActivityLog:
    """The events of videos that have a time, are not beyond the rate limit and became known within a day.

    What arrives later is no sign of what is going on; leaving it out lets the keeper count from the newest
    days of the log alone.

    Args:
        interactions: `video_id, event, ts, received_at, excess` of INTERACTIONS, any order.
        videos: `video_id` and `row`, the row of the video in what is asked for later.
    """
    found = (
        interactions.join(videos.select("video_id", "row"), on="video_id", how="inner")
        .filter(is_counted())
        .select("row", code=code_expr(), known=known_expr(), ts=ts_expr())
        .filter((pl.col("ts") > 0) & (pl.col("known") - pl.col("ts") < DAY_MS))
    )
    series = found["row"].to_numpy().astype(np.int64) * _KINDS + found["code"].to_numpy()
    packed = (series << _MINUTE_BITS) | (found["known"].to_numpy() // ACTIVITY_PERIOD_MS)
    return ActivityLog(np.sort(packed))


def activity_at(log: ActivityLog, rows: npt.NDArray[np.integer], watermarks_ms: Int64s) -> Int32s:
    """Activity of videos as of watermarks, int32, (..., len(ACTIVITY_NAMES)).

    Args:
        log: the log.
        rows: rows of the videos, any shape; -1 is no video and has no activity.
        watermarks_ms: whole minutes, ms since the epoch; of a shape that can be spread over that of `rows`.
    """
    marks = np.broadcast_to(_checked(watermarks_ms), rows.shape).ravel()
    flat = rows.astype(np.int64).ravel()
    out = np.zeros((len(flat), len(ACTIVITY_NAMES)), np.int32)
    for begin in range(0, len(flat), _LOOKED_UP):
        part = slice(begin, begin + _LOOKED_UP)
        out[part] = _look_up(log, flat[part], marks[part])
    return out.reshape(*rows.shape, len(ACTIVITY_NAMES))


def hour_counts(log: ActivityLog, video_keys: Int64s, hour_ms: int, watermark_ms: int) -> HourCounts:
    """Events of one clock hour before a watermark.

    Args:
        log: the log.
        video_keys: key of each row, int64, (v,), rising.
        hour_ms: where the hour begins.
        watermark_ms: a whole minute; an hour that lies wholly before it is complete.
    """
    until = min(max(int(_checked(np.array(watermark_ms))), hour_ms), hour_ms + HOUR_MS)
    minutes = log.packed & ((1 << _MINUTE_BITS) - 1)
    inside = (minutes >= hour_ms // ACTIVITY_PERIOD_MS) & (minutes < until // ACTIVITY_PERIOD_MS)
    series = log.packed[inside] >> _MINUTE_BITS
    rows, places = np.unique(series // _KINDS, return_inverse=True)
    counts = np.bincount(places * _KINDS + series % _KINDS, minlength=len(rows) * _KINDS)
    return HourCounts(hour_ms, until, video_keys[rows], counts.reshape(-1, _KINDS).astype(np.int32))


def hours_of(watermark_ms: int) -> list[int]:
    """Beginnings of the clock hours that the activity as of a watermark needs, oldest first, ms."""
    newest = watermark_ms // HOUR_MS * HOUR_MS
    return [newest - back * HOUR_MS for back in range(DAY_HOURS - 1, -1, -1)]


def sum_hours(hours: Sequence[HourCounts], video_keys: Int64s, watermark_ms: int) -> Int32s:
    """Activity of all videos as of a watermark, int32, (v, len(ACTIVITY_NAMES)).

    Args:
        hours: counts of clock hours, any order, none twice; an hour that is absent had no events, and those
            before the day are passed over.
        video_keys: key of each row of the result, int64, (v,), rising; other videos are passed over.
        watermark_ms: a whole minute.

    Raises:
        BadInput: an hour is given twice, or was not counted up to the watermark.
    """
    wanted = hours_of(int(_checked(np.array(watermark_ms))))
    out = np.zeros((len(video_keys), 2, _KINDS), np.int32)
    seen: set[int] = set()
    for hour in hours:
        if hour.hour_ms not in wanted:
            continue
        if hour.hour_ms in seen:
            raise BadInput(f"hour {hour.hour_ms} is given twice; give each hour's newest counts")
        seen.add(hour.hour_ms)
        _check_counted(hour, watermark_ms)
        rows, given = _meet(video_keys, hour.video_keys)
        out[rows, 0] += hour.counts[given]
        if hour.hour_ms in wanted[-RECENT_HOURS:]:
            out[rows, 1] += hour.counts[given]
    return out.reshape(len(video_keys), len(ACTIVITY_NAMES))


def _look_up(log: ActivityLog, rows: Int64s, marks: Int64s) -> Int32s:
    """Activity of (row, watermark) pairs, each different pair looked up once, (n, len(ACTIVITY_NAMES))."""
    minutes = marks // ACTIVITY_PERIOD_MS
    pairs, places = np.unique((rows << _MINUTE_BITS) | minutes, return_inverse=True)
    series = (pairs >> _MINUTE_BITS)[:, None] * _KINDS + np.arange(_KINDS)  # (p, kinds); -1 is below all
    until = (pairs & ((1 << _MINUTE_BITS) - 1))[:, None]
    newest = until // 60 * 60

    def before(minute: Int64s) -> Int64s:
        places = (series << _MINUTE_BITS) | np.maximum(minute, 0)
        return np.asarray(np.searchsorted(log.packed, places), np.int64)

    end = before(until)
    day = end - before(newest - 60 * (DAY_HOURS - 1))
    hours = end - before(newest - 60 * (RECENT_HOURS - 1))
    found = np.concatenate([day, hours], axis=1).astype(np.int32)
    return np.where((rows >= 0)[:, None], found[places], np.int32(0))


def _checked(watermarks_ms: Int64s) -> Int64s:
    odd = watermarks_ms[watermarks_ms % ACTIVITY_PERIOD_MS != 0]
    if odd.size:
        raise BadInput(
            f"watermark {int(odd.flat[0])} is not a multiple of {ACTIVITY_PERIOD_MS} ms; see `watermark`"
        )
    return watermarks_ms


def _check_counted(hour: HourCounts, watermark_ms: int) -> None:
    needed = min(hour.hour_ms + HOUR_MS, watermark_ms)
    if hour.watermark_ms != needed:
        raise BadInput(
            f"hour {hour.hour_ms} is counted up to {hour.watermark_ms}, not up to {needed}, which the "
            f"watermark {watermark_ms} needs; count it again"
        )


def _meet(video_keys: Int64s, given: Int64s) -> tuple[Int64s, Int64s]:
    """Rows of the keys that both have, in the first and in the second."""
    if not len(video_keys):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    at = np.minimum(np.searchsorted(video_keys, given), len(video_keys) - 1)
    found = np.flatnonzero(video_keys[at] == given)
    return at[found], found
