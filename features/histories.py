"""The latest events of each user at an instant, out of an `EventLog`.

Looking up a history "as of then" is two binary searches per user and one gather, for any number of users at
once. A late event stands where it happened, and is seen from the moment it was known.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.contracts import EVENT_CODES, HISTORY_LENGTH, NO_KEY, Floats, Histories, Int64s
from features.event_log import EventLog as EventLog
from features.event_log import LogCounts as LogCounts
from features.event_log import build_event_log as build_event_log

POSITIVE_SHARE = 0.5
"""A play of at least this share of the video says "liked it"."""

POSITIVE_WATCH_S = 5.0
"""The same for a video of unknown duration, seconds."""

_GATHERED = 2_000_000
"""Places of histories that are gathered at once."""


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


def histories_at(
    log: EventLog, users: Int64s, instants_ms: Int64s, length: int = HISTORY_LENGTH
) -> Histories:
    """What was known of each user's latest events before an instant, newest first.

    An event counts where it has a time and was known strictly before; in a log without times all do.

    Args:
        log: the log.
        users: codes, int64, (n,); -1 gives an empty history.
        instants_ms: ms since the epoch, int64, (n,).
        length: width h of the result; longer histories lose their oldest events.
    """
    if not log.has_times:
        return gather_histories(log, users, ends_of(log, users), length)
    starts = ends_before(log, users, np.ones(len(users), np.int64))  # events without a time come first
    ends = ends_before(log, users, instants_ms)
    low, high = _bounds(log, users)
    unknown = ends - first_at_least(log.known_sorted_ms, low, high, instants_ms)  # had happened, not arrived
    # Widths are rounded up to powers of two, so that few groups serve all the queries.
    extra = np.where(unknown > 0, 1 << np.ceil(np.log2(np.maximum(unknown, 1))).astype(np.int64), 0)
    out = Histories.empty(len(users), length)
    for width in np.unique(extra):
        group = np.flatnonzero(extra == width)
        step = max(1, _GATHERED // (length + int(width)))
        for at in (group[i : i + step] for i in range(0, len(group), step)):
            _put(out, at, _known_of(log, starts[at], ends[at], instants_ms[at], length, int(width)))
    return out


def ends_before(log: EventLog, users: Int64s, ts_ms: Int64s) -> Int64s:
    """Index one past each user's last event that happened strictly before an instant, into the log's arrays.

    Args:
        log: the log.
        users: codes, int64, (n,); -1 is a user without events.
        ts_ms: instants, int64, (n,).

    Returns:
        int64, (n,); `offsets[user]` where there is no earlier event, 0 for the user -1.
    """
    low, high = _bounds(log, users)
    return first_at_least(log.ts_ms, low, high, ts_ms)


def ends_of(log: EventLog, users: Int64s) -> Int64s:
    """Index one past each user's last event, int64, (n,); 0 for the user -1."""
    return _bounds(log, users)[1]


def gather_histories(log: EventLog, users: Int64s, ends: Int64s, length: int = HISTORY_LENGTH) -> Histories:
    """The latest events of users, newest first, whenever they were known.

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
    return _histories_of(log, at, at >= starts[:, None])


def first_at_least(values: Int64s, low: Int64s, high: Int64s, bounds: Int64s) -> Int64s:
    """Index of the first value >= a bound in each slice `low:high` of rising values, int64, (n,), or high."""
    while True:  # a binary search for all slices at once: halves every open interval
        open_ = low < high
        if not open_.any():
            return low
        middle = (low + high) // 2
        earlier = open_ & (values[np.minimum(middle, len(values) - 1)] < bounds)
        low = np.where(earlier, middle + 1, low)
        high = np.where(open_ & ~earlier, middle, high)


def _known_of(
    log: EventLog, starts: Int64s, ends: Int64s, instants_ms: Int64s, length: int, extra: int
) -> Histories:
    """Histories of which at most `extra` events have to be left out as not known yet."""
    if not len(log.video_keys):
        return Histories.empty(len(starts), length)
    at = ends[:, None] - 1 - np.arange(length + extra)  # (n, h + extra)
    inside = at >= starts[:, None]
    if extra:
        inside &= log.known_ms[np.where(inside, at, 0)] < instants_ms[:, None]
        order = np.argsort(~inside, axis=1, kind="stable")[:, :length]  # the known ones move left
        at, inside = np.take_along_axis(at, order, axis=1), np.take_along_axis(inside, order, axis=1)
    return _histories_of(log, at, inside)


def _histories_of(log: EventLog, at: Int64s, inside: npt.NDArray[np.bool_]) -> Histories:
    at = np.where(inside, at, 0)
    return Histories(
        np.where(inside, log.video_keys[at], NO_KEY),
        np.where(inside, log.events[at], 0).astype(np.uint8),
        np.where(inside, log.ts_ms[at], 0),
        np.where(inside, log.watch_s[at], np.float32(np.nan)).astype(np.float32),
        inside.sum(axis=1).astype(np.int32),
    )


def _put(out: Histories, at: Int64s, found: Histories) -> None:
    """Writes rows of a result that is still being made."""
    out.video_keys[at], out.events[at], out.ts_ms[at] = found.video_keys, found.events, found.ts_ms
    out.watch_s[at], out.lengths[at] = found.watch_s, found.lengths


def _bounds(log: EventLog, users: Int64s) -> tuple[Int64s, Int64s]:
    known = users >= 0
    starts = np.where(known, log.offsets[np.where(known, users, 0)], 0)
    ends = np.where(known, log.offsets[np.where(known, users, 0) + known], 0)
    return starts, ends
