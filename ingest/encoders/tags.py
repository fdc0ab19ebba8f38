"""Tags for videos from picture and sound alone, each with the probability that it applies.

A tag is a text query; its cosine to a video's picture and sound is its score, and `fit_tags` learns what a
score is worth. "Applies" means: whoever tags this catalogue would give it, were the video tagged at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts import MODALITIES, Floats, VideoTable
from ingest.encoders.calibration import Auc, Bin
from ingest.encoders.heads import Heads
from ingest.encoders.projector import unit_rows

SEEN: Final = ("visual", "audio")
"""What tags are read from: a video's own words would only repeat what somebody wrote."""

BLOCK: Final = 1 << 15
"""Videos scored at a time."""

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TagFit:
    """What is known of one tag."""

    tag: str
    uses: int
    """Videos that it was learnt from and that carry it."""
    auc: Auc | None
    """None where it has too few uses to be judged."""

    @property
    def kept(self) -> bool:
        """False where examples do not tell its scores from chance."""
        return self.auc is None or self.auc.beats_chance


@dataclass(frozen=True, slots=True)
class TagReport:
    """How good the probabilities are, on videos that were held out."""

    videos: int
    """Held out in all, each once."""
    error: float
    """Expected calibration error over all pairs of video and tag, [0, 1]."""
    bins: tuple[Bin, ...]
    told: int
    """Pairs at or above the threshold."""
    precision: float
    """Share of them that are true, [0, 1]; NaN where none was told."""
    recall: float
    """Share of true pairs that were told, [0, 1]."""
    unused_error: float
    """The same error for tags whose own examples were held out as well; NaN where it cannot be measured."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Some videos, and heads that were trained without them."""

    rows: Places
    """Of the video table, increasing, (r,)."""
    heads: Heads


@dataclass(frozen=True, slots=True)
class Tagger:
    """Probabilities of a vocabulary."""

    heads: Heads
    tags: tuple[str, ...]
    """Tags that are told, (t,)."""
    vectors: Floats
    """Unit vectors in the joint space, float32, (t, d)."""
    slopes: Floats
    """Of the cosine itself, float32, (t,)."""
    intercepts: Floats
    """float32, (t,)."""
    ceilings: Floats
    """Highest probability of each tag, float32, (t,)."""
    fits: tuple[TagFit, ...]
    """Of the whole vocabulary, those left out included."""
    unknown: tuple[str, ...]
    """Tags without a word that this catalogue knows."""
    report: TagReport

    def probabilities(self, videos: VideoTable, rows: Places) -> Floats:
        """Of each tag for some videos, float32, (r, t); NaN for a video without picture and sound."""
        seen = see(videos, self.heads, rows)
        logits = seen @ self.vectors.T * self.slopes + self.intercepts
        return np.where(seen.any(axis=1, keepdims=True), self.ceilings * _sigmoid(logits), np.nan).astype(
            np.float32
        )

    def best(self, videos: VideoTable, k: int, rows: Places | None = None) -> Iterator[TagBlock]:
        """The k likeliest tags of each video, so many videos at a time that memory stays bounded."""
        rows = np.arange(len(videos)) if rows is None else rows
        for start in range(0, len(rows), BLOCK):
            some = rows[start : start + BLOCK]
            tags, found = _largest(self.probabilities(videos, some), min(k, len(self.tags)))
            yield TagBlock(some, tags, found)


@dataclass(frozen=True, slots=True)
class TagBlock:
    """The likeliest tags of some videos, best first."""

    rows: Places
    """Of the video table, (b,)."""
    tags: npt.NDArray[np.int32]
    """Places in `Tagger.tags`, (b, k)."""
    probabilities: Floats
    """float32, (b, k), [0, 1]; NaN for a video without picture and sound."""


def catalogue_tags(videos: VideoTable, min_uses: int) -> tuple[str, ...]:
    """Tags that so many videos carry, most used first."""
    counts = Counter(tag for tags in videos.tags for tag in set(tags))
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return tuple(tag for tag, uses in ordered if uses >= min_uses)


def see(videos: VideoTable, heads: Heads, rows: Places) -> Floats:
    """Unit vectors of picture and sound in the joint space, float32, (r, d); zero where there is neither.

    What was filled in from neighbours does not count: it would be their tags.
    """
    total = np.zeros((len(rows), heads.dim), np.float32)
    for name in SEEN:
        if name in heads.comparable and videos.vectors[name].shape[1]:
            own = (videos.mask[rows] >> MODALITIES.index(name)) & 1 == 1
            vectors = np.where(own[:, None], videos.vectors[name][rows], np.float32(0.0))
            total += heads.by_modality[name].apply(vectors)
    return unit_rows(total)


def _largest(values: Floats, k: int) -> tuple[npt.NDArray[np.int32], Floats]:
    """Places and values of the k largest of each row, largest first; equals by place."""
    known: Any = np.nan_to_num(values, nan=-1.0)
    top = np.argpartition(-known, k - 1, axis=1)[:, :k]
    order = np.lexsort((top, -np.take_along_axis(known, top, axis=1)), axis=1)
    top = np.take_along_axis(top, order, axis=1)
    return top.astype(np.int32), np.take_along_axis(values, top, axis=1)


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), np.float32)
