"""What the models learn from: positive pairs of users and videos, and the events that came before each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import sparse  # type: ignore[import-untyped]

from features.contracts import HISTORY_LENGTH, Floats, Int64s
from features.errors import BadInput
from ranker.history_rows import NOTHING, TOKENS, event_tokens
from ranker.splits import durations_of, is_positive

if TYPE_CHECKING:
    from features.pipeline import FeatureSet

STRENGTH = {"played": 1.0, "like": 1.5, "share": 1.5, "follow": 1.5}
"""Weight of a positive pair, by its strongest event."""
MAX_POSITIVES = 500
"""Latest positive videos of a user that count in the item graph: bounds the work of one busy user."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """The log as rows, and the positive (user, video) pairs in it, each at its first positive event."""

    offsets: Int64s
    """First event of each user, int64, (u + 1,)."""
    rows: npt.NDArray[np.int32]
    """Row of each event's video, int32, (m,), every user's oldest first."""
    tokens: npt.NDArray[np.uint8]
    """What each event says, uint8, (m,)."""
    users: Int64s
    """User code of each pair, int64, (p,)."""
    targets: Int64s
    """Row of each pair's video, int64, (p,)."""
    ends: Int64s
    """One past the last event that may stand in the pair's history, int64, (p,); absolute."""
    weights: Floats
    """Strength of each pair, float32, (p,)."""
    ordered: bool
    """False where the data has no times: a pair's history is then all the user's other events."""

    def __len__(self) -> int:
        return len(self.users)


def positive_pairs(features: FeatureSet) -> Pairs:
    """The training pairs of a feature set.

    Raises:
        BadInput: there is none.
    """
    log, videos = features.log, features.videos
    users = np.repeat(np.arange(len(log.user_ids), dtype=np.int64), np.diff(log.offsets))
    durations = durations_of(videos, log.video_keys)
    tokens = event_tokens(log.events, log.watch_s, durations)
    rows = videos.rows_of(log.video_keys)
    at = np.flatnonzero(is_positive(log.events, log.watch_s, durations) & (rows >= 0))
    if not len(at):
        raise BadInput(
            f"none of the {len(log.events)} events is positive (a play of at least half of the video, "
            "a like, share or follow); there is nothing to learn from"
        )
    pair = users[at] * len(videos) + rows[at]
    _, first, group = np.unique(pair, return_index=True, return_inverse=True)
    strength = np.array([STRENGTH.get(name, 0.0) for name in TOKENS], np.float32)[tokens[at]]
    weights = np.zeros(len(first), np.float32)
    np.maximum.at(weights, group, strength)
    chosen = at[first]
    ends = _before(log.ts_ms, log.offsets, users, chosen) if log.has_times else log.offsets[users[chosen] + 1]
    known = np.where(rows >= 0, tokens, NOTHING).astype(np.uint8)
    return Pairs(
        log.offsets, rows, known, users[chosen], rows[chosen].astype(np.int64), ends, weights, log.has_times
    )


def windows(
    pairs: Pairs, chosen: Int64s, length: int = HISTORY_LENGTH
) -> tuple[Int64s, npt.NDArray[np.uint8]]:
    """Histories of the chosen pairs, newest first, without the target itself.

    Returns:
        Rows, int64, (b, length), -1 in the padding, and tokens, uint8, (b, length), NOTHING there.
    """
    at = pairs.ends[chosen][:, None] - 1 - np.arange(length)
    inside = at >= pairs.offsets[pairs.users[chosen]][:, None]
    at = np.where(inside, at, 0)
    rows = np.where(inside, pairs.rows[at], -1).astype(np.int64)
    rows[rows == pairs.targets[chosen][:, None]] = -1
    return rows, np.where(rows >= 0, pairs.tokens[at], NOTHING).astype(np.uint8)


def has_history(pairs: Pairs) -> npt.NDArray[np.bool_]:
    """True where something but the target itself stands in a pair's history window, (p,)."""
    out = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), 10_000):
        chosen = np.arange(start, min(start + 10_000, len(pairs)))
        out[chosen] = (windows(pairs, chosen)[0] >= 0).any(axis=1)
    return out


def interaction_matrix(pairs: Pairs, n_users: int, n_videos: int) -> sparse.csr_matrix:
    """Users by videos, float32: the strength of each user's latest MAX_POSITIVES positive pairs."""
    order = np.lexsort((-pairs.ends, pairs.users))
    users = pairs.users[order]
    place = np.arange(len(order)) - np.searchsorted(users, users)
    kept = order[place < MAX_POSITIVES]
    shape = (n_users, n_videos)
    return sparse.csr_matrix(
        (pairs.weights[kept], (pairs.users[kept], pairs.targets[kept])), shape, np.float32
    )


def _before(ts_ms: Int64s, offsets: Int64s, users: Int64s, chosen: Int64s) -> Int64s:
    """Index of the first event at each chosen one's instant, of which nothing is known yet."""
    starts = np.ones(len(ts_ms), bool)
    starts[1:] = (np.diff(ts_ms) != 0) | (np.diff(users) != 0)
    return np.maximum.accumulate(np.where(starts, np.arange(len(ts_ms)), 0))[chosen].astype(np.int64)
