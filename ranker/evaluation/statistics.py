"""How sure are we? Intervals by user, and lifts of one arm over another on the same users.

Users are the units: their values are independent, those of one user's videos are not. Arms are compared on
the same users, so differences are paired and the users' own spread cancels.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from features.errors import BadInput
from ranker.evaluation.metrics import Doubles

LEVEL: Final = 0.95
RESAMPLES: Final = 2000
POWER: Final = 0.8
MOST_GROUPS: Final = 5000
"""With more users than this, users are dealt into so many random groups and groups are drawn: the width of an
interval is then known to about 1 %, and the work no longer grows with the users."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval; the bounds are None where there are too few users for one."""

    value: float
    low: float | None
    high: float | None
    users: int

    def excludes(self, null: float) -> bool:
        """True where the interval is known and lies wholly on one side of `null`."""
        return self.low is not None and self.high is not None and not self.low <= null <= self.high


@dataclass(frozen=True, slots=True)
class Lift:
    """One arm against another, on the same users."""

    absolute: Estimate
    """Difference of the means."""
    relative: Estimate | None
    """Ratio of the means less 1; None where the other arm's mean, or a resample of it, is 0."""
    clear: bool
    """The difference is not 0 at the level that holds for all comparisons together."""


def mean_interval(values: Doubles, level: float = LEVEL) -> Estimate | None:
    """Mean of users' values with Student's t interval; None for no users, no bounds for one.

    Raises:
        BadInput: a value is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise BadInput("values of users must be finite; leave users without a value out")
    n = len(values)
    if not n:
        return None
    mean = float(values.mean())
    if n < 2:
        return Estimate(mean, None, None, n)
    half = t_quantile(0.5 + level / 2, n - 1) * float(values.std(ddof=1)) / n**0.5
    return Estimate(mean, mean - half, mean + half, n)


def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t; error below 0.01 for the 0.975 quantile from 3 degrees of freedom on.

    Exact for 1 and 2 degrees. Source: Abramowitz and Stegun 1964, 26.7.5 (expansion around the normal).
    """
    if freedom == 1:
        return float(np.tan(np.pi * (probability - 0.5)))
    if freedom == 2:
        a = 2 * probability - 1
        return float(a * np.sqrt(2 / (1 - a * a)))
    z = NormalDist().inv_cdf(probability)
    g1 = (z**3 + z) / 4
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    g3 = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    g4 = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + g1 / freedom + g2 / freedom**2 + g3 / freedom**3 + g4 / freedom**4


def resample_means(values: Doubles, seed: int, resamples: int = RESAMPLES) -> Doubles:
    """Means of `values` (n, c) over users drawn n at a time with replacement, (resamples, c).

    All columns see the same draws, so differences between columns are paired.
    Source: Efron and Tibshirani 1993, chapters 6 and 13 (percentile bootstrap).
    """
    rng = np.random.default_rng(seed)
    sums, counts = _group(values, rng)
    g = len(sums)
    out = np.empty((resamples, values.shape[1]))
    for i in range(resamples):
        drawn = np.bincount(rng.integers(g, size=g), minlength=g)
        out[i] = (drawn @ sums) / (drawn @ counts)
    return out


def percentile_interval(point: float, draws: Doubles, users: int, level: float = LEVEL) -> Estimate:
    """The point with the percentiles of its resamples as bounds; no bounds for fewer than two users."""
    if users < 2:
        return Estimate(point, None, None, users)
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2])
    return Estimate(point, float(low), float(high), users)


def lift(
    value: float,
    base: float,
    draws: Doubles,
    base_draws: Doubles,
    users: int,
    comparisons: int = 1,
) -> Lift:
    """Lift of an arm over its base, from their means and the paired resamples of both.

    Args:
        value, base: means of the arm and of its base.
        draws, base_draws: (resamples,), row by row of the same drawn users.
        users: how many users the means are over.
        comparisons: how many lifts the reader is shown; `clear` shares LEVEL out among them (Bonferroni).
    """
    difference = draws - base_draws
    absolute = percentile_interval(value - base, difference, users)
    strict = percentile_interval(value - base, difference, users, 1 - (1 - LEVEL) / max(comparisons, 1))
    relative = None
    if base > 0 and (base_draws > 0).all():
        relative = percentile_interval(value / base - 1, draws / base_draws - 1, users)
    return Lift(absolute, relative, strict.excludes(0.0))


def users_needed(differences: Doubles, effect: float) -> int | None:
    """Users to find a mean paired difference of `effect` with POWER at LEVEL; None for no spread or effect.

    n = (z_{1 - alpha/2} + z_power)^2 s^2 / effect^2. Source: Cohen 1988, chapter 2, normal approximation.
    """
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    if not spread or not effect:
        return None
    return int(np.ceil((_two_quantiles() * spread / effect) ** 2))


def detectable_effect(differences: Doubles) -> float | None:
    """Smallest mean paired difference that so many users find with POWER at LEVEL; None under two users."""
    if len(differences) < 2:
        return None
    return float(_two_quantiles() * differences.std(ddof=1) / np.sqrt(len(differences)))


def _two_quantiles() -> float:
    return NormalDist().inv_cdf(0.5 + LEVEL / 2) + NormalDist().inv_cdf(POWER)


def _group(values: Doubles, rng: np.random.Generator) -> tuple[Doubles, Doubles]:
    """Sums and sizes of the units that are drawn: users, or random groups of them where they are many."""
    n = len(values)
    if n <= MOST_GROUPS:
        return values, np.ones(n)
    group = rng.permutation(n) % MOST_GROUPS
    sums = np.stack([np.bincount(group, column, minlength=MOST_GROUPS) for column in values.T], 1)
    return sums.astype(np.float64), np.bincount(group, minlength=MOST_GROUPS).astype(np.float64)
