"""Steps of gradient descent from a start: tonight's closed form, or last night's heads."""

from __future__ import annotations

import numpy as np
import torch

from ingest.alignment.contrast import Batch, Trainable, co_watched_loss, same_video_loss
from ingest.alignment.corpus import Corpus, CoWatched, Pairs
from ingest.alignment.settings import AlignSettings
from ingest.alignment.start import mean_present, spread, start_heads
from ingest.encoders.heads import Head


def train_heads(
    corpus: Corpus, pairs: Pairs, settings: AlignSettings, seed: int, last: dict[str, Head] | None = None
) -> dict[str, Head]:
    """Heads of every modality that is in a pair or shares a space, by InfoNCE.

    Args:
        corpus: what to train on.
        pairs: of modalities that shall meet.
        settings: how.
        seed: of batches and noise; the same gives the same bytes.
        last: heads to begin with, for fewer steps; None begins in closed form.
    """
    begun = _recentred(last, corpus) if last else start_heads(corpus, pairs, settings)
    learnt = [name for name in begun if name not in corpus.shared]
    heads = _trainable({name: begun[name] for name in learnt}, settings.temperature * spread(corpus))
    optimizer = torch.optim.AdamW(
        heads.weights.values(), settings.learning_rate, weight_decay=settings.weight_decay, foreach=True
    )
    draws = _Draws(corpus, tuple(begun), settings, torch.Generator().manual_seed(seed))
    with torch.enable_grad():
        for _ in range(settings.warm_steps if last else settings.steps):
            loss = draws.loss(heads, pairs)
            if loss is None:
                continue
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    trained = {name: heads.weights[name].detach().numpy().copy() for name in learnt}
    return {
        name: Head(head.mean, trained.get(name, head.weights), head.shift) for name, head in begun.items()
    }


def _recentred(last: dict[str, Head], corpus: Corpus) -> dict[str, Head]:
    """Last night's heads around tonight's mean vectors."""
    return {
        name: head if name in corpus.shared else Head(mean_present(corpus, name), head.weights, head.shift)
        for name, head in last.items()
    }


def _trainable(begun: dict[str, Head], temperature: float) -> Trainable:
    def zeros(head: Head) -> torch.Tensor:
        return torch.zeros(head.weights.shape[1]) if head.shift is None else torch.from_numpy(head.shift)

    return Trainable(
        centres={name: torch.from_numpy(head.mean) for name, head in begun.items()},
        weights={
            name: torch.from_numpy(head.weights.copy()).requires_grad_() for name, head in begun.items()
        },
        shifts={name: zeros(head) for name, head in begun.items()},
        temperature=temperature,
    )


class _Draws:
    """Batches of a corpus and their loss; the generator moves on with every draw."""

    def __init__(
        self, corpus: Corpus, names: tuple[str, ...], settings: AlignSettings, generator: torch.Generator
    ) -> None:
        self.vectors = {name: torch.from_numpy(corpus.vectors[name]) for name in names}
        self.groups = torch.from_numpy(corpus.groups)
        self.settings, self.generator = settings, generator
        pairs = corpus.co_watched
        self.watched = _Watched(pairs, len(corpus)) if pairs and len(pairs.left) > 1 else None

    def loss(self, heads: Trainable, pairs: Pairs) -> torch.Tensor | None:
        """Of one batch of videos, and of one batch of co-watched pairs where there are some."""
        some = torch.randperm(len(self.groups), generator=self.generator)[: self.settings.batch]
        loss = same_video_loss(self._batch(some), heads, pairs, self.settings, self.generator)
        if self.watched is None:
            return loss
        left, right, together = self.watched.draw(min(self.settings.batch, len(self.groups)), self.generator)
        more = co_watched_loss(
            self._batch(left), self._batch(right), together, heads, self.settings, self.generator
        )
        parts = [
            part
            for part in (loss, None if more is None else more * self.settings.co_watched)
            if part is not None
        ]
        return torch.stack(parts).sum() if parts else None

    def _batch(self, rows: torch.Tensor) -> Batch:
        return Batch({name: held[rows] for name, held in self.vectors.items()}, self.groups[rows])


class _Watched:
    """Co-watched pairs in both orders, drawn by weight, and looked up."""

    def __init__(self, pairs: CoWatched, n: int) -> None:
        key = np.concatenate([pairs.left * n + pairs.right, pairs.right * n + pairs.left])
        keys, first = np.unique(key, return_index=True)
        self.n, self.keys = n, torch.from_numpy(keys)
        self.weights = torch.from_numpy(np.tile(pairs.weights, 2)[first].astype(np.float32))
        self.until = self.weights.double().cumsum(0)

    def draw(self, m: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows (m,), rows (m,) watched with them, and how much all of these are watched together, (m, m)."""
        at = torch.rand(m, generator=generator, dtype=torch.float64) * self.until[-1]
        chosen = self.keys[torch.searchsorted(self.until, at, right=True).clamp_max(len(self.keys) - 1)]
        left, right = chosen // self.n, chosen % self.n
        asked = left[:, None] * self.n + right[None, :]
        place = torch.searchsorted(self.keys, asked).clamp_max(len(self.keys) - 1)
        found = torch.where(self.keys[place] == asked, self.weights[place], 0.0)  # (m, m)
        return left, right, found
