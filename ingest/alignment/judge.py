"""What a training finds among videos it has not seen, beside the same training on shuffled pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from features.contracts import Int64s
from ingest.alignment.corpus import ALONE, Corpus, Pairs
from ingest.alignment.settings import AlignSettings
from ingest.alignment.train import train_heads
from ingest.encoders.heads import Head

FEWEST = 5
"""Common videos below which a fold says nothing of two modalities."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Means over folds."""

    recall: float
    """Share of held-out pairs found among the nearest tenth, [0, 1]."""
    control: float
    """The same after training on shuffled pairs, [0, 1]."""
    judged: int
    """Videos held out in all."""
    recall_watched: float | None
    """`recall` of heads trained on co-watched pairs too; None where there are none."""


def judge(corpus: Corpus, pairs: Pairs, settings: AlignSettings) -> Verdict:
    """Recall on held-out videos, always from a closed-form start: last night's heads have seen them all."""
    plain, watched, shuffled, judged = [], [], [], 0
    for fold, (kept, held) in enumerate(folds(corpus.groups, settings)):
        train, test = corpus.part(kept), corpus.part(held)
        seed, alone = settings.seed + fold, train.without_co_watched()
        found = recall(test, pairs, train_heads(alone, pairs, settings, seed))
        fooled = recall(test, pairs, train_heads(alone.shuffled(seed), pairs, settings, seed))
        if found is None or fooled is None:
            continue
        plain.append(found)
        shuffled.append(fooled)
        judged += len(held)
        if train.co_watched:
            watched.append(recall(test, pairs, train_heads(train, pairs, settings, seed)) or 0.0)
    if not judged:
        return Verdict(0.0, 0.0, 0, None)
    more = float(np.mean(watched)) if watched else None
    return Verdict(float(np.mean(plain)), float(np.mean(shuffled)), judged, more)


def folds(groups: Int64s, settings: AlignSettings) -> Iterator[tuple[Int64s, Int64s]]:
    """Rows to train on and rows held out; near-duplicates are never on both sides."""
    units = np.where(groups == ALONE, groups.max(initial=ALONE) + 1 + np.arange(len(groups)), groups)
    _, unit = np.unique(units, return_inverse=True)
    order = np.random.default_rng(settings.seed).permutation(unit.max(initial=-1) + 1)
    place = np.argsort(order)[unit]  # of each video's group in a random order
    rows = np.argsort(place, kind="stable")
    if len(groups) > settings.folds * settings.max_judged:
        first = place <= place[rows[settings.max_judged - 1]]
        yield np.flatnonzero(~first), np.flatnonzero(first)
        return
    for fold in range(settings.folds):
        held = place % settings.folds == fold
        yield np.flatnonzero(~held), np.flatnonzero(held)


def recall(corpus: Corpus, pairs: Pairs, heads: dict[str, Head]) -> float | None:
    """Share of videos whose other half is among the nearest tenth: mean over pairs and directions.

    A near-duplicate that is nearer than the video's own other half does not count against it.
    """
    shares = []
    for a, b in pairs:
        both = np.flatnonzero(corpus.present[a] & corpus.present[b])
        if len(both) < FEWEST:
            continue
        cosine = heads[a].apply(corpus.vectors[a][both]) @ heads[b].apply(corpus.vectors[b][both]).T
        k = max(1, len(cosine) // 10)
        own, groups = np.diagonal(cosine), corpus.groups[both]
        rivals = (groups[:, None] != groups[None, :]) | (groups == ALONE)[:, None]
        shares += [float((((cosine > own[:, None]) & rivals).sum(axis=1) < k).mean())]
        shares += [float((((cosine > own[None, :]) & rivals).sum(axis=0) < k).mean())]
    return float(np.mean(shares)) if shares else None
