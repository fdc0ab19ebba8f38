"""Whole counts as of every interaction of a log at once: for logs of tens of millions of rows.

The interactions of a user, or of a video, are walked through in the order of time beside their arrivals; what
a row sees are counts that go up and, where a window moves on, down again. Nothing is joined or searched, so
the cost is linear. The walks are compiled to machine code when a process first uses them: some seconds.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from features.activity import DAY_HOURS, HOUR_MS, RECENT_HOURS
from features.contracts import ACTIVITY_NAMES, ACTIVITY_PERIOD_MS, EVENT_CODES, EVENTS, Int64s
from features.errors import BadInput

Int32s = npt.NDArray[np.int32]

_KINDS: Final = len(EVENTS)
_IMPRESSION: Final = EVENT_CODES["impression"]
_DAY_BACK_MS: Final = (DAY_HOURS - 1) * HOUR_MS
_HOURS_BACK_MS: Final = (RECENT_HOURS - 1) * HOUR_MS
_LATE_MS: Final = DAY_HOURS * HOUR_MS


@dataclass(frozen=True, slots=True)
class CounterTable:
    """What was known at the instant of each of m interactions."""

    user_events: Int32s
    """Events of the user by kind, known strictly before, int32, (m, len(EVENTS))."""
    idle_ms: Int64s
    """Since the user's newest event but impressions of those, ms, int64, (m,); -1 where there is none."""
    activity: Int32s
    """Of the video as of the watermark, int32, (m, len(ACTIVITY_NAMES))."""


def lookup_counters(
    users: npt.NDArray[np.integer],
    rows: npt.NDArray[np.integer],
    events: npt.NDArray[np.uint8],
    ts_ms: Int64s,
    known_ms: Int64s,
) -> CounterTable:
    """User counters, idle time and video activity as of every interaction's own `ts`; two threads work on it.

    Args:
        users: code of each interaction's user, (m,), >= 0.
        rows: row of its video, (m,), >= 0.
        events: event codes, uint8, (m,).
        ts_ms: when it happened, ms since the epoch, int64, (m,), > 0.
        known_ms: when it was known, int64, (m,), >= ts_ms.

    Raises:
        BadInput: an event without a time or known before it happened, or a code that cannot be.
    """
    m = len(ts_ms)
    counts, idle = np.empty((m, _KINDS), np.int32), np.empty(m, np.int64)
    activity = np.empty((m, len(ACTIVITY_NAMES)), np.int32)
    if not m:
        return CounterTable(counts, idle, activity)
    _check(users, rows, events, ts_ms, known_ms)
    in_order = not (ts_ms[1:] < ts_ms[:-1]).any()
    order = np.arange(m, dtype=np.int64) if in_order else np.argsort(ts_ms, kind="stable")
    given = (order, events, ts_ms, known_ms)
    with ThreadPoolExecutor(2) as pool:
        done = [
            pool.submit(lambda: _of_users(*given, users, int(users.max()) + 1, counts, idle)),
            pool.submit(lambda: _of_videos(*given, rows, int(rows.max()) + 1, activity)),
        ]
        for some in done:
            some.result()
    return CounterTable(counts, idle, activity)


def _check(
    users: npt.NDArray[np.integer],
    rows: npt.NDArray[np.integer],
    events: npt.NDArray[np.uint8],
    ts_ms: Int64s,
    known_ms: Int64s,
) -> None:
    if int(ts_ms.min()) <= 0:
        raise BadInput(f"ts_ms holds {int(ts_ms.min())}; leave out events without a time")
    early = np.flatnonzero(known_ms < ts_ms)
    if len(early):
        at = int(early[0])
        raise BadInput(
            f"event {at} was known at {known_ms[at]} and happened at {ts_ms[at]}; known_ms >= ts_ms"
        )
    if int(events.max()) >= _KINDS:
        raise BadInput(f"events holds {int(events.max())}; codes go to {_KINDS - 1}")
    for name, codes in (("users", users), ("rows", rows)):
        if int(codes.min()) < 0:
            raise BadInput(f"{name} holds {int(codes.min())}; leave out what is unknown")


def _compiled(function: Any) -> Any:
    return njit(nogil=True)(function)


@_compiled
def _grouped(order: Any, events: Any, ts_ms: Any, known_ms: Any, owners: Any, size: int) -> Any:
    """Where each owner's interactions begin, (size + 1,), and what is needed of them, (m, 3).

    Each owner's stand in the order of time: `ts`, known, and place << 3 | event code. All is copied once, so
    that the walks need no further access to memory that lies apart.
    """
    offsets = np.zeros(size + 1, np.int64)
    for owner in owners:
        offsets[owner + 1] += 1
    for owner in range(size):
        offsets[owner + 1] += offsets[owner]
    free, items = offsets[:-1].copy(), np.empty((len(order), 3), np.int64)
    for place in order:
        owner = owners[place]
        at = free[owner]
        free[owner] = at + 1
        items[at, 0], items[at, 1] = ts_ms[place], known_ms[place]
        items[at, 2] = place << 3 | events[place]
    return offsets, items


@_compiled
def _by_arrival(asks: Any) -> Any:
    """Interactions in the order of their arrival: in a log, few are out of it."""
    for i in range(1, len(asks)):
        if asks[i, 1] < asks[i - 1, 1]:
            return asks[np.argsort(asks[:, 1], kind="mergesort")]
    return asks


@_compiled
def _of_users(
    order: Any, events: Any, ts_ms: Any, known_ms: Any, users: Any, size: int, counts: Any, idle: Any
) -> None:
    """Writes the users' events and idle times."""
    offsets, items = _grouped(order, events, ts_ms, known_ms, users, size)
    now = np.zeros(_KINDS, np.int32)
    for user in range(size):
        asks = items[offsets[user] : offsets[user + 1]]
        arrivals, at, newest = _by_arrival(asks), 0, -1
        now[:] = 0
        for i in range(len(asks)):
            instant, place = asks[i, 0], asks[i, 2] >> 3
            while at < len(arrivals) and arrivals[at, 1] < instant:
                kind = arrivals[at, 2] & 7
                now[kind] += 1
                if kind != _IMPRESSION and arrivals[at, 0] > newest:
                    newest = arrivals[at, 0]
                at += 1
            for kind in range(_KINDS):
                counts[place, kind] = now[kind]
            idle[place] = instant - newest if newest >= 0 else -1


@_compiled
def _of_videos(
    order: Any, events: Any, ts_ms: Any, known_ms: Any, rows: Any, size: int, activity: Any
) -> None:
    """Writes the videos' activity."""
    offsets, items = _grouped(order, events, ts_ms, known_ms, rows, size)
    now = np.zeros(2 * _KINDS, np.int32)
    for video in range(size):
        asks = items[offsets[video] : offsets[video + 1]]
        arrivals = _by_arrival(asks)
        now[:] = 0
        end = day = hours = 0
        for i in range(len(asks)):
            place = asks[i, 2] >> 3
            mark = max(asks[i, 0] // ACTIVITY_PERIOD_MS - 1, 0) * ACTIVITY_PERIOD_MS
            hour = mark // HOUR_MS * HOUR_MS
            while end < len(arrivals) and arrivals[end, 1] < mark:
                if arrivals[end, 1] - arrivals[end, 0] < _LATE_MS:
                    now[arrivals[end, 2] & 7] += 1
                    now[_KINDS + (arrivals[end, 2] & 7)] += 1
                end += 1
            while day < end and arrivals[day, 1] < hour - _DAY_BACK_MS:
                if arrivals[day, 1] - arrivals[day, 0] < _LATE_MS:
                    now[arrivals[day, 2] & 7] -= 1
                day += 1
            while hours < end and arrivals[hours, 1] < hour - _HOURS_BACK_MS:
                if arrivals[hours, 1] - arrivals[hours, 0] < _LATE_MS:
                    now[_KINDS + (arrivals[hours, 2] & 7)] -= 1
                hours += 1
            for kind in range(2 * _KINDS):
                activity[place, kind] = now[kind]
