"""The trained two-tower without torch: vectors of videos and of users, in NumPy, for the request path.

A video's vector is its id embedding put together with its modalities (see `fusion.py`), on the unit sphere;
a user's is a weighted sum of the vectors of the latest events or, without any, the direction of what
everybody likes. There is no user id, so a new user and a new event count at once. `two_tower.py` holds the
same formulas in torch; a test says that both agree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from features.contracts import Floats, VideoTable
from ranker.fusion import Fusion, fuse, without
from ranker.history_rows import HistoryRows, places

EPSILON = 1e-12


@dataclass(frozen=True, slots=True)
class Tower:
    """Weights of both towers; d is the dimension of the shared space."""

    ids: Floats
    """Embedding of each video, float32, (n, d); zero rows for videos without any interaction."""
    fusion: Fusion
    """How ids and modalities are put together, with its weights."""
    token_weights: Floats
    """What each kind of event counts, float32, (len(TOKENS),)."""
    place_weights: Floats
    """Log of what each step back in time counts, float32, (PLACES,)."""
    prior: Floats
    """Vector of a user of whom nothing is known, float32, (d,)."""

    @property
    def dim(self) -> int:
        return len(self.prior)


def video_vectors(tower: Tower, videos: VideoTable) -> Floats:
    """Unit vector of each video, float32, (n, d); a zero row for a video of which nothing is known."""
    return unit(fuse(tower.fusion, tower.ids, videos))


def user_vectors(tower: Tower, vectors: Floats, history: HistoryRows) -> Floats:
    """Unit vector of each user, float32, (n, d).

    Args:
        vectors: of the videos, (videos, d).
        history: the users' latest events.
    """
    length = history.rows.shape[1]
    weights = tower.token_weights[history.tokens] * np.exp(tower.place_weights[places(length)])[None]
    weights = np.where(history.rows >= 0, weights, 0.0).astype(np.float32)  # (n, h)
    pooled = np.zeros((len(history.rows), tower.dim), np.float32)
    if length and len(vectors):
        pooled = unit(np.einsum("nh,nhd->nd", weights, vectors[np.maximum(history.rows, 0)]))
    known = np.asarray(pooled.any(axis=1))
    return np.where(known[:, None], pooled, tower.prior).astype(np.float32)


def less(tower: Tower, modalities: frozenset[str]) -> Tower:
    """The tower that takes nothing from these modalities."""
    return replace(tower, fusion=without(tower.fusion, modalities))


def unit(rows: Floats) -> Floats:
    """Rows divided by their length; a zero row stays zero."""
    length = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return np.asarray(rows / np.maximum(length, EPSILON), np.float32)
