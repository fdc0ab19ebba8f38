"""Gradient-boosted trees on top of the blend, and the proof they must bring before they are used.

They start from the blend's score and learn what to add to it. Half of the held-out users teach, the other
half judges: only when the lower bound of the paired gain is above zero are the trees refitted on all and
kept. Source: LambdaRank, Burges, MSR-TR-2010-82, as in LightGBM's `lambdarank`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt

from features.contracts import Floats
from ranker.blend import ndcg_by_user
from ranker.score import TREE_FEATURES

MIN_USERS = 60
"""With fewer held-out users there is no proof, and the blend stays alone."""


@dataclass(frozen=True, slots=True)
class TreeSettings:
    """How the trees are fitted."""

    rounds: int = 80
    leaves: int = 15
    learning_rate: float = 0.05
    min_leaf: int = 50
    k: int = 20
    """Depth of the measure that judges them."""
    max_users: int = 1500
    """Held-out users whose candidates are looked at."""
    seed: int = 7
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Examples:
    """Candidates of held-out users, with what they went on to like."""

    features: Floats
    """`tree_features`, float32, (u, c, len(TREE_FEATURES))."""
    labels: Floats
    """1 where the user liked it later, float32, (u, c)."""
    blend: Floats
    """The blend's score, float32, (u, c)."""
    present: npt.NDArray[np.bool_]
    """(u, c)."""

    def some(self, users: npt.NDArray[np.bool_]) -> Examples:
        return Examples(self.features[users], self.labels[users], self.blend[users], self.present[users])


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether trees are used, and on what evidence."""

    booster: Any
    """LightGBM booster, or None where the blend stays alone."""
    why: str
    """One sentence."""
    gain: float
    """Mean paired gain in nDCG@k of the judging half."""
    low: float
    high: float
    """95 % percentile bootstrap bounds of the gain."""


def judge_trees(examples: Examples, settings: TreeSettings) -> Verdict:
    """Trees, if they prove better than the blend on users they have not seen."""
    usable = np.asarray((examples.labels * examples.present).any(axis=1))
    examples = examples.some(usable)
    if len(examples.labels) < MIN_USERS:
        why = (
            f"{len(examples.labels)} held-out users are too few to prove trees better; {MIN_USERS} are needed"
        )
        return Verdict(None, why, 0.0, 0.0, 0.0)
    draw = np.random.default_rng(settings.seed)
    teaching = draw.permutation(len(examples.labels)) % 2 == 0
    booster, judging = fit_trees(examples.some(teaching), settings), examples.some(~teaching)
    added = booster.predict(
        judging.features.reshape(-1, len(TREE_FEATURES)), raw_score=True, num_threads=settings.threads
    )
    with_trees = judging.blend + np.asarray(added, np.float32).reshape(judging.blend.shape)
    gains = _ndcg(judging, with_trees, settings.k) - _ndcg(judging, judging.blend, settings.k)
    low, high = _bounds(gains, draw)
    gain = float(gains.mean())
    said = f"nDCG@{settings.k} {gain:+.4f} [{low:+.4f}, {high:+.4f}] on {len(gains)} held-out users"
    if low > 0:
        return Verdict(
            fit_trees(examples, settings), f"trees on top of the blend gain {said}", gain, low, high
        )
    return Verdict(
        None,
        f"the blend stays alone: trees on top of it change {said}, not surely for the better",
        gain,
        low,
        high,
    )


def fit_trees(examples: Examples, settings: TreeSettings) -> Any:
    """A LambdaRank booster whose raw score is to be added to the blend."""
    flat = examples.present.ravel()
    data = lightgbm.Dataset(
        examples.features.reshape(-1, len(TREE_FEATURES))[flat],
        examples.labels.ravel()[flat],
        group=examples.present.sum(axis=1),
        init_score=examples.blend.ravel()[flat].astype(np.float64),
        feature_name=list(TREE_FEATURES),
        params={"max_bin": 63, "verbosity": -1},
    )
    parameters = {
        "objective": "lambdarank",
        "num_leaves": settings.leaves,
        "learning_rate": settings.learning_rate,
        "min_data_in_leaf": settings.min_leaf,
        "lambda_l2": 10.0,
        "lambdarank_truncation_level": 3 * settings.k,
        "max_bin": 63,
        "seed": settings.seed,
        "num_threads": settings.threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    return lightgbm.train(parameters, data, num_boost_round=settings.rounds)


def _ndcg(examples: Examples, scores: Floats, k: int) -> Floats:
    return ndcg_by_user(scores, examples.labels, examples.present, k)


def _bounds(gains: Floats, draw: np.random.Generator, resamples: int = 1000) -> tuple[float, float]:
    means = [gains[draw.integers(0, len(gains), len(gains))].mean() for _ in range(resamples)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
