"""What do the slates show, right or not? Coverage, concentration, novelty and diversity.

Slates are rows of one VideoTable, int32 (u, k), -1 where a slate is shorter. Numbers of one user are NaN
where they are undefined (a slate of one video has no diversity); means are taken over the users that have
one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts import Floats, Int64s
from ranker.evaluation.metrics import Doubles

Rows = npt.NDArray[np.int32]

BATCH: Final = 4096
"""Users whose vectors are gathered at a time."""


def exposure_counts(rows: Rows, n_videos: int) -> Int64s:
    """In how many slates each video is, int64, (n_videos,)."""
    return np.bincount(rows[rows >= 0], minlength=n_videos).astype(np.int64)


def coverage(counts: Int64s) -> float:
    """Share of the catalogue that is in at least one slate, [0, 1]; 0 for an empty catalogue."""
    return float((counts > 0).mean()) if len(counts) else 0.0


def gini(counts: Int64s) -> float:
    """Inequality of exposure over the whole catalogue: 0 all videos alike, near 1 only the same few.

    G = sum_i (2 i - n - 1) x_i / (n sum_i x_i), with x in increasing order; 0 where nothing is shown.
    Source: Gini 1912; for recommenders Fleder and Hosanagar, Management Science 2009.

    Example:
        >>> gini(np.array([3, 3, 3])), gini(np.array([0, 0, 0, 12]))
        (0.0, 0.75)
    """
    n, total = len(counts), int(counts.sum())
    if not total:
        return 0.0
    weight = 2 * np.arange(1, n + 1) - n - 1
    return float((weight * np.sort(counts)).sum() / (n * total))


def novelty(rows: Rows, audience: Int64s, n_users: int) -> Doubles:
    """Mean self-information of a slate's videos, bits, (u,): -log2 of the share of users who had met it.

    Args:
        rows: slates.
        audience: users who had met each video before the cut, (n_videos,).
        n_users: users before the cut. One is added above and below, so that a new video is finite.

    Source: Zhou et al., PNAS 2010.
    """
    bits = -np.log2((audience + 1.0) / (n_users + 1.0))
    return _mean_of(bits, rows)


def intra_list_diversity(rows: Rows, vectors: Floats) -> Doubles:
    """Mean of 1 - cosine over the pairs of a slate, (u,), [0, 2]; videos with a zero vector are left out.

    The sum of a slate's pairwise cosines is (|sum of its vectors|^2 - n) / 2, so no pair is formed.
    Source: Ziegler et al., WWW 2005, with cosine over unit embeddings.
    """
    out = np.full(len(rows), np.nan)
    present = np.abs(vectors).sum(axis=1) > 0 if len(vectors) else np.zeros(0, np.bool_)
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        there = (part >= 0) & (present[part] if len(present) else False)  # (b, k)
        total = np.where(there[..., None], vectors[part], 0.0).sum(axis=1, dtype=np.float64)  # (b, d)
        n = there.sum(axis=1).astype(np.float64)
        cosines = ((total**2).sum(axis=1) - n) / 2.0
        pairs = n * (n - 1) / 2.0
        np.divide(cosines, pairs, out=out[start : start + BATCH], where=pairs > 0)
    return 1.0 - out


def creator_concentration(rows: Rows, creators: npt.NDArray[np.int32]) -> Doubles:
    """Largest share of a slate that one creator has, (u,), (0, 1]; videos of unknown creator are left out."""
    made_by = np.where(rows >= 0, creators[rows], -1) if len(creators) else np.full(rows.shape, -1)
    known = made_by >= 0
    same = (made_by[:, :, None] == made_by[:, None, :]) & known[:, :, None]  # (u, k, k)
    most = same.sum(axis=2).max(axis=1, initial=0)
    out = np.full(len(rows), np.nan)
    np.divide(most, known.sum(axis=1), out=out, where=known.any(axis=1))
    return out


def mean_or_none(values: Doubles) -> float | None:
    """Mean of the defined values; None where there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None


def _mean_of(values: Doubles, rows: Rows) -> Doubles:
    there = rows >= 0
    total = np.where(there, values[rows], 0.0).sum(axis=1) if len(values) else np.zeros(len(rows))
    out = np.full(len(rows), np.nan)
    np.divide(total, there.sum(axis=1), out=out, where=there.any(axis=1))
    return out
