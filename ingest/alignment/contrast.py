"""Losses of alignment, on tensors.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
figure 3; we differ in that near-duplicates are no negatives of each other, and in the noise on the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F

from ingest.alignment.corpus import ALONE, Pairs
from ingest.alignment.settings import AlignSettings

Tensors = Mapping[str, torch.Tensor]
NEVER = -1e4
"""Logit of a pair that is no negative: its share of the softmax is zero."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some videos."""

    vectors: Tensors
    """By modality, (m, d); zero rows where it is missing."""
    groups: torch.Tensor
    """Near-duplicates have the same number, (m,); ALONE for the others."""

    def alike(self, other: Batch, same: float) -> torch.Tensor:
        """True where a video of this batch is nearly one of the other, (m, m')."""
        found = (self.groups[:, None] == other.groups[None, :]) & (self.groups != ALONE)[:, None]
        for name, rows in self.vectors.items():
            found = found | (rows @ other.vectors[name].T > same)
        return found

    def has(self, name: str) -> torch.Tensor:
        """True where a video has the modality, (m,)."""
        return self.vectors[name].any(dim=1)


@dataclass(frozen=True, slots=True)
class Trainable:
    """Heads while they are trained: vectors (m, d_in) to unit vectors (m, d)."""

    centres: Tensors
    weights: Tensors
    shifts: Tensors
    temperature: float

    def apply(self, name: str, rows: torch.Tensor, noise: float, generator: torch.Generator) -> torch.Tensor:
        """Unit rows (m, d), with noise on the input; a shared space's own vectors are left as they are."""
        if name not in self.weights:
            return rows
        jitter = torch.randn(rows.shape, generator=generator) * (noise / math.sqrt(rows.shape[1]))
        out = (rows - self.centres[name] + jitter) @ self.weights[name] + self.shifts[name]
        return F.normalize(out, dim=1)


def same_video_loss(
    batch: Batch, heads: Trainable, pairs: Pairs, settings: AlignSettings, generator: torch.Generator
) -> torch.Tensor | None:
    """Symmetric InfoNCE, mean over the pairs of modalities; None where the batch has no pair."""
    losses = []
    alike = batch.alike(batch, settings.same).fill_diagonal_(False)  # (m, m)
    for a, b in pairs:
        both = (batch.has(a) & batch.has(b)).nonzero()[:, 0]
        if len(both) < 2:
            continue
        left = heads.apply(a, batch.vectors[a][both], settings.noise, generator)  # (k, d)
        right = heads.apply(b, batch.vectors[b][both], settings.noise, generator)  # (k, d)
        logits = (left @ right.T / heads.temperature).masked_fill(alike[both][:, both], NEVER)  # (k, k)
        target = torch.arange(len(both))
        losses.append((F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2.0)
    return torch.stack(losses).mean() if losses else None


def co_watched_loss(
    left: Batch,
    right: Batch,
    together: torch.Tensor,
    heads: Trainable,
    settings: AlignSettings,
    generator: torch.Generator,
) -> torch.Tensor | None:
    """InfoNCE with soft positives between any modality of a video and any of those watched with it.

    Args:
        left: m videos.
        right: m videos, the i-th watched by the people of the i-th of `left`.
        together: how much two of them are watched together, (m, m), >= 0, the diagonal > 0.
        heads: the heads.
        settings: noise, and what counts as a near-duplicate.
        generator: of the noise.

    Returns:
        The mean over pairs of modalities; None where no pair has two videos.
    """
    losses = []
    seen = {}
    for side, batch in (("left", left), ("right", right)):
        for name, rows in batch.vectors.items():
            seen[side, name] = heads.apply(name, rows, settings.noise, generator)  # (m, d)
    never = left.alike(right, settings.same) & (together == 0)  # (m, m)
    for a, b in product(left.vectors, right.vectors):
        both = (left.has(a) & right.has(b)).nonzero()[:, 0]
        if len(both) < 2:
            continue
        logits = seen["left", a][both] @ seen["right", b][both].T / heads.temperature
        logits = logits.masked_fill(never[both][:, both], NEVER)  # (k, k)
        target = F.normalize(together[both][:, both], p=1.0, dim=1)  # (k, k), rows sum to 1
        losses.append(F.cross_entropy(logits, target))
    return torch.stack(losses).mean() if losses else None
