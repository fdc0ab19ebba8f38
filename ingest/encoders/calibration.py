"""From scores to probabilities, and how far both can be trusted. In NumPy and SciPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize  # type: ignore[import-untyped]
from scipy.special import expit, logit  # type: ignore[import-untyped]
from scipy.stats import rankdata  # type: ignore[import-untyped]

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

Z95: Final = 1.959964
BINS: Final = 10


MAX_NEGATIVES: Final = 512
"""Examples where something does not apply are summed up by so many means: they are many and alike."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Probability of a score z: ceiling / (1 + exp(-(slope z + intercept)))."""

    slope: float
    intercept: float
    ceiling: float
    """(0, 1): how often something that clearly applies was said, for people do not say all that applies."""

    def __call__(self, z: npt.NDArray[np.floating]) -> Doubles:
        return np.asarray(self.ceiling * expit(self.slope * z + self.intercept), np.float64)


FLAT: Final = Curve(1.0, -3.0, 0.9)
"""Where nothing is known: one in twenty, and more with a higher score."""


def fit_curve(z: Doubles, applies: Bools, prior: Curve = FLAT, strength: float = 1.0) -> Curve:
    """The curve of these scores, drawn towards a prior: scores that part cleanly leave it finite.

    Args:
        z: scores of about unit spread, (n,).
        applies: what was said, (n,).
        prior: mean of a normal prior on slope, intercept and the logit of the ceiling.
        strength: its precision, > 0: in effect, of so many examples.

    Source: Platt, "Probabilistic Outputs for Support Vector Machines", 1999; we differ in the prior, which
    takes the place of his smoothed targets, and in the ceiling.
    """
    negatives, counts = _summed_up(z[~applies])
    score = np.concatenate([z[applies], negatives])
    weight = np.concatenate([np.ones(int(applies.sum())), counts])
    truth = np.arange(len(score)) < applies.sum()
    mean = np.array([prior.slope, prior.intercept, logit(prior.ceiling)])

    def loss(w: Doubles) -> tuple[float, Doubles]:
        inner, ceiling = expit(w[0] * score + w[1]), expit(w[2])
        p = np.clip(ceiling * inner, 1e-12, 1.0 - 1e-12)
        pull = (truth - p) / (1.0 - p) * weight  # slope of the log-likelihood, less its last factor
        by_score = pull * (1.0 - inner)
        gradient = np.array([by_score @ score, by_score.sum(), pull.sum() * (1.0 - ceiling)])
        likelihood = weight @ np.where(truth, np.log(p), np.log1p(-p))
        off = w - mean
        return float(strength / 2 * (off @ off) - likelihood), strength * off - gradient

    found = minimize(loss, mean, jac=True, method="L-BFGS-B").x
    return Curve(float(found[0]), float(found[1]), float(expit(found[2])))


def _summed_up(z: Doubles) -> tuple[Doubles, Doubles]:
    """Means of equal parts of the sorted scores, and how many stand behind each."""
    parts = np.array_split(np.sort(z), min(MAX_NEGATIVES, max(1, len(z))))
    kept = [part for part in parts if len(part)]
    return np.array([part.mean() for part in kept]), np.array([float(len(part)) for part in kept])


@dataclass(frozen=True, slots=True)
class Auc:
    """Chance that a score where something applies is higher than one where it does not."""

    value: float
    low: float
    """Of the 95 % interval."""
    high: float

    @property
    def beats_chance(self) -> bool:
        """True where the interval lies above one half."""
        return self.low > 0.5


def auc_of(scores: npt.NDArray[np.floating], applies: Bools) -> Auc:
    """Area under the ROC curve with a 95 % interval; (0.5, 0, 1) where all apply or none does.

    The standard error is the larger of DeLong's and that of scores without a meaning: the first alone would
    call two lucky examples certain.
    Source: DeLong, DeLong & Clarke-Pearson, Biometrics 1988, section 2; Mann & Whitney 1947, for the second.
    """
    yes, no = int(applies.sum()), int((~applies).sum())
    if not yes or not no:
        return Auc(0.5, 0.0, 1.0)
    ranks = rankdata(scores)
    # Placements: for each example of one side, the share of the other side that lies beyond it.
    above = (ranks[applies] - rankdata(scores[applies])) / no
    below = 1.0 - (ranks[~applies] - rankdata(scores[~applies])) / yes
    variance = above.var() / max(1, yes - 1) + below.var() / max(1, no - 1)
    by_chance = (yes + no + 1) / (12.0 * yes * no)
    value, half = float(above.mean()), Z95 * float(np.sqrt(max(variance, by_chance)))
    return Auc(value, max(0.0, value - half), min(1.0, value + half))


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions of about one probability."""

    predicted: float
    """Their mean."""
    observed: float
    """Share of them that came true."""
    count: int


def reliability(predicted: Doubles, applies: Bools) -> tuple[Bin, ...]:
    """Ten bins of equal width over [0, 1], those without a prediction left out."""
    places = np.minimum((predicted * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(places, minlength=BINS)
    mean = np.bincount(places, predicted, BINS) / np.maximum(count, 1)
    true = np.bincount(places, applies, BINS) / np.maximum(count, 1)
    return tuple(Bin(float(p), float(o), int(n)) for p, o, n in zip(mean, true, count, strict=True) if n)


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Mean distance of probability and frequency over bins, weighted by their counts, [0, 1].

    Source: Naeini, Cooper & Hauskrecht, AAAI 2015, section 4: the expected calibration error.
    """
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.predicted - one.observed) for one in bins) / total if total else 0.0
