"""The shape of a space: how many directions it uses, how crowded it is, whether hubs stand in it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from features.contracts import Floats
from ranker.evaluation.metrics import Doubles
from ranker.evaluation.space_retrieval import K
from ranker.evaluation.space_vectors import BLOCK, VectorSet, nearest

EXACT: Final = 20_000
"""In a space of more videos, hubs are counted in a sample."""
SAMPLE: Final = 10_000
"""Size of that sample."""
SAME: Final = 0.999
"""Two videos nearer than this (cosine) lie on one spot."""


def measure_geometry(held: VectorSet, closest: Floats, seed: int) -> dict[str, Any] | None:
    """Shape of a space, numbers by name; None under two vectors.

    Args:
        held: its vectors.
        closest: cosine to the nearest other, of the videos that were asked, (q,).
        seed: of the sample.

    Returns:
        `videos`, `dim`, `effective_dim` (at most dim), `mean_cosine` of two different videos, [-1, 1],
        `same_spot` (share whose nearest other is nearer than `SAME`), `hub_skewness`, `largest_hub` (times it
        is expected to be among the nearest ten) and `anti_hubs` (share in nobody's nearest ten).
    """
    if len(held) < 2:
        return None
    total, second = _moments(held.vectors)
    return {
        "videos": len(held),
        "dim": held.vectors.shape[1],
        "effective_dim": participation_ratio(second - np.outer(total, total)),
        "mean_cosine": mean_cosine(total, len(held)),
        "same_spot": float((closest >= SAME).mean()) if len(closest) else 0.0,
        **_hubs(held.vectors, seed),
    }


def participation_ratio(covariance: Doubles) -> float:
    """(sum of eigenvalues)^2 over the sum of their squares, from 1 to d; 0 where nothing varies.

    Source: Gao et al., "A theory of multineuronal dimensionality, dynamics and measurement", bioRxiv 2017,
    equation 4.
    """
    trace, squares = float(np.trace(covariance)), float((covariance**2).sum())
    return trace**2 / squares if trace > 1e-9 else 0.0


def mean_cosine(mean: Doubles, n: int) -> float:
    """Mean cosine over all pairs of n >= 2 different unit vectors, exactly, from their mean."""
    return float((n * float(mean @ mean) - 1.0) / (n - 1))


def skewness(counts: Doubles) -> float:
    """Third standardised moment; 0 where all are equal."""
    off = counts - counts.mean()
    spread = float(np.sqrt((off**2).mean()))
    return float((off**3).mean()) / spread**3 if spread > 0 else 0.0


def _moments(vectors: Floats) -> tuple[Doubles, Doubles]:
    """Mean (d,) and mean outer product (d, d), in blocks: no second copy of the vectors."""
    total, second = np.zeros(vectors.shape[1]), np.zeros((vectors.shape[1],) * 2)
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK].astype(np.float64)
        total += block.sum(axis=0)
        second += block.T @ block
    return total / len(vectors), second / len(vectors)


def _hubs(vectors: Floats, seed: int) -> dict[str, float]:
    """How unevenly videos are among the nearest ten of others.

    Source: Radovanovic et al., "Hubs in space", JMLR 2010, section 3.1 (skewness of k-occurrences).
    """
    if len(vectors) > EXACT:
        vectors = vectors[np.sort(np.random.default_rng(seed).choice(len(vectors), SAMPLE, replace=False))]
    found = nearest(vectors, np.arange(len(vectors)), K)[1]
    counts = np.bincount(found.ravel(), minlength=len(vectors)).astype(np.float64)
    return {
        "hub_skewness": skewness(counts),
        "largest_hub": float(counts.max() / counts.mean()),
        "anti_hubs": float((counts == 0).mean()),
    }
