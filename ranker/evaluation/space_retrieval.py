"""Does nearness in a space mean that videos belong together? Measured against each truth, beside chance.

Measure: of the ten nearest others of a video, those that belong to it, over as many as could be among ten.
Source: capped recall, Thakur et al., "BEIR", NeurIPS Datasets and Benchmarks 2021, section 3.3 (R_cap@k).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import numpy as np

from features.contracts import Int64s
from ranker.evaluation.metrics import Doubles
from ranker.evaluation.space_truth import Truth
from ranker.evaluation.space_vectors import VectorSet
from ranker.evaluation.statistics import percentile_interval, resample_means

K: Final = 10
RESAMPLES: Final = 1000


def measure_retrieval(
    held: VectorSet, places: Int64s, found: Int64s, truth: Truth, n: int, seed: int
) -> dict[str, Any] | None:
    """Capped recall at `K` over the videos that ask, with its 95 % interval and chance.

    Args:
        held: vectors of a space.
        places: of the videos that ask, in `held`, (q,).
        found: places of their nearest others, nearest first, (q, K) or fewer columns.
        truth: what belongs together.
        n: videos of the space in all.
        seed: of the resamples.

    Returns:
        `value`, `low`, `high`, `chance` in [0, 1] and `videos`, how many asked; None where none of them has
        anything to find.
    """
    among = np.zeros(n, bool)
    among[held.rows] = True
    queries = held.rows[places]
    belong = truth.count(queries, among)
    asked = belong > 0
    if not asked.any():
        return None
    most = np.minimum(belong[asked], K).astype(np.float64)
    hits = truth.judge(queries[asked], held.rows[found[asked]]).sum(axis=1)
    return {**_estimate(hits / most, seed), "chance": _chance(belong[asked], most, len(held), found.shape[1])}


def _estimate(values: Doubles, seed: int) -> dict[str, Any]:
    point, draws = float(values.mean()), resample_means(values[:, None], seed, RESAMPLES)[:, 0]
    said = asdict(percentile_interval(point, draws, len(values)))
    return {"value": said["value"], "low": said["low"], "high": said["high"], "videos": said["users"]}


def _chance(belong: Int64s, most: Doubles, m: int, shown: int) -> float:
    """Expectation of the measure where the nearest are drawn at random from the m - 1 others."""
    return float((shown * belong / (m - 1) / most).mean())
