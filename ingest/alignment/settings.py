"""How heads are trained and judged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AlignSettings:
    """How heads are trained and judged."""

    dim: int = 64
    """Length of joint vectors; where modalities share a space already, theirs counts."""
    ridge: float = 0.1
    """Of the closed-form start, in units of a modality's mean variance."""
    steps: int = 30
    """Of InfoNCE, from there."""
    warm_steps: int = 10
    """From last night's heads."""
    batch: int = 512
    """Videos a step; all where there are fewer."""
    learning_rate: float = 0.003
    weight_decay: float = 0.1
    temperature: float = 0.3
    """Of InfoNCE; in a space that others share, in units of how far its vectors are apart."""
    noise: float = 0.3
    """Expected length of the noise added to a unit input while training."""
    same: float = 0.95
    """Two videos nearer than this in any modality (cosine) are no negatives of each other."""
    co_watched: float = 0.1
    """Weight of the loss on videos watched by the same people, beside 1 for the modalities of one video."""
    min_pairs: int = 40
    """Two modalities with fewer common videos are not aligned with each other."""
    folds: int = 4
    max_judged: int = 500
    """Above `folds` times this many videos, one fold of this size is judged: it is large enough."""
    warm_slack: float = 0.02
    """Heads from last night's that find this much less than fresh ones give way to these."""
    seed: int = 7
