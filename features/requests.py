"""What the feature functions read: n requests with c candidates each, and what several features share.

A user or request feature has shape (n,), a video or pair feature (n, c); NaN stands for "not known". Nothing
may depend on n or c: sums run over a fixed axis in a fixed order, and no BLAS product is taken, for its order
of additions depends on its size and on the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts import DAY_MS, Context, Floats, Histories, Int64s, UserCounters, VideoTable

Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int32]

TASTE_EVENTS: Final = 20
"""How many of the newest liked (or skipped) events make up a taste vector."""

LATEST_EVENTS: Final = 5
"""How many of the newest liked (or skipped) events a candidate's nearest is sought among."""

NEGLIGIBLE: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Requests:
    """n requests with c candidates each, and what several features share of them."""

    videos: VideoTable
    statistics: Floats
    """(v, s): `video_statistics`."""
    activity: npt.NDArray[np.int32] | None
    """(n, c, len(ACTIVITY_NAMES)): `activity_at`; None where it is not known."""
    context: Context
    histories: Histories
    counters: UserCounters | None
    """n users; None where they are not known."""
    rows: Rows
    """Row of each candidate, (n, c); 0 where there is none."""
    inside: Bools
    """True in the part of a history that is no padding, (n, h)."""
    liked: Bools
    """True where an event of the history is positive, (n, h)."""
    skipped: Bools
    """True where an event of the history is a skip or dislike, (n, h)."""
    event_rows: Rows
    """Row of each event's video, (n, h); -1 where it is not in the table."""
    liked_rows: Rows
    """Rows of the newest liked events, newest first, (n, TASTE_EVENTS); -1 is padding."""
    candidates: dict[str, Floats]
    """Per modality and "joint": the candidates' vectors, (n, c, d)."""
    tastes: dict[str, Floats]
    """Per modality and "joint": recency-weighted mean of the liked videos' vectors, (n, d)."""
    dislikes: Floats
    """The same of the skipped videos in the joint space, (n, d)."""
    to_liked: dict[str, Floats]
    """Per modality and "joint": cosine of each candidate and each of the latest liked videos, newest first,
    (n, c, LATEST_EVENTS); NaN where there is none or it lacks the modality."""
    to_skipped: dict[str, Floats]
    """The same of the latest skipped videos, per modality."""
    session: Bools
    """True where an event of the history is of the session that still goes on, (n, h)."""
    met: Int64s
    """How often each candidate stands in the history, (n, c)."""
    watched: Floats
    """Largest watched share of each candidate in the history, (n, c); NaN where it is not known."""
    covisits: Floats | None
    """Weight of each candidate as a neighbour of each of the latest liked videos, (n, c, LATEST_EVENTS); 0
    where it is none; None where no video has neighbours."""
    tag_codes: Rows
    """Codes of each video's tags, (v, t); -1 is padding."""
    tag_counts: Int64s
    """Liked events that bear each tag, (n, tags)."""


Function = Callable[[Requests], npt.NDArray[np.floating]]


def unknown_users(requests: Requests) -> Floats:
    """NaN for every request, (n,)."""
    return np.full(len(requests.rows), np.nan, np.float32)


def unknown_pairs(requests: Requests) -> Floats:
    """NaN for every candidate, (n, c)."""
    return np.full(requests.rows.shape, np.nan, np.float32)


def local_ms(context: Context) -> tuple[Int64s, Bools]:
    """The instant by the user's own clock, ms, (n,), and whether it is known."""
    return context.now_ms + context.utc_offset_min.astype(np.int64) * 60_000, context.now_ms > 0


def log_days(now_ms: Int64s, then_ms: Int64s) -> Floats:
    """log1p of the days from then to now; NaN where one of them is unknown (0)."""
    days = (np.maximum(now_ms - then_ms, 0) / DAY_MS).astype(np.float32)
    return np.where((now_ms > 0) & (then_ms > 0), np.log1p(days), np.float32(np.nan)).astype(np.float32)


def log_count(counts: npt.NDArray[Any]) -> Floats:
    """log1p of whole numbers, float32, same shape."""
    return np.log1p(counts.astype(np.float32))


def ratio(hits: npt.NDArray[Any], trials: npt.NDArray[Any]) -> Floats:
    """Hits per trial, float32; NaN where there is no trial."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(trials > 0, hits.astype(np.float32) / trials.astype(np.float32), np.float32(np.nan))


def smoothed(hits: npt.NDArray[Any], trials: npt.NDArray[Any], prior: float, weight: float) -> Floats:
    """Hits per trial as if `weight` more trials had gone by the rate `prior`, float32."""
    rate = (hits.astype(np.float64) + prior * weight) / (trials.astype(np.float64) + weight)
    return rate.astype(np.float32)


def mean_of_known(values: Floats, width: int) -> Floats:
    """Mean of the finite values along the last axis, at most `width`, float32; NaN where there is none."""
    wide = np.full((*values.shape[:-1], width), np.nan, np.float32)  # one width, so one order of additions
    wide[..., : values.shape[-1]] = values
    known = np.isfinite(wide)
    return ratio(np.where(known, wide, np.float32(0)).sum(axis=-1), known.sum(axis=-1))


def cosines(candidates: Floats, to: Floats) -> Floats:
    """Cosine of each candidate and each of p vectors a request, (n, c, p); NaN for a vector that is zero.

    Args:
        candidates: unit or zero rows, (n, c, d).
        to: unit or zero rows, (n, p, d).
    """
    if not to.shape[2]:
        return np.full((*candidates.shape[:2], to.shape[1]), np.nan, np.float32)
    found = np.einsum("ncd,npd->ncp", candidates, to)  # one sum along d after the other, whatever n, c and p
    return np.where((to != 0).any(axis=2)[:, None, :], found, np.float32(np.nan))


def unit_rows(vectors: Floats) -> Floats:
    """The vectors brought to length 1, zero where they are negligible, float32, (n, d)."""
    length = np.sqrt((vectors * vectors).sum(axis=1))
    known = length > NEGLIGIBLE
    unit = vectors / np.where(known, length, np.float32(1))[:, None]
    return np.where(known[:, None], unit, np.float32(0))
