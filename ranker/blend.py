"""The floor of scorers: a weighted sum of the sources' scores, each in units of its spread for a user."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.contracts import Floats

STEPS = (0.25, 0.5, 1.0)
"""How far a weight is moved at a time when the sum is tuned, in its own units."""


def z_scores(scores: Floats, present: npt.NDArray[np.bool_]) -> Floats:
    """Each source's scores less their mean, over their spread, among a user's candidates.

    Args:
        scores: float32, (u, c, s).
        present: which candidates there are, (u, c).

    Returns:
        float32, (u, c, s); 0 for absent candidates and for sources that score all candidates alike.
    """
    mask = present[:, :, None]
    count = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    values = np.where(mask, scores, 0.0).astype(np.float64)
    mean = values.sum(axis=1, keepdims=True) / count
    apart = np.where(mask, values - mean, 0.0)
    spread = np.sqrt((apart * apart).sum(axis=1, keepdims=True) / count)
    return np.where(spread > 1e-9, apart / np.maximum(spread, 1e-9), 0.0).astype(np.float32)


def fit_blend(z: Floats, labels: Floats, present: npt.NDArray[np.bool_], *, k: int = 20) -> Floats:
    """Weights of the sources that rank liked candidates first, float32, (s,), not negative.

    First the maximum of the softmax likelihood of the liked among the candidates, by gradient ascent; then
    one weight at a time is moved while that lifts mean nDCG@k, which the likelihood only stands in for.

    Args:
        z: `z_scores`, (u, c, s).
        labels: gains, float32, (u, c), >= 0.
        present: (u, c).
        k: depth of the measure.
    """
    usable = (labels * present).any(axis=1)
    n_sources = z.shape[2]
    if not usable.any():
        return np.full(n_sources, 1.0 / n_sources, np.float32)
    z, labels, present = z[usable], labels[usable], present[usable]
    weights = _likeliest(z, labels, present) * z.any(axis=(0, 1))  # a source that says nothing weighs nothing
    best = mean_ndcg(z @ weights, labels, present, k)
    for step in (*STEPS[::-1], *STEPS[::-1]):
        for source in range(n_sources):
            for moved in (
                weights[source] * (1 + step),
                weights[source] * (1 - step),
                weights[source] + 0.2 * step,
            ):
                trial = weights.copy()
                trial[source] = max(0.0, moved)
                value = mean_ndcg(z @ trial, labels, present, k)
                if value > best + 1e-6:
                    weights, best = trial, value
    return weights


def ndcg_by_user(scores: Floats, labels: Floats, present: npt.NDArray[np.bool_], k: int) -> Floats:
    """nDCG@k of each user among their candidates, float32, (u,); 0 where nothing is liked."""
    k = min(k, scores.shape[1])
    order = np.argsort(-np.where(present, scores, -np.inf), axis=1, kind="stable")[:, :k]
    discount = 1.0 / np.log2(np.arange(k) + 2)
    gained = (np.take_along_axis(labels * present, order, 1) * discount).sum(axis=1)
    ideal = (-np.sort(-labels * present, axis=1)[:, :k] * discount).sum(axis=1)
    return np.where(ideal > 0, gained / np.maximum(ideal, 1e-12), 0.0).astype(np.float32)


def mean_ndcg(scores: Floats, labels: Floats, present: npt.NDArray[np.bool_], k: int) -> float:
    """Mean of `ndcg_by_user`."""
    return float(ndcg_by_user(scores, labels, present, k).mean())


def _likeliest(z: Floats, labels: Floats, present: npt.NDArray[np.bool_]) -> Floats:
    share = labels * present
    share = share / share.sum(axis=1, keepdims=True)  # (u, c)
    weights = np.full(z.shape[2], 0.5, np.float64)
    liked = np.einsum("uc,ucs->us", share, z).mean(axis=0)
    for _ in range(100):
        logits = np.where(present, z @ weights.astype(np.float32), -np.inf)
        chance = np.exp(logits - logits.max(axis=1, keepdims=True))
        chance /= chance.sum(axis=1, keepdims=True)
        gradient = liked - np.einsum("uc,ucs->us", chance, z).mean(axis=0) - 1e-3 * weights
        weights = np.maximum(weights + 0.5 * gradient, 0.0)
    return weights.astype(np.float32)
