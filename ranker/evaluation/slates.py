"""What each arm would have shown the held-out users at the cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from features.contracts import HISTORY_LENGTH, NO_KEY, Context, Int64s
from features.histories import gather_histories
from ranker.evaluation.arms import Arm
from ranker.evaluation.baselines import (
    drop_seen,
    first_unseen,
    popular_order,
    random_unseen,
    recent_order,
    seen_before,
)
from ranker.recommend import recommend
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
    ends = np.where(codes >= 0, log.offsets[np.maximum(codes, 0) + 1] if len(log.user_ids) else 0, 0)
    seen = seen_before(log, codes)
    out = np.full((len(codes), k), NO_KEY, np.int64)
    for start in range(0, len(codes), BATCH):
        some = slice(start, start + BATCH)
        histories = gather_histories(log, codes[some], ends[some])
        # A history is bounded; what was seen before its first event is left out here, as for every other arm.
        mine = seen.part(start, min(start + BATCH, len(codes)))
        older = int(np.maximum(mine.sizes - HISTORY_LENGTH, 0).max(initial=0))
        made = recommend(bundle, histories, Context.at(at_ms[some]), k + older, without=arm.without)
        out[some] = drop_seen(_keys_of(bundle, made.rows), mine, k)
        progress(min(start + BATCH, len(codes)))
    return out


def _keys_of(bundle: Bundle, rows: Any) -> Int64s:
    """Catalogue keys of a bundle's rows; a bundle's rows never leave it."""
    return np.where(rows >= 0, bundle.videos.keys[np.maximum(rows, 0)], NO_KEY).astype(np.int64)
