"""Features of a user and a video together: how a candidate lies to what was liked, skipped and watched."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.contracts import Floats, VideoTable
from features.requests import (
    LATEST_EVENTS,
    TASTE_EVENTS,
    Function,
    Requests,
    Rows,
    cosines,
    log_count,
    mean_of_known,
    ratio,
    unit_rows,
    unknown_pairs,
)


def pair_cosine(space: str) -> Function:
    """The function for the cosine of a candidate and the user's taste in one space."""
    return lambda requests: _to_one(requests, space, requests.tastes[space])


def pair_skipped_cosine(requests: Requests) -> Floats:
    return _to_one(requests, "joint", requests.dislikes)


def pair_nearest_liked(space: str) -> Function:
    """The function for the largest cosine to one of the latest liked videos."""
    return lambda requests: np.fmax.reduce(requests.to_liked[space], axis=2)


def pair_mean_liked(space: str) -> Function:
    """The function for the mean cosine to the latest liked videos."""
    return lambda requests: mean_of_known(requests.to_liked[space], LATEST_EVENTS)


def pair_nearest_skipped(space: str) -> Function:
    """The function for the largest cosine to one of the latest skipped videos."""
    return lambda requests: np.fmax.reduce(requests.to_skipped[space], axis=2)


def pair_mean_skipped(space: str) -> Function:
    """The function for the mean cosine to the latest skipped videos."""
    return lambda requests: mean_of_known(requests.to_skipped[space], LATEST_EVENTS)


def pair_tag_affinity(requests: Requests) -> Floats:
    """Mean, over the candidate's tags, of the share of liked events that bear the tag."""
    codes = requests.tag_codes[requests.rows]  # (n, c, t)
    counts = np.take_along_axis(requests.tag_counts[:, None, :], np.maximum(codes, 0), axis=2)
    hits = np.where(codes >= 0, counts, 0).sum(axis=2)
    likes = (requests.liked_rows >= 0).sum(axis=1)
    return ratio(hits, (codes >= 0).sum(axis=2) * likes[:, None])


def pair_creator_affinity(requests: Requests) -> Floats:
    """Share of the liked events that are by the candidate's creator."""
    mine = requests.videos.creators[requests.rows]  # (n, c)
    liked = np.where(requests.liked_rows >= 0, requests.videos.creators[requests.liked_rows], -1)
    hits = (mine[:, :, None] == liked[:, None, :]).sum(axis=2)
    likes = (requests.liked_rows >= 0).sum(axis=1)[:, None]
    return ratio(hits, np.where(mine >= 0, likes, 0))


def pair_duration_gap(requests: Requests) -> Floats:
    """Distance of log durations between the candidate and the mean of the liked videos."""
    rows = requests.liked_rows
    liked = np.where(rows >= 0, requests.videos.duration_s[rows], np.float32(np.nan))
    theirs = _log_positive(requests.videos.duration_s[requests.rows])
    return np.asarray(np.abs(theirs - mean_of_known(_log_positive(liked), TASTE_EVENTS)[:, None]))


def pair_times_met(requests: Requests) -> Floats:
    """log1p of how often the candidate stands in the history."""
    return log_count(requests.met)


def pair_watched_share(requests: Requests) -> Floats:
    """Largest share of the candidate that the user has watched already, at most 1.5."""
    return requests.watched


def pair_covisit_best(requests: Requests) -> Floats:
    """Largest weight by which the candidate is a neighbour of one of the latest liked videos."""
    weights = requests.covisits
    return unknown_pairs(requests) if weights is None else np.asarray(weights.max(axis=2))


def pair_covisit_sum(requests: Requests) -> Floats:
    """Sum of those weights over the latest liked videos."""
    weights = requests.covisits
    return unknown_pairs(requests) if weights is None else np.asarray(weights.sum(axis=2))


def covisits_of(rows: Rows, liked_rows: Rows, videos: VideoTable) -> Floats | None:
    """Weight of each candidate as a neighbour of each of the latest liked videos, (n, c, LATEST_EVENTS).

    0 where it is none; None where no video has neighbours.
    """
    if not videos.neighbours.shape[1]:
        return None
    out = np.zeros((*rows.shape, LATEST_EVENTS), np.float32)
    for place in range(LATEST_EVENTS):
        row = liked_rows[:, place]
        theirs = np.where(row[:, None] >= 0, videos.neighbours[row], -1)  # (n, k)
        same = rows[:, :, None] == theirs[:, None, :]  # (n, c, k), True at most once
        out[:, :, place] = np.where(same, videos.neighbour_weights[row][:, None, :], 0).max(axis=2)
    return out


def met_in(
    rows: Rows, event_rows: Rows, watched: Floats, videos: int
) -> tuple[npt.NDArray[np.int64], Floats]:
    """How often each candidate stands in its history, and the largest watched share there, both (n, c).

    Args:
        rows: candidates, (n, c).
        event_rows: rows of the events, (n, h); -1 is padding.
        watched: watched share of each event, (n, h); NaN where unknown.
        videos: number of rows there are.
    """
    request, event = np.nonzero(event_rows >= 0)
    keys = request * videos + event_rows[request, event]
    share = np.where(np.isnan(watched), np.float32(-1), watched)[request, event]
    order = np.lexsort((share, keys))  # of one video the most watched comes last
    keys, share = keys[order], share[order]
    wanted = np.arange(len(rows))[:, None] * videos + rows
    low, high = np.searchsorted(keys, wanted), np.searchsorted(keys, wanted, side="right")
    if not len(keys):
        return np.zeros(rows.shape, np.int64), np.full(rows.shape, np.nan, np.float32)
    best = np.where(high > low, share[np.maximum(high - 1, 0)], np.float32(-1))
    return high - low, np.where(best >= 0, best, np.float32(np.nan)).astype(np.float32)


def _to_one(requests: Requests, space: str, vector: Floats) -> Floats:
    return cosines(requests.candidates[space], unit_rows(vector)[:, None, :])[:, :, 0]


def _log_positive(values: Floats) -> Floats:
    return np.log(np.where(values > 0, values, np.float32(np.nan)))
