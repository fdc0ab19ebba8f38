"""Training of one space for all modalities, on the corpus itself: what belongs to one video shall meet.

Linear heads, started in closed form and trained by symmetric InfoNCE between every two modalities, and a
verdict: the same training on shuffled pairs is the control, and a space that does not find held-out pairs
clearly better than its control is not to be published. Modalities that share a space already are its anchor:
their vectors stay as they are, and the others are trained into it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from features.contracts import Int64s
from ingest.alignment.corpus import ALONE, Corpus, CoWatched, Pairs, Vectors
from ingest.alignment.judge import PairVerdict, Verdict, judge, recall
from ingest.alignment.settings import AlignSettings
from ingest.alignment.train import train_heads
from ingest.encoders.heads import Head, Heads, block_heads, identity_head, stack_blocks

__all__ = ["AlignSettings", "Alignment", "CoWatched", "align", "publishable"]

log = logging.getLogger(__name__)


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
    co_watched: bool = False
    """True where videos watched by the same people were trained on too: recall is no worse for it."""
    recall_other: float | None = None
    """Held-out recall of the other choice: with co-watched pairs where they were left out, without them where
    they were not; None where there are none."""
    warm: bool = False
    """True where the heads began as last night's."""
    by_pair: dict[str, PairVerdict] = field(default_factory=dict)
    """`recall` and `control` of every two modalities ("visual-audio")."""

    @property
    def beats_control(self) -> bool:
        """True where recall is above the control by three standard errors, and by 0.02 at least."""
        if not self.judged:
            return False
        chance = max(self.control, 0.1)
        error = math.sqrt(chance * (1.0 - chance) / self.judged)
        return self.recall > self.control + max(3.0 * error, 0.02)


def align(
    vectors: Vectors,
    encoder_version: str,
    settings: AlignSettings,
    threads: int = 1,
    *,
    shared: tuple[str, ...] = (),
    groups: Int64s | None = None,
    co_watched: CoWatched | None = None,
    start: Heads | None = None,
) -> Alignment | None:
    """Heads trained on all videos, with the recall that the same training reaches on held-out ones.

    Args:
        vectors: unit rows (n, d_in) by modality, zero rows where it is missing; the same n for all.
        encoder_version: of the vectors.
        settings: how.
        threads: torch threads while training.
        shared: modalities whose vectors lie in one space as they are; the joint space is then theirs.
        groups: near-duplicates have the same number, int64, (n,), -1 for the others; they are no negatives of
            each other and never held out from one another. None: nobody looked.
        co_watched: videos watched by the same people, rows of `vectors`; trained on where that does not make
            the held-out recall worse.
        start: last night's heads; taken as a start where they are of the same encoder and the same lengths.

    Returns:
        None where no two modalities have `min_pairs` common videos: there is nothing to align.

    Raises:
        BadInput: rows, groups and co-watched pairs are not of the same videos, or shared lengths differ.
    """
    shared = tuple(name for name in shared if name in vectors) if len(set(shared) & set(vectors)) > 1 else ()
    n = len(next(iter(vectors.values()), ()))
    corpus = Corpus(vectors, np.full(n, ALONE, np.int64) if groups is None else groups, shared, co_watched)
    pairs = corpus.pairs(settings.min_pairs)
    if not pairs:
        return None
    with _torch_threads(threads):
        verdict = judge(corpus, pairs, settings)
        watched = verdict.recall_watched is not None and verdict.recall_watched >= verdict.recall
        corpus = corpus if watched else corpus.without_co_watched()
        last = _fitting(start, corpus, pairs, encoder_version, settings)
        trained, warm = _train(corpus, pairs, settings, last)
    found = _said(verdict, _complete(trained, vectors, encoder_version), watched, warm)
    log.info(
        "aligned recall=%.3f control=%.3f judged=%d co_watched=%s warm=%s on %s",
        *(found.recall, found.control, found.judged, found.co_watched, found.warm, encoder_version),
    )
    return found


def publishable(
    found: Alignment | None, encoder_version: str, dims: dict[str, int], shared: tuple[str, ...] = ()
) -> Heads:
    """Trained heads where they beat their control, else heads that leave every modality as it is.

    Args:
        found: what `align` gave.
        encoder_version: of the vectors.
        dims: length of the vectors by modality.
        shared: modalities whose vectors lie in one space as they are.
    """
    if found and found.beats_control:
        return found.heads
    if found:
        log.warning("space not aligned: recall=%.3f control=%.3f", found.recall, found.control)
    return block_heads(encoder_version, dims, shared)


def _train(
    corpus: Corpus, pairs: Pairs, settings: AlignSettings, last: dict[str, Head] | None
) -> tuple[dict[str, Head], bool]:
    """Heads, and whether they began as last night's: these give way where they fit tonight's corpus worse."""
    fresh = train_heads(corpus, pairs, settings, settings.seed)
    if last is None:
        return fresh, False
    warm = train_heads(corpus, pairs, settings, settings.seed, last)
    some = np.random.default_rng(settings.seed).permutation(len(corpus))[: 4 * settings.max_judged]
    seen = corpus.part(some)
    worth, worth_fresh = (recall(seen, pairs, heads) or 0.0 for heads in (warm, fresh))
    if worth < worth_fresh - settings.warm_slack:
        log.warning("last night's heads find %.3f, fresh ones %.3f: a fresh space", worth, worth_fresh)
        return fresh, False
    return warm, True


def _fitting(
    start: Heads | None, corpus: Corpus, pairs: Pairs, encoder_version: str, settings: AlignSettings
) -> dict[str, Head] | None:
    """Last night's heads of the modalities to train, where they are of this encoder and these lengths."""
    if start is None or start.encoder_version != encoder_version:
        return None
    names = [n for n in corpus.vectors if n in corpus.shared or any(n in pair for pair in pairs)]
    dim = corpus.vectors[corpus.shared[0]].shape[1] if corpus.shared else settings.dim
    if set(start.comparable) != set(names):
        return None
    last = {name: start.by_modality[name].first(dim) for name in names}
    wanted = {name: (corpus.vectors[name].shape[1], dim) for name in names}
    return last if {name: head.weights.shape for name, head in last.items()} == wanted else None


def _complete(trained: dict[str, Head], vectors: Vectors, encoder_version: str) -> Heads:
    """A modality that too few videos have to be aligned stands beside the others: it has a usable vector."""
    rest = {name: rows.shape[1] for name, rows in vectors.items() if name not in trained and rows.shape[1]}
    return stack_blocks(encoder_version, trained, {name: identity_head(dim) for name, dim in rest.items()})


def _said(verdict: Verdict, heads: Heads, watched: bool, warm: bool) -> Alignment:
    with_them = verdict.recall_watched
    chosen, other = (with_them, verdict.recall) if watched else (verdict.recall, with_them)
    return Alignment(
        heads, chosen or 0.0, verdict.control, verdict.judged, watched, other, warm, verdict.by_pair
    )


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
