"""Features of the user and of the request: what they did lately, in all their time, and in this session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts import (
    DAY_MS,
    EVENT_CODES,
    Context,
    Floats,
    Histories,
    Int64s,
    device_code,
    hour_bucket,
    surface_code,
)
from features.requests import (
    NEGLIGIBLE,
    TASTE_EVENTS,
    Bools,
    Requests,
    local_ms,
    log_count,
    log_days,
    mean_of_known,
    ratio,
    smoothed,
    unknown_users,
)

Codes = npt.NDArray[np.int8]

HOUR_MS: Final = 3_600_000

SESSION_GAP_MS: Final = 30 * 60_000
"""A session ends where nothing happens for this long."""

RATE_WEIGHT: Final = 5.0
"""Events that the priors of a user's rates count as."""

PLAY_PRIOR: Final = 0.5
LIKE_PRIOR: Final = 0.1
SKIP_PRIOR: Final = 0.2

HABIT_WEIGHT: Final = 10.0
"""Events that the prior of a habit, alike for all hours or devices, counts as."""


def user_events(requests: Requests) -> Floats:
    return log_count(requests.histories.lengths)


def user_positive_share(requests: Requests) -> Floats:
    return _share_of_events(requests.liked, requests)


def user_skip_share(requests: Requests) -> Floats:
    return _share_of_events(requests.skipped, requests)


def user_watch_share(requests: Requests) -> Floats:
    """Mean watched share of the newest `TASTE_EVENTS` events, of those with a known one."""
    rows = requests.event_rows[:, :TASTE_EVENTS]
    duration = np.where(rows >= 0, requests.videos.duration_s[rows], np.float32(np.nan))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.minimum(requests.histories.watch_s[:, :TASTE_EVENTS] / duration, np.float32(1.5))
    return mean_of_known(share, TASTE_EVENTS)


def user_idle_days(requests: Requests) -> Floats:
    if not requests.histories.ts_ms.shape[1]:
        return unknown_users(requests)
    return log_days(requests.context.now_ms, requests.histories.ts_ms[:, 0])


def user_day_events(requests: Requests) -> Floats:
    return _events_since(requests, DAY_MS)


def user_hour_events(requests: Requests) -> Floats:
    return _events_since(requests, HOUR_MS)


def user_taste_focus(requests: Requests) -> Floats:
    """Length of the mean of the liked unit vectors: 1 where all are alike, near 0 where they scatter."""
    taste = requests.tastes["joint"]
    length = np.sqrt((taste * taste).sum(axis=1))
    return np.where(length > NEGLIGIBLE, length, np.float32(np.nan)).astype(np.float32)


def user_total_events(requests: Requests) -> Floats:
    """log1p of all events in the user's time, impressions left out."""
    if requests.counters is None:
        return unknown_users(requests)
    return log_count(requests.counters.events.sum(axis=1) - _done(requests, "impression"))


def user_play_rate(requests: Requests) -> Floats:
    """Plays per impression in all the user's time, smoothed."""
    if requests.counters is None:
        return unknown_users(requests)
    plays = _done(requests, "play")
    return smoothed(plays, np.maximum(plays, _done(requests, "impression")), PLAY_PRIOR, RATE_WEIGHT)


def user_like_rate(requests: Requests) -> Floats:
    """Likes, shares and follows per play in all the user's time, smoothed, at most 1."""
    if requests.counters is None:
        return unknown_users(requests)
    likes = _done(requests, "like", "share", "follow")
    return smoothed(likes, np.maximum(likes, _done(requests, "play")), LIKE_PRIOR, RATE_WEIGHT)


def user_skip_rate(requests: Requests) -> Floats:
    """Skips and dislikes per play, skip or dislike in all the user's time, smoothed."""
    if requests.counters is None:
        return unknown_users(requests)
    skips = _done(requests, "skip", "dislike")
    return smoothed(skips, skips + _done(requests, "play"), SKIP_PRIOR, RATE_WEIGHT)


def user_watch_per_play(requests: Requests) -> Floats:
    """log1p of the seconds watched per play in all the user's time."""
    if requests.counters is None:
        return unknown_users(requests)
    return np.log1p(ratio(requests.counters.watch_ms / 1000.0, _done(requests, "play")))


def user_account_days(requests: Requests) -> Floats:
    """log1p of the days since the user's first event."""
    if requests.counters is None:
        return unknown_users(requests)
    return log_days(requests.context.now_ms, requests.counters.first_ms)


def user_hour_habit(requests: Requests) -> Floats:
    """Share of the user's events in this part of their day, smoothed; 1 / HOUR_BUCKETS says nothing."""
    if requests.counters is None:
        return unknown_users(requests)
    now = requests.context.now_ms
    bucket = hour_bucket(now, requests.context.utc_offset_min)
    return np.where(now > 0, _habit(requests.counters.hours, bucket), np.float32(np.nan))


def user_device_habit(requests: Requests) -> Floats:
    """Share of the user's events on the device of the request, smoothed; 1 / len(DEVICES) says nothing."""
    if requests.counters is None:
        return unknown_users(requests)
    device = _codes(requests.context.device, len(requests.rows), device_code)
    return np.where(device >= 0, _habit(requests.counters.devices, np.maximum(device, 0)), np.float32(np.nan))


def session_events(requests: Requests) -> Floats:
    """log1p of the events of the session that still goes on; 0 where a new one begins."""
    return _if_now(requests, log_count(requests.session.sum(axis=1)))


def session_positive_share(requests: Requests) -> Floats:
    return ratio((requests.session & requests.liked).sum(axis=1), requests.session.sum(axis=1))


def session_minutes(requests: Requests) -> Floats:
    """log1p of the minutes since the session began; 0 where it begins now."""
    now = requests.context.now_ms[:, None]
    since = np.where(requests.session, now - requests.histories.ts_ms, 0).max(axis=1, initial=0)
    return _if_now(requests, np.log1p((since / 60_000).astype(np.float32)))


def request_hour(requests: Requests) -> Floats:
    local, known = local_ms(requests.context)
    return np.where(known, (local % DAY_MS) // HOUR_MS, np.nan).astype(np.float32)


def request_weekday(requests: Requests) -> Floats:
    """Monday is 0; the first of January 1970 was a Thursday."""
    local, known = local_ms(requests.context)
    return np.where(known, (local // DAY_MS + 3) % 7, np.nan).astype(np.float32)


def request_device(requests: Requests) -> Floats:
    return _known_codes(_codes(requests.context.device, len(requests.rows), device_code))


def request_surface(requests: Requests) -> Floats:
    return _known_codes(_codes(requests.context.surface, len(requests.rows), surface_code))


def session_of(histories: Histories, inside: Bools, context: Context) -> Bools:
    """True where an event is of the session that still goes on at the request, (n, h)."""
    ts = histories.ts_ms
    if not ts.shape[1]:
        return inside
    later = np.concatenate([context.now_ms[:, None], ts[:, :-1]], axis=1)
    near = inside & (ts > 0) & (later - ts < SESSION_GAP_MS)
    return np.asarray(np.logical_and.accumulate(near, axis=1))


def _share_of_events(mask: Bools, requests: Requests) -> Floats:
    return ratio((mask & requests.inside).sum(axis=1), requests.histories.lengths)


def _events_since(requests: Requests, span_ms: int) -> Floats:
    now = requests.context.now_ms[:, None]
    ts = requests.histories.ts_ms
    recent = (requests.inside & (ts > now - span_ms) & (ts > 0)).sum(axis=1)
    return _if_now(requests, log_count(recent))


def _if_now(requests: Requests, values: Floats) -> Floats:
    return np.where(requests.context.now_ms > 0, values, np.float32(np.nan))


def _done(requests: Requests, *names: str) -> Int64s:
    """Events of these kinds in all the user's time, (n,)."""
    assert requests.counters is not None
    total = np.zeros(len(requests.rows), np.int64)
    for name in names:
        total = total + requests.counters.events[:, EVENT_CODES[name]]
    return total


def _habit(counts: Int64s, place: npt.NDArray[np.integer]) -> Floats:
    mine = np.take_along_axis(counts, place.astype(np.int64)[:, None], axis=1)[:, 0]
    return smoothed(mine, counts.sum(axis=1), 1.0 / counts.shape[1], HABIT_WEIGHT)


def _codes(names: tuple[str | None, ...], n: int, code_of: Callable[[str | None], int]) -> Codes:
    """The code of each request's word, int8, (n,); -1 where it is unknown."""
    if not names:
        return np.full(n, -1, np.int8)
    known = {name: code_of(name) for name in set(names)}
    return np.array([known[name] for name in names], np.int8)


def _known_codes(codes: Codes) -> Floats:
    return np.where(codes >= 0, codes, np.nan).astype(np.float32)
