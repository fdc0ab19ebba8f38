"""Features of the video: statistics of the nightly job, live activity, content and its quality."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts import ACTIVITY_NAMES, QUALITY_FEATURES, Floats
from features.requests import Function, Requests, log_count, log_days, smoothed, unknown_pairs
from features.statistics import STATISTIC_NAMES

DAY_PLAY_PRIOR: Final = 0.5
DAY_PLAY_WEIGHT: Final = 20.0
"""Impressions that the prior of a day's play rate counts as."""

DAY_SPAN_H: Final = 23.5
RECENT_SPAN_H: Final = 1.5
"""Mean lengths of the windows of an activity, hours."""


def video_statistic(name: str) -> Function:
    """The function that looks up one column of `video_statistics`."""
    column = STATISTIC_NAMES.index(name)
    return lambda requests: requests.statistics[requests.rows, column]


def video_quality(name: str) -> Function:
    """The function that looks up one of QUALITY_FEATURES."""
    column = QUALITY_FEATURES.index(name)
    return lambda requests: requests.videos.quality[requests.rows, column]


def video_activity(window: str, *events: str) -> Function:
    """The function for log1p of the events of these kinds in a window: day or hours."""

    def compute(requests: Requests) -> Floats:
        counts = _counts(requests, window, *events)
        return unknown_pairs(requests) if counts is None else log_count(counts)

    return compute


def video_day_play_rate(requests: Requests) -> Floats:
    """Plays per impression in the last day, smoothed."""
    shown, plays = _counts(requests, "day", "impression"), _counts(requests, "day", "play")
    if shown is None or plays is None:
        return unknown_pairs(requests)
    return smoothed(plays, np.maximum(shown, plays), DAY_PLAY_PRIOR, DAY_PLAY_WEIGHT)


def video_momentum(requests: Requests) -> Floats:
    """Logarithm of plays an hour in the last hours over those in the last day; 0 is steady."""
    recent, day = _counts(requests, "hours", "play"), _counts(requests, "day", "play")
    if recent is None or day is None:
        return unknown_pairs(requests)
    return np.log((recent / RECENT_SPAN_H + 1) / (day / DAY_SPAN_H + 1)).astype(np.float32)


def video_age_days(requests: Requests) -> Floats:
    return log_days(requests.context.now_ms[:, None], requests.videos.published_ms[requests.rows])


def video_duration(requests: Requests) -> Floats:
    return np.log1p(requests.videos.duration_s[requests.rows])


def video_has(bit: int) -> Function:
    """The function that says whether a modality is present: visual 0, audio 1, text 2."""
    return lambda requests: ((requests.videos.mask[requests.rows] >> bit) & 1).astype(np.float32)


def video_imputed(bit: int) -> Function:
    """The function that says whether a modality was filled in from neighbours: bits as in `video_has`."""
    return lambda requests: ((requests.videos.imputed[requests.rows] >> bit) & 1).astype(np.float32)


def video_agreement(requests: Requests) -> Floats:
    return requests.videos.agreement[requests.rows]


def video_sound_fit(requests: Requests) -> Floats:
    return requests.videos.sound_fit[requests.rows]


def video_text_fit(requests: Requests) -> Floats:
    return requests.videos.text_fit[requests.rows]


def _counts(requests: Requests, window: str, *events: str) -> npt.NDArray[np.int64] | None:
    """Events of these kinds in a window, (n, c); None where the activity is not known."""
    if requests.activity is None:
        return None
    total = np.zeros(requests.rows.shape, np.int64)
    for event in events:
        total = total + requests.activity[:, :, ACTIVITY_NAMES.index(f"{window}_{event}")]
    return total
