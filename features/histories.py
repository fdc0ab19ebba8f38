"""The latest events of each user at an instant, out of a log held in flat arrays.

A log is in compressed rows: the events of user u stand at `offsets[u]:offsets[u + 1]`, oldest first.
Looking up a history "as of then" is a binary search per user and one gather, for any number of users at
once.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features.contracts import EVENT_CODES, EVENTS, HISTORY_LENGTH, NO_KEY, Floats, Histories, Int64s

POSITIVE_SHARE = 0.5
"""A play of at least this share of the video says "liked it"."""

POSITIVE_WATCH_S = 5.0
"""The same for a video of unknown duration, seconds."""


@dataclass(frozen=True)
class EventLog:
    """All events but impressions, by user, oldest first."""

    user_ids: tuple[str, ...]
    """(u,), sorted, unique."""
    offsets: Int64s
    """int64, (u + 1,); where each user's events begin and end."""
    video_keys: Int64s
    """int64, (m,)."""
    events: npt.NDArray[np.uint8]
    """Event codes, uint8, (m,)."""
    ts_ms: Int64s
    """ms since the epoch, int64, (m,); 0 where there is no time."""
    watch_s: Floats
    """Watched seconds, float32, (m,); NaN where unknown."""
    has_times: bool
    """True where at least one event has a time."""

    def user_code(self, user_id: str) -> int:
        """Place of the user in `user_ids`, or -1."""
        at = bisect.bisect_left(self.user_ids, user_id)
        return at if at < len(self.user_ids) and self.user_ids[at] == user_id else -1

    def user_codes(self, user_ids: list[str]) -> Int64s:
        """Place of each user in `user_ids`, int64, -1 where unknown."""
        places = {user_id: code for code, user_id in enumerate(self.user_ids)}
        return np.array([places.get(user_id, -1) for user_id in user_ids], np.int64)


@dataclass(frozen=True, slots=True)
class LogCounts:
    """What became of the rows of a log."""

    rows: int
    """Rows looked at, impressions included."""
    used: int
    """Rows of known videos and named users, impressions included."""
    unknown_video: int
    """Rows left out because the catalogue has no such video."""
    without_user: int
    """Rows of known videos left out because they name no user."""


def positive_mask(
    events: npt.NDArray[np.uint8], watch_s: Floats, duration_s: Floats
) -> npt.NDArray[np.bool_]:
    """True where an event says that the user liked the video; any shape, all three alike.

    A like, share or follow; a play watched to half of the video or more, of at least 5 s where the duration
    is unknown, or with no watched time at all.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(duration_s > 0, watch_s / duration_s >= POSITIVE_SHARE, watch_s >= POSITIVE_WATCH_S)
    liked = np.isin(events, [EVENT_CODES[name] for name in ("like", "share", "follow")])
    return np.asarray(liked | ((events == EVENT_CODES["play"]) & (np.isnan(watch_s) | share)))


def build_event_log(interactions: pl.DataFrame, catalogue: pl.DataFrame) -> tuple[EventLog, LogCounts]:
    """The log of all events but impressions, and what was left out.

    Args:
        interactions: columns of INTERACTIONS, any order of rows; a `video_key` column is ignored.
        catalogue: `video_id` and `video_key`.
    """
    known = interactions.drop("video_key", strict=False).join(
        catalogue.select("video_id", "video_key"), on="video_id", how="inner"
    )
    named = known.filter(pl.col("user_id").is_not_null())
    counts = LogCounts(len(interactions), len(named), len(interactions) - len(known), len(known) - len(named))
    used = (
        named.filter(pl.col("event") != "impression")
        .with_columns(ts_ms=pl.col("ts").dt.epoch("ms").fill_null(0))
        .sort("user_id", "ts_ms", "order", "event_key")
    )
    lengths = used.group_by("user_id", maintain_order=True).len()
    codes = used["event"].replace_strict(list(EVENTS), list(range(len(EVENTS))), return_dtype=pl.UInt8)
    log = EventLog(
        user_ids=tuple(lengths["user_id"]),
        offsets=np.concatenate([[0], np.cumsum(lengths["len"].to_numpy().astype(np.int64))]).astype(np.int64),
        video_keys=used["video_key"].to_numpy().astype(np.int64),
        events=codes.to_numpy().astype(np.uint8),
        ts_ms=used["ts_ms"].to_numpy().astype(np.int64),
        watch_s=used["watch_s"].cast(pl.Float32).fill_null(float("nan")).to_numpy().astype(np.float32),
        has_times=bool((used["ts_ms"] != 0).any()),
    )
    return log, counts


def ends_before(log: EventLog, users: Int64s, ts_ms: Int64s) -> Int64s:
    """Index one past each user's last event strictly before an instant, into the log's arrays.

    Args:
        log: the log.
        users: codes, int64, (n,); -1 is a user without events.
        ts_ms: instants, int64, (n,).

    Returns:
        int64, (n,); `offsets[user]` where there is no earlier event, 0 for the user -1.
    """
    low, high = _bounds(log, users)
    while True:  # a binary search for all users at once: halves every open interval
        open_ = low < high
        if not open_.any():
            return low
        middle = (low + high) // 2
        earlier = open_ & (log.ts_ms[np.minimum(middle, len(log.ts_ms) - 1)] < ts_ms)
        low = np.where(earlier, middle + 1, low)
        high = np.where(open_ & ~earlier, middle, high)


def ends_of(log: EventLog, users: Int64s) -> Int64s:
    """Index one past each user's last event, int64, (n,); 0 for the user -1."""
    return _bounds(log, users)[1]


def gather_histories(log: EventLog, users: Int64s, ends: Int64s, length: int = HISTORY_LENGTH) -> Histories:
    """The latest events of users, newest first.

    Args:
        log: the log.
        users: codes, int64, (n,); -1 gives an empty history.
        ends: index one past the newest event to take, int64, (n,): from `ends_before` or `ends_of`.
        length: width h of the result; longer histories lose their oldest events.
    """
    if not len(log.video_keys):
        return Histories.empty(len(users), length)
    starts, _ = _bounds(log, users)
    at = ends[:, None] - 1 - np.arange(length)  # (n, h)
    inside = at >= starts[:, None]
    at = np.where(inside, at, 0)
    return Histories(
        np.where(inside, log.video_keys[at], NO_KEY),
        np.where(inside, log.events[at], 0).astype(np.uint8),
        np.where(inside, log.ts_ms[at], 0),
        np.where(inside, log.watch_s[at], np.float32(np.nan)).astype(np.float32),
        inside.sum(axis=1).astype(np.int32),
    )


def _bounds(log: EventLog, users: Int64s) -> tuple[Int64s, Int64s]:
    known = users >= 0
    starts = np.where(known, log.offsets[np.where(known, users, 0)], 0)
    ends = np.where(known, log.offsets[np.where(known, users, 0) + known], 0)
    return starts, ends
