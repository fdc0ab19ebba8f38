"""Two-tower retrieval in torch: sampled softmax over shared negatives, trained in minutes on two cores.

Negatives are shared by a batch: half drawn as the targets are, half evenly over videos with interactions,
their logits corrected by the log of the expected count, so that popular videos are not punished for being
drawn often. Whole modalities and ids are dropped at random, so that a video lacking some of them still has a
sensible vector. Source: Yi et al., "Sampling-Bias-Corrected Neural Modeling", RecSys 2019, equation 3; we
know the sampling distribution and do not estimate it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from features.contracts import HISTORY_LENGTH, Int64s, VideoTable
from ranker.examples import Pairs, has_history, windows
from ranker.fusion import DEFAULT_FUSION
from ranker.fusion_torch import FusionInputs, exported, make_layer, normal, untrained, weights_of
from ranker.history_rows import FIRST_GUESS, PLACES, places
from ranker.user_vector import Tower, unit, video_vectors

UNSEEN_LOGIT = -1e9


@dataclass(frozen=True, slots=True)
class TowerSettings:
    """How the towers are trained."""

    fusion: str = DEFAULT_FUSION
    """How ids and modalities are put together, one of `FUSIONS`."""
    dim: int = 64
    epochs: int = 14
    """Passes over as many pairs as there are."""
    batch: int = 1024
    min_steps: int = 300
    """Least optimiser steps, for tiny data."""
    negatives: int = 1500
    """Shared negatives of a batch, before equal ones are merged."""
    even_share: float = 0.5
    """Share of negatives drawn evenly; the rest are drawn as targets are."""
    temperature: float = 0.2
    learning_rate: float = 3e-3
    modality_dropout: float = 0.5
    id_dropout: float = 0.3
    """Content has to stand on its own this often: it is all that a video nobody has met can show."""
    user_power: float = 1.0
    """A pair is drawn with weight activity^-user_power."""
    history: int = 50
    """Latest events looked at in training."""
    seed: int = 7
    threads: int = 2
    budget_s: float = 600.0
    """Training stops early after this long; the manifest says so."""


@dataclass(frozen=True, slots=True)
class TowerRun:
    """A trained tower and how it went."""

    tower: Tower
    steps: int
    planned_steps: int
    loss: float
    """Mean over the last tenth of the steps, nats."""
    seconds: float


class VideoTower(nn.Module):
    """Unit vectors of videos from their ids and modalities, fused in one of the ways of `fusion.py`."""

    def __init__(
        self, videos: VideoTable, dim: int, generator: torch.Generator, fusion: str = DEFAULT_FUSION
    ) -> None:
        super().__init__()
        self.fusion = untrained(fusion, videos)
        self.inputs = FusionInputs(self.fusion, videos)
        self.ids = normal((len(videos), dim), dim**-0.5, generator)
        lengths = self.inputs.lengths
        self.layer = make_layer(fusion, lengths, dim, generator) if lengths else None

    def forward(self, rows: Tensor, kept: dict[str, Tensor], ids_kept: Tensor) -> Tensor:
        """Vectors of the rows, (b, d); the masks, (b, 1), say which inputs are there."""
        seen = self.inputs.seen(rows, kept, self.ids[rows], ids_kept)
        return F.normalize(seen.ids if self.layer is None else self.layer(seen), dim=1)


class UserTower(nn.Module):
    """Unit vectors of users from the vectors of their latest events."""

    def __init__(self, dim: int, ordered: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.token_weights = nn.Parameter(torch.tensor(FIRST_GUESS))
        self.place_weights = nn.Parameter(torch.zeros(PLACES), requires_grad=ordered)

    def forward(
        self, vectors: Tensor, events: Tensor, tokens: Tensor, steps: Tensor, starts: Tensor
    ) -> Tensor:
        """Vectors of users, (b, d), from vectors of videos, (v, d); each event, (e,), names a row of them.

        `tokens` and `steps`, (e,), say what each event was and how long ago; a user's events lie together,
        from `starts`, (b,), on. Nothing is spent on padding: histories differ much in length.
        """
        weights = self.token_weights[tokens] * self.place_weights[steps].exp()  # (e,)
        pooled = F.embedding_bag(events, vectors, starts, mode="sum", per_sample_weights=weights)  # (b, d)
        return F.normalize(pooled, dim=1)


def train_towers(
    videos: VideoTable,
    pairs: Pairs,
    settings: TowerSettings,
    progress: Callable[[int, int], None] | None = None,
) -> TowerRun:
    """Trains both towers on the pairs; the same seed and threads give the same weights on one machine."""
    torch.set_num_threads(settings.threads)
    draw, generator = np.random.default_rng(settings.seed), torch.Generator().manual_seed(settings.seed)
    video, user = (
        VideoTower(videos, settings.dim, generator, settings.fusion),
        UserTower(settings.dim, pairs.ordered, generator),
    )
    sampler = _Sampler.of(pairs, len(videos), settings)
    optimiser = torch.optim.Adam(
        [p for m in (video, user) for p in m.parameters() if p.requires_grad], settings.learning_rate
    )
    batch = min(settings.batch, len(pairs))
    planned = max(settings.min_steps, settings.epochs * sampler.usable // batch) if sampler.usable else 0
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(planned, 1))
    started = time.monotonic()
    losses: list[float] = []
    for step in range(planned):
        loss = _loss(video, user, pairs, sampler, batch, settings, draw, generator)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if progress and (step % 20 == 19 or step + 1 == planned):
            progress(step + 1, planned)
        if time.monotonic() - started > settings.budget_s:
            break
    tail = losses[-max(1, len(losses) // 10) :] or [0.0]
    seconds = time.monotonic() - started
    tower = _with_prior(_export(video, user, sampler.share > 0), videos, sampler.share)
    return TowerRun(tower, len(losses), planned, float(np.mean(tail)), seconds)


@dataclass(frozen=True, slots=True)
class _Sampler:
    """How pairs and negatives are drawn."""

    usable: int
    """Pairs with a history; the others say only what is popular, and would drown the rest."""
    pair_weights: npt.NDArray[np.float64]
    """Running sum over pairs of the chance to be drawn."""
    share: npt.NDArray[np.float64]
    """Chance of each video to be a target, (videos,), over all pairs."""
    target_share: npt.NDArray[np.float64]
    """Running sum over videos of the chance to be a drawn target."""
    warm: Int64s
    """Rows of videos that are a target at all."""
    mixed: npt.NDArray[np.float64]
    """Chance of each video to be drawn as one negative, (videos,)."""

    @staticmethod
    def of(pairs: Pairs, n_videos: int, settings: TowerSettings) -> _Sampler:
        activity = np.bincount(pairs.users)[pairs.users]
        weights = pairs.weights.astype(np.float64) * activity**-settings.user_power
        weights /= weights.sum()
        share = np.bincount(pairs.targets, weights, n_videos).astype(np.float64)
        usable = has_history(pairs)
        drawn = weights * usable
        chance = np.bincount(pairs.targets, drawn, n_videos) / max(drawn.sum(), 1e-12)
        warm = np.flatnonzero(share > 0)
        mixed = (1 - settings.even_share) * chance + settings.even_share * (share > 0) / len(warm)
        return _Sampler(int(usable.sum()), np.cumsum(drawn), share, np.cumsum(chance), warm, mixed)

    def pairs(self, draw: np.random.Generator, count: int) -> Int64s:
        at = np.searchsorted(self.pair_weights, draw.random(count) * self.pair_weights[-1], side="right")
        return np.asarray(np.minimum(at, len(self.pair_weights) - 1), np.int64)

    def negatives(self, draw: np.random.Generator, settings: TowerSettings) -> Int64s:
        even = round(settings.negatives * settings.even_share)
        popular = draw.random(settings.negatives - even) * self.target_share[-1]
        as_targets = np.minimum(
            np.searchsorted(self.target_share, popular, side="right"), len(self.target_share) - 1
        )
        return np.unique(np.concatenate([as_targets, self.warm[draw.integers(0, len(self.warm), even)]]))


def _loss(
    video: VideoTower,
    user: UserTower,
    pairs: Pairs,
    sampler: _Sampler,
    batch: int,
    settings: TowerSettings,
    draw: np.random.Generator,
    generator: torch.Generator,
) -> Tensor:
    """Cross-entropy of each target against the shared negatives that its user has not met."""
    chosen = sampler.pairs(draw, batch)
    rows, tokens = windows(pairs, chosen, min(settings.history, HISTORY_LENGTH))  # (b, h)
    held = rows >= 0  # (b, h)
    targets, negatives = pairs.targets[chosen], sampler.negatives(draw, settings)
    needed, inverse = np.unique(np.concatenate([rows[held], negatives, targets]), return_inverse=True)
    vectors = _dropped(video, torch.from_numpy(needed), settings, generator)  # (needed, d)
    count = int(held.sum())
    users = user(vectors, torch.from_numpy(inverse[:count]), *without_padding(held, tokens))  # (b, d)
    ahead = vectors[torch.from_numpy(inverse[count : count + len(negatives)])]  # (m, d)
    target = vectors[torch.from_numpy(inverse[count + len(negatives) :])]  # (b, d)
    expected = torch.from_numpy(np.log(sampler.mixed[negatives] * settings.negatives).astype(np.float32))
    against = users @ ahead.T / settings.temperature - expected  # (b, m)
    met = torch.from_numpy(_met(negatives, np.concatenate([rows, targets[:, None]], axis=1)))
    logits = torch.cat(
        [
            (users * target).sum(1, keepdim=True) / settings.temperature,
            against.masked_fill(met, UNSEEN_LOGIT),
        ],
        dim=1,
    )
    return F.cross_entropy(logits, torch.zeros(batch, dtype=torch.long))


def without_padding(held: npt.NDArray[np.bool_], tokens: npt.NDArray[Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens and places, (e,), of the events that are there, and where each user's begin, (b,).

    Args:
        held: True where a history holds an event, (b, h).
        tokens: of the events, (b, h).
    """
    lengths = held.sum(axis=1)
    steps = np.broadcast_to(places(held.shape[1]), held.shape)[held]
    return (
        torch.from_numpy(tokens[held].astype(np.int64)),
        torch.from_numpy(steps.astype(np.int64)),
        torch.from_numpy(np.cumsum(lengths) - lengths),
    )


def _dropped(video: VideoTower, rows: Tensor, settings: TowerSettings, generator: torch.Generator) -> Tensor:
    def kept(share: float) -> Tensor:
        return (torch.rand((len(rows), 1), generator=generator) >= share).float()

    masks = {name: kept(settings.modality_dropout) for name in video.fusion.modalities}
    ids = kept(settings.id_dropout if masks else 0.0)
    vectors: Tensor = video(rows, masks, ids)
    return vectors


def _met(negatives: Int64s, rows: Int64s) -> npt.NDArray[np.bool_]:
    """True where a user, (b, h) rows, has met a negative, (m,) sorted: (b, m)."""
    at = np.minimum(np.searchsorted(negatives, rows), len(negatives) - 1)
    users, places_in = np.nonzero(negatives[at] == rows)
    met = np.zeros((len(rows), len(negatives)), bool)
    met[users, at[users, places_in]] = True
    return met


def _with_prior(tower: Tower, videos: VideoTable, share: npt.NDArray[np.float64]) -> Tower:
    """The tower with the direction that is nearest to what everybody likes, for users without a history."""
    middle = share.astype(np.float32) @ video_vectors(tower, videos)
    return replace(tower, prior=unit(middle[None])[0])


def _export(video: VideoTower, user: UserTower, warm: npt.NDArray[np.bool_]) -> Tower:
    weights = {} if video.layer is None else weights_of(video.layer)
    return Tower(
        ids=exported(video.ids) * warm[:, None],
        fusion=replace(video.fusion, weights=weights),
        token_weights=exported(user.token_weights),
        place_weights=exported(user.place_weights),
        prior=np.zeros(video.ids.shape[1], np.float32),
    )
