"""Heads that have not seen the videos they are asked about: what a score is worth cannot be learnt elsewhere.

In a small catalogue trained heads know their own videos by heart: scored by those, tags of known videos look
far surer than the tags of new ones will be.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from features.contracts import MODALITIES, Floats, Int64s, VideoTable
from ingest.alignment.corpus import ALONE, Corpus
from ingest.alignment.judge import folds
from ingest.alignment.settings import AlignSettings
from ingest.alignment.train import train_heads
from ingest.encoders.heads import Heads
from ingest.encoders.tags import Fold

SAMPLE: Final = 20_000
"""Videos of larger catalogues that are trained on, and asked about, at most."""


def held_out_heads(
    videos: VideoTable,
    heads: Heads,
    shared: tuple[str, ...] = (),
    groups: Int64s | None = None,
    settings: AlignSettings | None = None,
) -> tuple[Fold, ...]:
    """The training of these heads again, each time without some videos; every video of the sample once.

    Args:
        videos: with the vectors that the heads were trained on.
        heads: of the space.
        shared: modalities whose vectors lie in one space as they are.
        groups: near-duplicates have the same number, int64, (n,), -1 for the others; they stay together.
        settings: how the heads were trained.

    Returns:
        Nothing where the heads of what can be compared were not trained: they have seen no video. Nothing
        either where the sample of a large catalogue has too few videos with two of these modalities.
    """
    settings = settings or AlignSettings()
    names = [name for name in heads.comparable if videos.vectors[name].shape[1]]
    if set(names) <= set(shared):
        return ()
    rows = np.random.default_rng(settings.seed).permutation(len(videos))[:SAMPLE]
    vectors = {name: _own(videos, name)[rows] for name in names}
    alone = np.full(len(rows), ALONE, np.int64) if groups is None else groups[rows]
    corpus = Corpus(vectors, alone, tuple(name for name in shared if name in names))
    pairs, found = corpus.pairs(settings.min_pairs), list[Fold]()
    if set(names) - set(corpus.shared) - {name for pair in pairs for name in pair}:
        return ()
    for fold, (kept, held) in enumerate(folds(alone, replace(settings, max_judged=SAMPLE))):
        trained = train_heads(corpus.part(kept), pairs, settings, settings.seed + fold)
        found.append(Fold(np.sort(rows[held]), Heads(heads.encoder_version, True, trained)))
    return tuple(found)


def _own(videos: VideoTable, modality: str) -> Floats:
    """Vectors that are the video's own; zero rows for those filled in from neighbours."""
    has = (videos.mask >> MODALITIES.index(modality)) & 1 == 1
    return np.where(has[:, None], videos.vectors[modality], np.float32(0.0))
