"""Whole counts as of every interaction of a log at once: for logs of tens of millions of rows.

The log is laid out once as a line of instants, grouped by user and by video with a counting sort. What a row
sees is then a difference of running counts between two places in its group; nothing is joined or searched.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse  # type: ignore[import-untyped]

from features.activity import DAY_HOURS, RECENT_HOURS
from features.contracts import ACTIVITY_NAMES, ACTIVITY_PERIOD_MS, EVENT_CODES, EVENTS, Int64s
from features.errors import BadInput

Bools = npt.NDArray[np.bool_]
Int32s = npt.NDArray[np.int32]

NOTHING: Final = 7
"""Stands for the event code where nothing arrives: the codes before it fill three bits."""

ASKS: Final = 8
"""Bit of an instant as of which an interaction is looked up."""

_WHAT_BITS: Final = 4

_ITEMS: Final = 200_000
"""About how many items are worked off at once."""

_UNIT_BITS: Final = 30


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
    *,
    threads: int = 2,
) -> CounterTable:
    """User counters, idle time and video activity as of every interaction's own `ts`.

    Args:
        users: code of each interaction's user, (m,), >= 0.
        rows: row of its video, (m,), >= 0.
        events: event codes, uint8, (m,).
        ts_ms: when it happened, ms since the epoch, int64, (m,), > 0.
        known_ms: when it was known, int64, (m,), >= ts_ms.
        threads: how many work on it.

    Raises:
        BadInput: an event without a time, or more users times milliseconds than 63 bits number.
    """
    if not len(ts_ms):
        empty = np.zeros((0, len(EVENTS)), np.int32)
        return CounterTable(empty, np.zeros(0, np.int64), np.zeros((0, len(ACTIVITY_NAMES)), np.int32))
    if int(ts_ms.min()) <= 0:
        raise BadInput(f"ts_ms holds {int(ts_ms.min())}; leave out events without a time")
    line = _time_line(events, ts_ms, known_ms)
    counts, idle = np.empty((len(ts_ms), len(EVENTS)), np.int32), np.empty(len(ts_ms), np.int64)
    activity = np.empty((len(ts_ms), len(ACTIVITY_NAMES)), np.int32)
    with ThreadPoolExecutor(threads) as pool:
        of_users, of_videos = pool.map(partial(_grouped, line), (users, rows))
        done = [pool.submit(_of_videos, line, some, activity) for some in of_videos]
        done += [pool.submit(_of_users, line, some, ts_ms, counts, idle) for some in of_users]
        for some in done:
            some.result()
    return CounterTable(counts, idle, activity)


@dataclass(frozen=True, slots=True)
class _Group:
    """Some whole groups of a line by owner, in order within each: so many that they fit the cache."""

    order: Int32s
    """Places in the line, int32, (n,)."""
    begin: Int32s
    """Where among them the group of each begins, int32, (n,)."""


def _time_line(events: npt.NDArray[np.uint8], ts_ms: Int64s, known_ms: Int64s) -> Int64s:
    """Instants in order: each interaction's own, and the arrival of each late one; int64, (n, 2).

    Beside the instant (ms) stands which interaction it is of, and in the lowest bits what happens: an event
    code that arrives or NOTHING, and ASKS at the interaction's own instant. Together they are met in one
    access to memory.
    """
    if (ts_ms[1:] < ts_ms[:-1]).any():
        order = np.argsort(ts_ms, kind="stable")  # quick where the log is nearly in order
        events, ts_ms, known_ms = events.take(order), ts_ms.take(order), known_ms.take(order)
    else:
        order = np.arange(len(ts_ms))
    late = np.flatnonzero(known_ms > ts_ms)
    late = late.take(np.argsort(known_ms.take(late)))
    what = (order << _WHAT_BITS) | (events | ASKS)
    line = np.empty((len(ts_ms) + len(late), 2), np.int64)
    # Two rising lists are merged; where instants are equal it does not matter which comes first.
    places = np.searchsorted(ts_ms, known_ms.take(late)) + np.arange(len(late))
    others = np.ones(len(line), np.bool_)
    others[places] = False
    line[places, 0], line[places, 1] = known_ms.take(late), what.take(late) & ~ASKS
    what[late] |= NOTHING
    line[others, 0], line[others, 1] = ts_ms, what
    return line


def _grouped(line: Int64s, owners: npt.NDArray[np.integer]) -> list[_Group]:
    theirs = owners.astype(np.int32).take(line[:, 1] >> _WHAT_BITS)
    places = np.arange(len(theirs) + 1, dtype=np.int32)
    # A matrix with one entry a row, turned into columns, is a counting sort: linear, and stable.
    shape = (len(theirs), int(theirs.max()) + 1)
    columns = sparse.csr_array((np.ones(len(theirs), np.int8), theirs, places), shape=shape).tocsc()
    order, offsets = columns.indices, columns.indptr
    groups, group = [], 0
    while group < len(offsets) - 1:
        first = offsets[group]
        until = max(int(np.searchsorted(offsets, first + _ITEMS, side="right")) - 1, group + 1)
        inside = offsets[group : until + 1]
        begin = np.repeat(inside[:-1] - first, np.diff(inside)).astype(np.int32)
        if len(begin):
            groups.append(_Group(order[first : inside[-1]], begin))
        group = until
    return groups


def _of_users(line: Int64s, some: _Group, ts_ms: Int64s, counts: Int32s, idle: Int64s) -> None:
    """Writes the users' events and idle times of some groups into the table that is being made."""
    ms, source, what = _items(line, some.order)
    asks = np.flatnonzero(what & ASKS)
    place, low = source.take(asks), some.begin.take(asks)
    high = _run_starts(some.begin, ms).take(asks)  # of equal instants none sees the other
    _put_rows(counts, place, _between(_running(what), low, high))
    late = np.flatnonzero(what < ASKS)
    happened = ms.copy()
    happened[late] = ts_ms.take(source.take(late))
    last = _newest(happened, what, some.begin).take(np.maximum(high - 1, 0))
    idle[place] = np.where((high > low) & (last >= 0), ms.take(asks) - last, -1)


def _of_videos(line: Int64s, some: _Group, activity: Int32s) -> None:
    """Writes the videos' activity of some groups into the table that is being made."""
    ms, source, what = _items(line, some.order)
    minute, begin = ms // ACTIVITY_PERIOD_MS, some.begin
    asks, running = np.flatnonzero(what & ASKS), _running(what)
    until = running.take(_minute_before(begin, minute).take(asks), axis=0)
    spans = np.empty((len(asks), 2, len(EVENTS)), np.int32)
    for place, hours in enumerate((DAY_HOURS, RECENT_HOURS)):
        since = _hours_back(begin, minute, hours - 1).take(asks)
        spans[:, place] = _as_counts(until - running.take(since, axis=0))
    _put_rows(activity, source.take(asks), spans.reshape(len(asks), -1))


def _items(line: Int64s, order: Int32s) -> tuple[Int64s, Int64s, npt.NDArray[np.uint8]]:
    """Instant, interaction, and what happens, of some places in the line, (n,) each."""
    items = line.take(order, axis=0)
    what = (items[:, 1] & (2**_WHAT_BITS - 1)).astype(np.uint8)
    return np.ascontiguousarray(items[:, 0]), items[:, 1] >> _WHAT_BITS, what


def _put_rows(out: Int32s, places: Int64s, rows: Int32s) -> None:
    """Writes rows to their places in a table that is being made, each as one piece: four times as quick."""
    row = np.dtype((np.void, out.shape[1] * out.itemsize))
    out.view(row).reshape(-1)[places] = np.ascontiguousarray(rows).view(row).reshape(-1)


def _running(what: npt.NDArray[np.uint8]) -> Int64s:
    """Running counts by kind, two in a word: int64, (n + 1, 4)."""
    one = np.eye(NOTHING + 1, dtype=np.int32)
    one[NOTHING] = 0
    out = np.zeros((len(what) + 1, 4), np.int64)
    np.cumsum(np.tile(one.view(np.int64), (2, 1)).take(what, axis=0), axis=0, out=out[1:])
    return out


def _between(running: Int64s, low: Int32s, high: Int32s) -> Int32s:
    """Events in each slice by kind, int32, (n, len(EVENTS))."""
    return _as_counts(running.take(high, axis=0) - running.take(low, axis=0))


def _as_counts(words: Int64s) -> Int32s:
    """The counts that differences of running counts hold; these only rise, so no word has borrowed."""
    return words.view(np.int32)[:, : len(EVENTS)]


def _newest(happened_ms: Int64s, what: npt.NDArray[np.uint8], begin: Int32s) -> Int64s:
    """Latest `ts` of the group's arrivals so far but impressions, ms, int64, (n,); -1 where there is none."""
    base = int(happened_ms.min()) - 1
    bits = (int(happened_ms.max()) - base).bit_length()
    group = np.cumsum(_changes(begin)) - 1
    if bits + int(group[-1]).bit_length() > 63:
        raise BadInput(f"{int(group[-1]) + 1} users over 2^{bits} ms are too many at a time; look up fewer")
    code = what & NOTHING
    counted = (code != NOTHING) & (code != EVENT_CODES["impression"])
    # The group stands above the time, so one running maximum serves them all.
    moved = (group << bits) | np.where(counted, happened_ms - base, 0)
    last = np.maximum.accumulate(moved) & ((1 << bits) - 1)
    return np.where(last > 0, last + base, -1)


def _run_starts(begin: Int32s, unit: Int64s) -> Int32s:
    """Where the run of equal units that each item is in begins, in its group, int32, (n,)."""
    starts, lengths = _runs(_changes(begin) | _changes(unit))
    return np.repeat(starts, lengths)


def _minute_before(begin: Int32s, minute: Int64s) -> Int32s:
    """First item of each one's group not before its watermark, a minute before its own, int32, (n,)."""
    starts, lengths = _runs(_changes(begin) | _changes(minute))
    near = (np.diff(begin[starts]) == 0) & (np.diff(minute[starts]) == 1)
    first = np.where(np.append(False, near), np.append(0, starts[:-1]), starts).astype(np.int32)
    return np.repeat(first, lengths)


def _hours_back(begin: Int32s, minute: Int64s, hours: int) -> Int32s:
    """First item of each one's group since some clock hours before that of its watermark, int32, (n,)."""
    # At the full hour the watermark is still in the hour before: such minutes are units of their own.
    hour = minute // 60
    unit = 2 * hour + (minute != hour * 60)
    starts, lengths = _runs(_changes(begin) | _changes(unit))
    unit = unit[starts]
    group = np.cumsum(_changes(begin[starts])) << _UNIT_BITS
    since = np.maximum(2 * ((unit - 1) // 2 - hours), 0)
    return np.repeat(starts[_places(group | unit, group | since)], lengths)


def _places(keys: Int64s, asked: Int64s) -> Int64s:
    """How many keys are smaller than each of the asked, both rising, int64, (n,).

    The two are merged: a stable sort finds two rising runs and is done in linear time, where a binary search
    for each would take some twenty steps.
    """
    both = np.concatenate([asked << 1, (keys << 1) | 1])
    both.sort(kind="stable")
    return np.flatnonzero((both & 1) == 0) - np.arange(len(asked))


def _runs(changes: Bools) -> tuple[Int32s, Int32s]:
    """Where each run begins, and how long it is."""
    bounds = np.append(np.flatnonzero(changes), len(changes)).astype(np.int32)
    return bounds[:-1], bounds[1:] - bounds[:-1]


def _changes(values: npt.NDArray[np.integer]) -> Bools:
    """True where a value differs from the one before, and at the first."""
    out = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=out[1:])
    return out
