"""From one number a user, metric and arm to what a reader is shown: means with intervals, and lifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ranker.evaluation.arms import Arm
from ranker.evaluation.metrics import METRICS, Doubles
from ranker.evaluation.statistics import Estimate, Lift, lift, percentile_interval, resample_means

PRIMARY = "ndcg"
"""The metric that decides; the others explain."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that is known of the arms, on the same users and the same resamples."""

    arms: list[Arm]
    """The first is the control."""
    values: Doubles
    """float64, (arms, users, metrics), metrics in the order of METRICS."""
    draws: Doubles
    """Resampled means, (resamples, arms, metrics)."""

    @property
    def users(self) -> int:
        return int(self.values.shape[1])

    def mean(self, arm: int, metric: str) -> Estimate:
        """Mean of a metric over users, with its percentile interval."""
        at = metric_place(metric)
        return percentile_interval(float(self.values[arm, :, at].mean()), self.draws[:, arm, at], self.users)

    def lift(self, arm: int, base: int, metric: str, comparisons: int = 1) -> Lift:
        """Lift of one arm over another."""
        at = metric_place(metric)
        means = self.values[:, :, at].mean(axis=1)
        draws = self.draws[:, :, at]
        return lift(
            float(means[arm]), float(means[base]), draws[:, arm], draws[:, base], self.users, comparisons
        )

    def differences(self, arm: int, base: int, metric: str = PRIMARY) -> Doubles:
        """Paired differences of one arm to another, (users,)."""
        at = metric_place(metric)
        return np.asarray(self.values[arm, :, at] - self.values[base, :, at])


@dataclass(frozen=True, slots=True)
class Ablation:
    """What a component adds: a bundle against the same bundle without it."""

    component: str
    full: int
    """Arm with it."""
    less: int
    """Arm without it."""
    gain: Lift
    """Of the primary metric, with over without."""

    @property
    def hurts(self) -> bool:
        """The bundle is clearly better without it."""
        return self.gain.clear and self.gain.absolute.value < 0


def compare(arms: list[Arm], values: list[Doubles], seed: int) -> Comparison:
    """The arms with their users' values, (users, metrics) each, resampled together."""
    stacked = np.stack(values)  # (a, u, m)
    flat = np.moveaxis(stacked, 0, 1).reshape(stacked.shape[1], -1)  # (u, a * m)
    draws = resample_means(flat, seed)
    return Comparison(arms, stacked, draws.reshape(len(draws), len(arms), len(METRICS)))


def ablations(compared: Comparison) -> list[Ablation]:
    """Every arm that is another arm less one component, with what the component adds."""
    pairs = [
        (next(iter(less.without - full.without)), i, j)
        for i, full in enumerate(compared.arms)
        for j, less in enumerate(compared.arms)
        if full.kind == "bundle"
        and (full.kind, full.bundle) == (less.kind, less.bundle)
        and full.without < less.without
        and len(less.without - full.without) == 1
    ]
    return [Ablation(name, i, j, compared.lift(i, j, PRIMARY, len(pairs))) for name, i, j in sorted(pairs)]


def metric_place(metric: str) -> int:
    """Column of a metric."""
    return list(METRICS).index(metric)
