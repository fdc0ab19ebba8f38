"""What a training finds among videos it has not seen, beside the same training on shuffled pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from features.contracts import Int64s
from ingest.alignment.corpus import ALONE, Corpus, Pairs
from ingest.alignment.settings import AlignSettings
from ingest.alignment.train import train_heads
from ingest.encoders.heads import Head

FEWEST = 5
"""Common videos below which a fold says nothing of two modalities."""


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """Means over folds and both directions, of two modalities."""

    recall: float
    control: float
    videos: int
    """Videos held out that have both."""


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
    by_pair: dict[str, PairVerdict] = field(default_factory=dict)
    """The same by pair of modalities ("visual-audio")."""


def judge(corpus: Corpus, pairs: Pairs, settings: AlignSettings) -> Verdict:
    """Recall on held-out videos, always from a closed-form start: last night's heads have seen them all."""
    watched, judged = [], 0
    plain: list[dict[str, float]] = []
    shuffled: list[dict[str, float]] = []
    counts: list[dict[str, int]] = []
    for fold, (kept, held) in enumerate(folds(corpus.groups, settings)):
        train, test = corpus.part(kept), corpus.part(held)
        seed, alone = settings.seed + fold, train.without_co_watched()
        found = pair_recalls(test, pairs, train_heads(alone, pairs, settings, seed))
        if not found:
            continue
        plain.append(found)
        shuffled.append(pair_recalls(test, pairs, train_heads(alone.shuffled(seed), pairs, settings, seed)))
        counts.append({f"{a}-{b}": int((test.present[a] & test.present[b]).sum()) for a, b in pairs})
        judged += len(held)
        if train.co_watched:
            watched.append(recall(test, pairs, train_heads(train, pairs, settings, seed)) or 0.0)
    if not judged:
        return Verdict(0.0, 0.0, 0, None)
    more = float(np.mean(watched)) if watched else None
    mean, fooled = (float(np.mean([_mean(one) for one in folds_of])) for folds_of in (plain, shuffled))
    return Verdict(mean, fooled, judged, more, _by_pair(plain, shuffled, counts))


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


def _by_pair(
    plain: list[dict[str, float]], shuffled: list[dict[str, float]], counts: list[dict[str, int]]
) -> dict[str, PairVerdict]:
    names = {name for one in plain for name in one}
    return {
        name: PairVerdict(
            float(np.mean([one[name] for one in plain if name in one])),
            float(np.mean([one[name] for one in shuffled if name in one])),
            sum(count[name] for count, one in zip(counts, plain, strict=True) if name in one),
        )
        for name in sorted(names)
    }


def _mean(shares: dict[str, float]) -> float:
    return float(np.mean(list(shares.values())))


def recall(corpus: Corpus, pairs: Pairs, heads: dict[str, Head]) -> float | None:
    """Mean of `pair_recalls`; None where no pair can be judged."""
    shares = pair_recalls(corpus, pairs, heads)
    return _mean(shares) if shares else None


def pair_recalls(corpus: Corpus, pairs: Pairs, heads: dict[str, Head]) -> dict[str, float]:
    """By pair ("visual-audio"): share of videos whose other half is among the nearest tenth, both directions.

    A near-duplicate that is nearer than the video's own other half does not count against it. Pairs of which
    hardly a video has both are left out.
    """
    shares = {}
    for a, b in pairs:
        both = np.flatnonzero(corpus.present[a] & corpus.present[b])
        if len(both) < FEWEST:
            continue
        cosine = heads[a].apply(corpus.vectors[a][both]) @ heads[b].apply(corpus.vectors[b][both]).T
        k = max(1, len(cosine) // 10)
        own, groups = np.diagonal(cosine), corpus.groups[both]
        rivals = (groups[:, None] != groups[None, :]) | (groups == ALONE)[:, None]
        there = (((cosine > own[:, None]) & rivals).sum(axis=1) < k).mean()
        back = (((cosine > own[None, :]) & rivals).sum(axis=0) < k).mean()
        shares[f"{a}-{b}"] = float(there + back) / 2.0
    return shares
