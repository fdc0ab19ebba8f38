"""Sixth stage: the slate, one video after the other, each good and unlike those before it.

Source: maximal marginal relevance, Carbonell & Goldstein, SIGIR 1998, equation 1, on scores scaled to [0, 1]
and cosines of content vectors; and a cap on videos of one creator, given up before the slate stays short.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts import Floats
from serving.desk import Rows
from serving.score import Scored

LEAST_POOL = 60
POOL_PER_SLOT = 4


@dataclass(frozen=True, slots=True)
class Picked:
    """The slate's videos in order."""

    rows: Rows
    """int32, (m,), m <= k, unique."""
    scores: Floats
    """float32, (m,); not sorted where diversity moved a video."""
    sources: tuple[tuple[str, ...], ...]
    """Retrieval sources of each, (m,)."""


def diversify(
    scored: Scored, vectors: Floats, creators: Rows, k: int, weight: float, creator_cap: int
) -> Picked:
    """The min(n, k) videos of the slate in order.

    Args:
        scored: candidates, best first.
        vectors: unit rows to compare videos by, float32, (videos, d); d may be 0.
        creators: code of each video's creator, int32, (videos,); -1 where unknown.
        k: slots, >= 1.
        weight: of being unlike the others, [0, 1]; 0 keeps the order of the scores.
        creator_cap: most videos of one creator; videos without one are not capped.
    """
    pool = min(len(scored.rows), max(LEAST_POOL, POOL_PER_SLOT * k))
    rows = scored.rows[:pool]
    value = (1 - weight) * _unit_range(scored.scores[:pool])
    vectors, creators = vectors[rows], creators[rows]
    nearest, left, capped = np.zeros(pool, np.float32), np.ones(pool, np.bool_), np.zeros(pool, np.bool_)
    chosen: list[int] = []
    for _ in range(min(k, pool)):
        open_slots = left & ~capped
        gain = np.where(open_slots if open_slots.any() else left, value - weight * nearest, -np.inf)
        best = int(np.argmax(gain))
        chosen.append(best)
        left[best] = False
        if weight and vectors.shape[1]:
            nearest = np.maximum(nearest, vectors @ vectors[best])  # (pool,)
        same = creators == creators[best]
        if creators[best] >= 0 and (same & ~left).sum() >= creator_cap:
            capped |= same
    return Picked(rows[chosen], scored.scores[chosen], tuple(scored.sources[i] for i in chosen))


def _unit_range(scores: Floats) -> Floats:
    """Scores scaled to [0, 1]; all 1 where they are equal."""
    if not len(scores):
        return scores
    span = float(scores.max() - scores.min())
    return (scores - scores.min()) / span if span > 0 else np.ones_like(scores)
