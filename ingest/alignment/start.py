"""Heads in closed form: training begins where the modalities of a video correlate already."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from features.contracts import Floats
from ingest.alignment.corpus import Corpus, Pairs
from ingest.alignment.settings import AlignSettings
from ingest.encoders.heads import Head, identity_head

PORTION = 65_536
"""Videos whose vectors are multiplied at once, in double precision."""
Around = tuple[Floats, Floats]
"""Vectors of all videos, (n, d), and the centre from which they are seen, (d,)."""
Rows = npt.NDArray[np.intp]


def start_heads(corpus: Corpus, pairs: Pairs, settings: AlignSettings) -> dict[str, Head]:
    """A head for every modality of `pairs`, and identity for those that share a space."""
    if corpus.shared:
        return _regress_on_anchor(corpus, pairs, settings)
    return _correlate(corpus, pairs, settings)


def mean_present(corpus: Corpus, modality: str) -> Floats:
    """Mean vector of the videos that have the modality, float32, (d,); zero where none has."""
    total = corpus.vectors[modality].sum(axis=0, dtype=np.float64)
    return np.asarray(total / max(int(corpus.present[modality].sum()), 1), np.float32)


def spread(corpus: Corpus) -> float:
    """Mean of one minus the cosine between two videos of the anchor, (0, 1]; 1 where there is no anchor.

    Vectors in a narrow cone differ by little: a temperature counts in units of this.
    """
    lengths = [float(np.square(mean_present(corpus, name)).sum()) for name in corpus.shared]
    return max(1.0 - float(np.mean(lengths)), 0.01) if lengths else 1.0


def _correlate(corpus: Corpus, pairs: Pairs, settings: AlignSettings) -> dict[str, Head]:
    """Axes on which the modalities of a video correlate.

    Source: generalised canonical correlation in the sum-of-correlations form of Kettenring, Biometrika 1971;
    we add a ridge, and weigh each axis by its shared part, squared, so that axes nobody shares vanish.
    """
    names = [name for name in corpus.vectors if any(name in pair for pair in pairs)]
    means = {name: mean_present(corpus, name) for name in names}
    sizes = [len(mean) for mean in means.values()]
    ends = np.cumsum(sizes)
    span = {name: slice(end - size, end) for name, size, end in zip(names, sizes, ends, strict=True)}
    shared, unmix = (torch.zeros(sum(sizes), sum(sizes), dtype=torch.float64) for _ in range(2))
    for name, place in span.items():
        present = np.flatnonzero(corpus.present[name])
        own = (corpus.vectors[name], means[name])
        unmix[place, place] = _whitener(_mean_product(own, own, present), settings.ridge)
    for a, b in pairs:
        both = np.flatnonzero(corpus.present[a] & corpus.present[b])
        left, right = ((corpus.vectors[name], means[name]) for name in (a, b))
        cross = _mean_product(left, right, both)  # (d_a, d_b)
        shared[span[a], span[b]], shared[span[b], span[a]] = cross, cross.T
    weights = _shared_axes(shared, unmix, settings.dim)
    return {name: Head(means[name], weights[rows].float().numpy()) for name, rows in span.items()}


def _shared_axes(shared: torch.Tensor, unmix: torch.Tensor, dim: int) -> torch.Tensor:
    """Leading axes of the correlations, weighed, float64, (sum of d_in, dim)."""
    values, axes = torch.linalg.eigh(unmix.T @ shared @ unmix)
    values, axes = values.flip(0)[:dim], axes.flip(1)[:, :dim]
    weights = unmix @ (axes * values.clamp_min(0.0).square())  # (sum of d_in, <= dim)
    weights = F.pad(weights, (0, dim - weights.shape[1]))
    return weights * (math.sqrt(dim) / max(float(weights.norm()), 1e-9))


def _whitener(covariance: torch.Tensor, ridge: float) -> torch.Tensor:
    """Inverse transposed Cholesky factor of the covariance with a ridge, float64, (d, d)."""
    inverse: torch.Tensor = torch.linalg.inv(torch.linalg.cholesky(_with_ridge(covariance, ridge)))
    return inverse.T


def _with_ridge(covariance: torch.Tensor, ridge: float) -> torch.Tensor:
    unit = torch.eye(len(covariance), dtype=torch.float64)
    return covariance + (ridge * covariance.trace() / len(unit) + 1e-9) * unit


def _mean_product(left: Around, right: Around, rows: Rows) -> torch.Tensor:
    """Mean over some videos of the outer product of two vectors, each around its centre, float64, (d, d')."""
    total = torch.zeros(len(left[1]), len(right[1]), dtype=torch.float64)
    for start in range(0, len(rows), PORTION):
        some = rows[start : start + PORTION]
        a, b = (torch.from_numpy(held[some] - centre).double() for held, centre in (left, right))
        total += a.T @ b
    return total / max(len(rows), 1)


def _regress_on_anchor(corpus: Corpus, pairs: Pairs, settings: AlignSettings) -> dict[str, Head]:
    """Ridge regression of a video's vector in the anchor space on each modality that is not in it.

    What the modality cannot know shrinks to the mean of the anchor space, which the head's shift holds. Each
    anchor modality is centred first: pictures and words of one space often lie in cones of their own.
    """
    dim = corpus.vectors[corpus.shared[0]].shape[1]
    heads = {name: identity_head(dim) for name in corpus.shared}
    means = {name: mean_present(corpus, name) for name in corpus.shared}
    total, count = np.zeros((len(corpus), dim), np.float32), np.zeros((len(corpus), 1), np.float32)
    for name, centre in means.items():
        total += np.where(corpus.present[name][:, None], corpus.vectors[name] - centre, 0.0)
        count += corpus.present[name][:, None]
    target = np.asarray(total / np.maximum(count, 1.0), np.float32)  # (n, dim)
    shift = np.mean(list(means.values()), axis=0)  # (dim,)
    for name in {name for pair in pairs for name in pair} - set(corpus.shared):
        both = np.flatnonzero(corpus.present[name] & (count[:, 0] > 0))
        mean = mean_present(corpus, name)
        own, wanted = (corpus.vectors[name], mean), (target, np.zeros(dim, np.float32))
        covariance = _with_ridge(_mean_product(own, own, both), settings.ridge)
        weights = torch.linalg.solve(covariance, _mean_product(own, wanted, both))
        heads[name] = Head(mean, weights.float().numpy(), shift.astype(np.float32))
    return heads
