"""Training of one space for all modalities, on the corpus itself: what belongs to one video shall meet.

Linear heads, started in closed form and trained by symmetric InfoNCE between every two modalities, and a
verdict: the same training on shuffled pairs is the control, and a space that does not find held-out pairs
clearly better than its control is not to be published.
Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
figure 3; we differ in that near-duplicates are no negatives of each other, and in the noise on the inputs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F

from features.contracts import Floats, Int64s
from ingest.encoders.heads import Head, Heads

log = logging.getLogger(__name__)

Vectors = dict[str, Floats]


@dataclass(frozen=True, slots=True)
class AlignSettings:
    """How heads are trained and judged."""

    dim: int = 64
    """Length of joint vectors."""
    ridge: float = 0.1
    """Of the closed-form start, in units of a modality's mean variance."""
    steps: int = 30
    """Of InfoNCE, from there."""
    batch: int = 512
    """Videos a step; all where there are fewer."""
    learning_rate: float = 0.003
    weight_decay: float = 0.1
    temperature: float = 0.3
    noise: float = 0.3
    """Expected length of the noise added to a unit input while training."""
    same: float = 0.95
    """Two videos nearer than this in any modality (cosine) are no negatives of each other."""
    min_pairs: int = 40
    """Two modalities with fewer common videos are not aligned with each other."""
    folds: int = 4
    max_judged: int = 500
    """Above `folds` times this many videos, one fold of this size is judged: it is large enough."""
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Alignment:
    """Trained heads and what they are worth."""

    heads: Heads
    recall: float
    """Share of held-out pairs found among the nearest tenth, mean over directions and pairs, [0, 1]."""
    control: float
    """The same for heads trained on shuffled pairs, [0, 1]."""
    judged: int
    """Videos held out in all."""

    @property
    def beats_control(self) -> bool:
        """True where recall is above the control by three standard errors, and by 0.02 at least."""
        if not self.judged:
            return False
        chance = max(self.control, 0.1)
        error = math.sqrt(chance * (1.0 - chance) / self.judged)
        return self.recall > self.control + max(3.0 * error, 0.02)


def align(
    vectors: Vectors, encoder_version: str, settings: AlignSettings, threads: int = 1
) -> Alignment | None:
    """Heads trained on all videos, with the recall that the same training reaches on held-out ones.

    Args:
        vectors: unit rows (n, d_in) by modality, zero rows where it is missing; the same n for all.
        encoder_version: of the vectors.
        settings: how.
        threads: torch threads while training.

    Returns:
        None where no two modalities have `min_pairs` common videos: there is nothing to align.
    """
    pairs = _trainable_pairs(vectors, settings.min_pairs)
    if not pairs:
        return None
    with _torch_threads(threads):
        recall, control, judged = _judge(vectors, pairs, settings)
        heads = Heads(encoder_version, True, _train(vectors, pairs, settings, settings.seed))
    log.info("aligned recall=%.3f control=%.3f judged=%d on %s", recall, control, judged, encoder_version)
    return Alignment(heads, recall, control, judged)


def _trainable_pairs(vectors: Vectors, min_pairs: int) -> list[tuple[str, str]]:
    present = {name: rows.any(axis=1) for name, rows in vectors.items()}
    common = {(a, b): int((present[a] & present[b]).sum()) for a, b in combinations(vectors, 2)}
    return [pair for pair, count in common.items() if count >= min_pairs]


def _judge(
    vectors: Vectors, pairs: list[tuple[str, str]], settings: AlignSettings
) -> tuple[float, float, int]:
    """Recall on held-out videos, recall of the shuffled control on the same ones, and how many they are."""
    true, shuffled, judged = [], [], 0
    for fold, (kept, held) in enumerate(_folds(len(next(iter(vectors.values()))), settings)):
        train = {name: rows[kept] for name, rows in vectors.items()}
        test = {name: rows[held] for name, rows in vectors.items()}
        seed = settings.seed + fold
        found = _recall(test, pairs, _train(train, pairs, settings, seed))
        fooled = _recall(test, pairs, _train(_shuffle(train, seed), pairs, settings, seed))
        if found is not None and fooled is not None:
            true.append(found)
            shuffled.append(fooled)
            judged += len(held)
    return (float(np.mean(true)), float(np.mean(shuffled)), judged) if judged else (0.0, 0.0, 0)


def _folds(n: int, settings: AlignSettings) -> Iterator[tuple[Int64s, Int64s]]:
    order = np.random.default_rng(settings.seed).permutation(n)
    if n > settings.folds * settings.max_judged:
        yield order[settings.max_judged :], order[: settings.max_judged]
        return
    for fold in range(settings.folds):
        held = np.arange(n) % settings.folds == fold
        yield order[~held], order[held]


def _shuffle(vectors: Vectors, seed: int) -> Vectors:
    """Every modality keeps its rows and loses its videos; who has which modality stays."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, rows in vectors.items():
        present = np.flatnonzero(rows.any(axis=1))
        out[name] = rows.copy()
        out[name][present] = rows[rng.permutation(present)]
    return out


def _recall(vectors: Vectors, pairs: list[tuple[str, str]], heads: dict[str, Head]) -> float | None:
    """Share of videos whose other half is among the nearest tenth: mean over pairs and directions."""
    shares = []
    for a, b in pairs:
        both = vectors[a].any(axis=1) & vectors[b].any(axis=1)
        if both.sum() < 5:
            continue
        cosine = heads[a].apply(vectors[a][both]) @ heads[b].apply(vectors[b][both]).T
        k = max(1, len(cosine) // 10)
        own = np.diagonal(cosine)
        shares += [float(((cosine > own[:, None]).sum(axis=1) < k).mean())]
        shares += [float(((cosine > own[None, :]).sum(axis=0) < k).mean())]
    return float(np.mean(shares)) if shares else None


def _train(
    vectors: Vectors, pairs: list[tuple[str, str]], settings: AlignSettings, seed: int
) -> dict[str, Head]:
    generator = torch.Generator().manual_seed(seed)
    means = {name: _mean_present(rows) for name, rows in vectors.items()}
    inputs = {name: torch.from_numpy(rows) for name, rows in vectors.items()}
    centres = {name: torch.from_numpy(mean) for name, mean in means.items()}
    weights = {n: w.requires_grad_() for n, w in _start(inputs, centres, pairs, settings).items()}
    optimizer = torch.optim.AdamW(
        weights.values(), settings.learning_rate, weight_decay=settings.weight_decay, foreach=True
    )
    n = len(next(iter(vectors.values())))
    with torch.enable_grad():
        for _ in range(settings.steps):
            some = torch.randperm(n, generator=generator)[: settings.batch]
            batch = {name: rows[some] for name, rows in inputs.items()}
            loss = _loss(batch, centres, weights, pairs, settings, generator)
            if loss is None:
                continue
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return {name: Head(means[name], weights[name].detach().numpy().copy()) for name in vectors}


def _mean_present(rows: Floats) -> Floats:
    return np.asarray(rows.sum(axis=0, dtype=np.float64) / max(int(rows.any(axis=1).sum()), 1), np.float32)


def _start(
    inputs: dict[str, torch.Tensor],
    centres: dict[str, torch.Tensor],
    pairs: list[tuple[str, str]],
    settings: AlignSettings,
) -> dict[str, torch.Tensor]:
    """Closed-form start by modality, float32, (d_in, dim): axes on which the modalities of a video correlate.

    Source: generalised canonical correlation in the sum-of-correlations form of Kettenring, Biometrika 1971;
    we add a ridge, and weigh each axis by its shared part, squared, so that axes nobody shares vanish.
    """
    sizes = [rows.shape[1] for rows in inputs.values()]
    ends = np.cumsum(sizes)
    span = {name: slice(end - size, end) for name, size, end in zip(inputs, sizes, ends, strict=True)}
    centred = {name: (rows - centres[name]).double() for name, rows in inputs.items()}
    present = {name: rows.any(dim=1) for name, rows in inputs.items()}
    shared, unmix = (torch.zeros(sum(sizes), sum(sizes), dtype=torch.float64) for _ in range(2))
    for name, rows in centred.items():
        unmix[span[name], span[name]] = _whitener(rows[present[name]], settings.ridge)
    for a, b in pairs:
        both = present[a] & present[b]
        cross = centred[a][both].T @ centred[b][both] / int(both.sum())  # (d_a, d_b)
        shared[span[a], span[b]], shared[span[b], span[a]] = cross, cross.T
    values, axes = torch.linalg.eigh(unmix.T @ shared @ unmix)
    values, axes = values.flip(0)[: settings.dim], axes.flip(1)[:, : settings.dim]
    weights = unmix @ (axes * values.clamp_min(0.0).square())  # (sum of d_in, <= dim)
    weights = F.pad(weights, (0, settings.dim - weights.shape[1]))
    weights *= math.sqrt(settings.dim) / max(float(weights.norm()), 1e-9)
    return {name: weights[rows].float().contiguous() for name, rows in span.items()}


def _whitener(centred: torch.Tensor, ridge: float) -> torch.Tensor:
    """Inverse transposed Cholesky factor of the covariance with a ridge, float64, (d, d)."""
    unit = torch.eye(centred.shape[1], dtype=torch.float64)
    covariance = centred.T @ centred / max(len(centred), 1)
    covariance += (ridge * covariance.trace() / len(unit) + 1e-9) * unit
    inverse: torch.Tensor = torch.linalg.inv(torch.linalg.cholesky(covariance))
    return inverse.T


def _loss(
    batch: dict[str, torch.Tensor],
    centres: dict[str, torch.Tensor],
    weights: dict[str, torch.Tensor],
    pairs: list[tuple[str, str]],
    settings: AlignSettings,
    generator: torch.Generator,
) -> torch.Tensor | None:
    """Symmetric InfoNCE, mean over the pairs of modalities; None where the batch has no pair."""
    losses = []
    for a, b in pairs:
        both = (batch[a].any(dim=1) & batch[b].any(dim=1)).nonzero()[:, 0]
        if len(both) < 2:
            continue
        x, y = batch[a][both], batch[b][both]  # (m, d_a), (m, d_b)
        alike = ((x @ x.T > settings.same) | (y @ y.T > settings.same)).fill_diagonal_(False)  # (m, m)
        left = _head(x, centres[a], weights[a], settings.noise, generator)  # (m, d)
        right = _head(y, centres[b], weights[b], settings.noise, generator)  # (m, d)
        logits = (left @ right.T / settings.temperature).masked_fill(alike, -1e4)  # (m, m)
        target = torch.arange(len(both))
        losses.append((F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2.0)
    return torch.stack(losses).mean() if losses else None


def _head(
    x: torch.Tensor, centre: torch.Tensor, weights: torch.Tensor, noise: float, generator: torch.Generator
) -> torch.Tensor:
    jitter = torch.randn(x.shape, generator=generator) * (noise / math.sqrt(x.shape[1]))
    return F.normalize((x - centre + jitter) @ weights, dim=1)


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
