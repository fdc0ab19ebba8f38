"""Whole counts as of every interaction of a log at once: for logs of tens of millions of rows.

Everything is one sort of packed keys, a search with sorted needles, and differences of running counts; rows
are numbers, so nothing is joined.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.activity import DAY_HOURS, HOUR_MS, RECENT_HOURS, watermark
from features.contracts import ACTIVITY_NAMES, EVENT_CODES, EVENTS, Int64s
from features.errors import BadInput

Int32s = npt.NDArray[np.int32]

_BLOCK: Final = 500_000
"""Rows that are brought back to their places at once."""


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
    """User counters, idle time and video activity as of every interaction's own `ts`.

    Args:
        users: code of each interaction's user, (m,), >= 0.
        rows: row of its video, (m,), >= 0.
        events: event codes, uint8, (m,).
        ts_ms: when it happened, ms since the epoch, int64, (m,), > 0.
        known_ms: when it was known, int64, (m,), >= ts_ms.

    Raises:
        BadInput: an event without a time, or more users (or videos) times milliseconds than 63 bits number.
    """
    if not len(ts_ms):
        empty = np.zeros((0, len(EVENTS)), np.int32)
        return CounterTable(empty, np.zeros(0, np.int64), np.zeros((0, len(ACTIVITY_NAMES)), np.int32))
    if int(ts_ms.min()) <= 0:
        raise BadInput(f"ts_ms holds {int(ts_ms.min())}; leave out events without a time")
    user_events, idle = _of_users(users, events, ts_ms, known_ms)
    return CounterTable(user_events, idle, _of_videos(rows, events, ts_ms, known_ms))


class _Running:
    """Running counts of events by kind, in some order."""

    def __init__(self, events: npt.NDArray[np.uint8]) -> None:
        self.counts = [np.zeros(len(events) + 1, np.int32) for _ in EVENTS]
        for code, counts in enumerate(self.counts):
            np.cumsum(events == code, dtype=np.int32, out=counts[1:])

    def between(self, start: Int64s, end: Int64s) -> Int32s:
        """Events in each slice by kind, int32, (n, len(EVENTS))."""
        return np.stack([counts[end] - counts[start] for counts in self.counts], axis=1)


def _of_users(
    users: npt.NDArray[np.integer], events: npt.NDArray[np.uint8], ts_ms: Int64s, known_ms: Int64s
) -> tuple[Int32s, Int64s]:
    base = int(ts_ms.min())
    bits = _bits(int(known_ms.max()) - base, int(users.max()), "users")
    keys, order = _sorted(users, known_ms - base, bits)
    asked, places = (keys, order) if known_ms is ts_ms else _sorted(users, ts_ms - base, bits)
    end, start = _places(keys, asked), _places(keys, asked >> bits << bits)
    running = _Running(events[order])
    newest = _newest(keys, bits, events[order] == EVENT_CODES["impression"], ts_ms[order] - base)
    counts = np.empty((len(keys), len(EVENTS)), np.int32)
    idle = np.empty(len(keys), np.int64)
    for block in _blocks(len(keys)):
        low, high = start[block], end[block]
        counts[places[block]] = running.between(low, high)
        last = newest[np.maximum(high - 1, 0)]
        now = asked[block] & ((1 << bits) - 1)
        idle[places[block]] = np.where((high > low) & (last >= 0), now - last, -1)
    return counts, idle


def _of_videos(
    rows: npt.NDArray[np.integer], events: npt.NDArray[np.uint8], ts_ms: Int64s, known_ms: Int64s
) -> Int32s:
    marks = watermark(ts_ms)
    base = int(marks.min()) // HOUR_MS * HOUR_MS - DAY_HOURS * HOUR_MS
    bits = _bits(int(known_ms.max()) - base, int(rows.max()), "videos")
    keys, order = _sorted(rows, known_ms - base, bits)
    # A watermark never falls as time goes on, so the order by time serves for it.
    asked, places = (keys, order) if known_ms is ts_ms else _sorted(rows, ts_ms - base, bits)
    owner, until = asked >> bits << bits, marks[places] - base
    hour = until // HOUR_MS * HOUR_MS  # `base` is a whole hour
    end = _places(keys, owner | until)
    windows = [_places(keys, owner | (hour - (n - 1) * HOUR_MS)) for n in (DAY_HOURS, RECENT_HOURS)]
    running = _Running(events[order])
    out = np.empty((len(keys), len(ACTIVITY_NAMES)), np.int32)
    for block in _blocks(len(keys)):
        spans = [running.between(start[block], end[block]) for start in windows]
        out[places[block]] = np.concatenate(spans, axis=1)
    return out


def _sorted(owners: npt.NDArray[np.integer], times: Int64s, bits: int) -> tuple[Int64s, Int64s]:
    """Packed (owner, time) in rising order, and where each stood."""
    keys = owners.astype(np.int64) << bits
    keys |= times
    order = np.argsort(keys)  # no need to be stable: what is alike is counted together
    return keys[order], order


def _places(keys: Int64s, asked: Int64s) -> Int64s:
    """How many keys are smaller than each of the asked, both rising, int64, (n,).

    The two are merged: a stable sort finds two rising runs and is done in linear time, where a binary search
    for each would take 24 steps.
    """
    both = np.concatenate([asked << 1, (keys << 1) | 1])
    both.sort(kind="stable")
    both &= 1
    return np.flatnonzero(both == 0) - np.arange(len(asked))


def _newest(keys: Int64s, bits: int, shown: npt.NDArray[np.bool_], ts: Int64s) -> Int64s:
    """Latest `ts` of each user's arrivals so far but impressions, int64, (m,); -1 where there is none."""
    # The user stands above the time, so one running maximum serves them all.
    moved = (keys >> bits << bits) | np.where(shown, 0, ts + 1)
    return (np.maximum.accumulate(moved) & ((1 << bits) - 1)) - 1


def _bits(span: int, owners: int, what: str) -> int:
    """Bits for a time in a packed key, one more than the span needs; two of the key's are kept free."""
    bits = (span + 1).bit_length()
    if bits + owners.bit_length() > 62:
        raise BadInput(
            f"{owners + 1} {what} over {span} ms do not fit packed keys of 62 bits; look up fewer at a time"
        )
    return bits


def _blocks(n: int) -> Iterator[slice]:
    for begin in range(0, n, _BLOCK):
        yield slice(begin, min(n, begin + _BLOCK))
