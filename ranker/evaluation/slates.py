"""What each arm would have shown the held-out users at the cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from features.contracts import NO_KEY, Context, Int64s
from ranker.evaluation.arms import Arm
from ranker.evaluation.baselines import (
    first_unseen,
    popular_order,
    random_unseen,
    recent_order,
    seen_before,
)
from ranker.recommend import recommend_from_log
from ranker.splits import positive_rows

if TYPE_CHECKING:
    from ranker.bundle import Bundle
    from ranker.splits import Split

BATCH: Final = 256
"""Users per call of a bundle."""


@dataclass(frozen=True, slots=True)
class Slates:
    """The slates of one arm."""

    arm: Arm
    keys: Int64s
    """Catalogue keys, best first, int64, (u, k); NO_KEY where a slate is shorter."""


def rank_arm(
    arm: Arm,
    bundle: Bundle | None,
    parts: Split,
    k: int,
    seed: int,
    progress: Callable[[int], None],
) -> Slates:
    """The arm's slates for all users of the truth.

    Args:
        arm: what to rank with.
        bundle: its bundle; None for a baseline.
        parts: the training side, which is all that an arm may know, and the users.
        progress: told how many users are done.
    """
    keys = (
        _of_baseline(arm, parts, k, seed, progress)
        if bundle is None
        else _of_bundle(arm, bundle, parts, k, progress)
    )
    progress(len(parts.truth.users))
    return Slates(arm, keys)


def _of_baseline(arm: Arm, parts: Split, k: int, seed: int, progress: Callable[[int], None]) -> Int64s:
    seen = seen_before(parts.train.log, parts.truth.user_codes)
    if arm.kind == "random":
        return random_unseen(parts.train.videos.keys, seen, k, seed, progress)
    if arm.kind == "recent":
        return first_unseen(recent_order(parts.train), seen, k)
    liked = parts.train.interactions["video_key"].to_numpy()[positive_rows(parts.train)]
    return first_unseen(popular_order(parts.train, liked), seen, k)


def _of_bundle(arm: Arm, bundle: Bundle, parts: Split, k: int, progress: Callable[[int], None]) -> Int64s:
    codes, at_ms, log = parts.truth.user_codes, parts.truth.at_ms, parts.train.log
    out = np.full((len(codes), k), NO_KEY, np.int64)
    for start in range(0, len(codes), BATCH):
        some = slice(start, start + BATCH)
        made = recommend_from_log(bundle, log, codes[some], Context.at(at_ms[some]), k, without=arm.without)
        out[some, : made.rows.shape[1]] = _keys_of(bundle, made.rows)
        progress(min(start + BATCH, len(codes)))
    return out


def _keys_of(bundle: Bundle, rows: Any) -> Int64s:
    """Catalogue keys of a bundle's rows; a bundle's rows never leave it."""
    return np.where(rows >= 0, bundle.videos.keys[np.maximum(rows, 0)], NO_KEY).astype(np.int64)
