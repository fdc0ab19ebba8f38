"""What people do with a video: tastes on a day, and from them choice, watching and liking."""

from __future__ import annotations

from typing import Final

import numpy as np

from features.contracts import EVENT_CODES
from infra.demo.world import Doubles, Ints, World

TASTE_WEIGHT: Final = 6.0
"""Utility of a video wholly of a topic that is a user's only one."""
PACE_WEIGHT: Final = 0.5
"""Utility lost between the slowest and the fastest clip, to somebody who likes one of them."""
CREATOR_WEIGHT: Final = 0.3
APPEAL_WEIGHT: Final = 1.55
WATCH_BAR: Final = 2.7
"""Utility at which half of the plays reach the middle of the clip."""
WATCH_SLOPE: Final = 2.5
LIKE_BAR: Final = 3.4
FRESH_WEIGHT: Final = 1.5
"""How much more a just published video is looked for, on the scale of utility."""
FRESH_DAYS: Final = 4.0
SEARCH_SHARPNESS: Final = 1.8
"""Sharpness with which people look for what they like, by themselves."""
LOOKS_ON: Final = 0.9
"""Share of those who saw one place of a slate and look at the next."""


def tastes(world: World, day: float) -> Doubles:
    """Share of each topic in the taste of each user on a day, (users, topics), rows sum to 1."""
    people = world.people
    changed = 1 / (1 + np.exp(-(day - people.change_day[:, None])))
    logits = (1 - changed) * people.interest + changed * people.later_interest + people.drift * day
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def utilities(world: World, day: float) -> Doubles:
    """What each video is worth to each user on a day, (users, videos); no unit."""
    people, videos = world.people, world.videos
    # einsum rather than a matrix product: the sums do not depend on the threads of a BLAS.
    wanted = np.einsum("ut,vt->uv", tastes(world, day), videos.mixture)
    pace = (people.pace[:, None] - videos.pace[None, :]) ** 2
    followed = people.favourite[:, None] == videos.creator[None, :]
    return np.asarray(
        TASTE_WEIGHT * wanted - PACE_WEIGHT * pace + CREATOR_WEIGHT * followed + APPEAL_WEIGHT * videos.appeal
    )


def published(world: World, day: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """True for the videos that are out at that instant, (videos,)."""
    return np.asarray(world.videos.published_day <= day)


def freshness(world: World, day: float) -> Doubles:
    """1 for a video published just now, falling to 0 over days, (videos,)."""
    return np.exp(-np.maximum(day - world.videos.published_day, 0) / FRESH_DAYS)


def search_logits(world: World, day: float, utility: Doubles) -> Doubles:
    """Logits of what people pick when they look for something by themselves, (users, videos)."""
    return SEARCH_SHARPNESS * (utility + FRESH_WEIGHT * freshness(world, day)[None, :])


def enjoys(utility: Doubles) -> Doubles:
    """Probability that a play reaches the middle of the clip."""
    return np.asarray(1 / (1 + np.exp(-WATCH_SLOPE * (utility - WATCH_BAR))))


def watch(utility: Doubles, rng: np.random.Generator) -> Doubles:
    """Watched share of the clip, 0 to 1, for plays of these utilities, (n,).

    The logit of the share is logistic around the utility, so that P(share >= 1/2) is `enjoys`.
    """
    logit = WATCH_SLOPE * (utility - WATCH_BAR) + rng.logistic(0, 1, len(utility))
    share = 1 / (1 + np.exp(-logit))
    return np.asarray(np.where(share > 0.9, 1.0, share))


def react(utility: Doubles, share: Doubles, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """What people do on one video each: (first event, second event or -1) as event codes, (n,) each.

    The first is a play, or a skip where less than a fifth was watched; the second a like, share or follow of
    those who saw half of it, or a dislike of those who skipped.
    """
    n = len(utility)
    skipped = share < 0.2
    first = np.where(skipped, EVENT_CODES["skip"], EVENT_CODES["play"])
    warm = (share >= 0.5) & (rng.random(n) < 1 / (1 + np.exp(-1.2 * (utility - LIKE_BAR))))
    kind = rng.random(n)
    praise = np.where(
        kind < 0.08, EVENT_CODES["share"], np.where(kind < 0.12, EVENT_CODES["follow"], EVENT_CODES["like"])
    )
    cold = skipped & (utility < 0) & (rng.random(n) < 0.05)
    second = np.where(warm, praise, np.where(cold, EVENT_CODES["dislike"], -1))
    return first, second
