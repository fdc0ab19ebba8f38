"""What each user did in all the time before an instant, as whole numbers: sums over the log's arrivals.

Live, the store adds every accepted event to the same numbers; here they are counted anew, so both agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts import (
    DEVICES,
    EVENT_CODES,
    EVENTS,
    HOUR_BUCKETS,
    Context,
    Histories,
    Int64s,
    UserCounters,
    hour_bucket,
)
from features.event_log import LATEST_MS, Arrivals, EventLog, watch_ms
from features.histories import first_at_least

CHUNK_EVENTS: Final = 500_000
"""About how many arrivals are summed at once."""

CHUNK_USERS: Final = 4096
"""Most users in a chunk: their instants, moved apart by LATEST_MS each, must fit 62 bits."""

_NEVER: Final = LATEST_MS - 1


def counters_at(log: EventLog, users: Int64s, instants_ms: Int64s) -> UserCounters:
    """The counters of users, of the events known strictly before an instant.

    Args:
        log: the log; where it has times, an event without one never counts; else all do.
        users: codes, int64, (n,); -1 is a user who has done nothing.
        instants_ms: ms since the epoch, int64, (n,).
    """
    if not log.has_times:
        return counters_now(log, users)
    low, high = _bounds(log.arrivals, users)
    start = first_at_least(log.arrivals.known_ms, low, high, np.ones(len(users), np.int64))
    return _sums(log.arrivals, start, first_at_least(log.arrivals.known_ms, start, high, instants_ms))


def counters_now(log: EventLog, users: Int64s) -> UserCounters:
    """The counters of users, of everything in the log; -1 is a user who has done nothing."""
    return _sums(log.arrivals, *_bounds(log.arrivals, users))


def counters_of_histories(histories: Histories, context: Context) -> UserCounters:
    """The counters of visitors of whom nothing but some given events is known, on any device."""
    n, h = histories.video_keys.shape
    inside = np.arange(h) < histories.lengths[:, None]
    timed = inside & (histories.ts_ms > 0)
    hours = hour_bucket(histories.ts_ms, np.broadcast_to(context.utc_offset_min[:, None], (n, h)))
    first = np.where(timed, histories.ts_ms, _NEVER).min(axis=1, initial=_NEVER)
    return UserCounters(
        _histogram(histories.events.astype(np.int64), inside, len(EVENTS)),
        np.where(inside, watch_ms(histories.watch_s), 0).sum(axis=1, dtype=np.int64),
        _histogram(hours, timed, HOUR_BUCKETS),
        np.zeros((n, len(DEVICES)), np.int64),
        np.where(first < _NEVER, first, 0).astype(np.int64),
    )


def _histogram(values: Int64s, counted: npt.NDArray[np.bool_], width: int) -> Int64s:
    """How often each row holds each value below `width`, int64, (n, width)."""
    return np.stack([((values == value) & counted).sum(axis=1) for value in range(width)], axis=1)


def _sums(arrivals: Arrivals, start: Int64s, end: Int64s) -> UserCounters:
    """The counters of slices of the arrivals; slices that begin alike are of one user."""
    out = UserCounters.empty(len(start))
    for queries in _chunks(start, end):
        _sum_chunk(arrivals, start[queries], end[queries], queries, out)
    return out


def _chunks(start: Int64s, end: Int64s) -> Iterator[Int64s]:
    """Places of the non-empty slices, those of one user together, some users and events at a time."""
    order = np.lexsort((end, start))
    order = order[end[order] > start[order]]
    if not len(order):
        return
    last = np.flatnonzero(np.append(np.diff(start[order]) > 0, True))  # longest slice of each user
    events = np.cumsum(end[order[last]] - start[order[last]])
    begin = 0
    while begin < len(last):
        before = int(events[begin - 1]) if begin else 0
        until = int(np.searchsorted(events, before + CHUNK_EVENTS, side="right"))
        until = min(max(until, begin + 1), begin + CHUNK_USERS)
        yield order[int(last[begin - 1]) + 1 if begin else 0 : int(last[until - 1]) + 1]
        begin = until


def _sum_chunk(arrivals: Arrivals, start: Int64s, end: Int64s, queries: Int64s, out: UserCounters) -> None:
    """Writes the counters of sorted, non-empty slices into the rows `queries` of the result."""
    fresh = np.append(True, np.diff(start) > 0)
    last = np.flatnonzero(np.append(fresh[1:], True))
    user = np.cumsum(fresh) - 1  # of each slice
    lengths = end[last] - start[last]
    base = np.cumsum(lengths) - lengths  # where each user's events begin in the chunk
    owner = np.repeat(np.arange(len(lengths)), lengths)
    at = np.arange(int(lengths.sum())) - base[owner] + start[last][owner]  # places among the arrivals
    low, high = base[user], base[user] + end - start

    def put(into: Int64s, values: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> None:
        total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
        into[queries] = total[high] - total[low]

    for column, values in (
        (out.events, arrivals.events),
        (out.hours, arrivals.hours),
        (out.devices, arrivals.devices),
    ):
        taken = values[at]
        for code in range(column.shape[1]):
            put(column[:, code], taken == code)
    put(out.watch_ms, arrivals.watch_ms[at])
    did = (arrivals.events[at] != EVENT_CODES["impression"]) & (arrivals.ts_ms[at] > 0)
    # Each user's instants are moved below those of the user before, so one running minimum serves them all.
    moved = np.where(did, arrivals.ts_ms[at], _NEVER) - owner * LATEST_MS
    first = np.minimum.accumulate(moved)[high - 1] + user * LATEST_MS
    out.first_ms[queries] = np.where(first < _NEVER, first, 0)


def _bounds(arrivals: Arrivals, users: Int64s) -> tuple[Int64s, Int64s]:
    known = np.where(users >= 0, users, 0)
    if len(arrivals.offsets) < 2:
        return np.zeros(len(users), np.int64), np.zeros(len(users), np.int64)
    low, high = arrivals.offsets[known], arrivals.offsets[known + 1]
    return np.where(users >= 0, low, 0), np.where(users >= 0, high, 0)
