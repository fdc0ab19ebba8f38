"""Arms that know nothing of the user but what was seen: most popular, newest, random.

They are what a recommender has to beat. Each is an order of the catalogue, from which what a user has seen
is left out; so they never show a video twice, and show fewer than k only to a user who has seen nearly
everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from features.contracts import NO_KEY, Int64s, seen_mask
from ranker.evaluation.metrics import KeySets, find_hits

if TYPE_CHECKING:
    from features.histories import EventLog
    from features.pipeline import FeatureSet

CELLS: Final = 4_000_000
"""Most (user, video) cells held at a time."""


def popular_order(features: FeatureSet, positive: Int64s) -> Int64s:
    """All keys, those with most positive events first; ties go to the smaller key.

    Args:
        features: the training side.
        positive: keys of its positive events, (m,).
    """
    keys = features.videos.keys
    rows = features.videos.rows_of(positive)
    counts = np.bincount(rows[rows >= 0], minlength=len(keys))
    return np.asarray(keys[np.lexsort((keys, -counts))])


def recent_order(features: FeatureSet) -> Int64s:
    """All keys, newest first: by time of publication, where unknown by first event, then by key."""
    keys = features.videos.keys
    rows = features.videos.rows_of(features.log.video_keys)
    timed = (rows >= 0) & (features.log.ts_ms > 0)
    never = np.iinfo(np.int64).max
    first_met = np.full(len(keys), never)
    np.minimum.at(first_met, rows[timed], features.log.ts_ms[timed])
    first_met[first_met == never] = 0
    born = np.where(features.videos.published_ms > 0, features.videos.published_ms, first_met)
    return np.asarray(keys[np.lexsort((-keys, -born))])


def first_unseen(order: Int64s, seen: KeySets, k: int) -> Int64s:
    """The first k keys of one order that each user has not seen, (u, k); NO_KEY where there are fewer."""
    depth = min(len(order), k + int(seen.sizes.max(initial=0)))
    batch = max(1, CELLS // max(depth, 1))
    parts = [
        drop_seen(np.broadcast_to(order[:depth], (stop - start, depth)), seen.part(start, stop), k)
        for start, stop in _batches(len(seen), batch)
    ]
    return np.concatenate([np.zeros((0, k), np.int64), *parts])


def random_unseen(keys: Int64s, seen: KeySets, k: int, seed: int, progress: Callable[[int], None]) -> Int64s:
    """k keys drawn evenly from those each user has not seen, (u, k); NO_KEY where there are fewer."""
    rng = np.random.default_rng(seed)
    depth = min(len(keys), k + int(seen.sizes.max(initial=0)))
    parts = [np.zeros((0, k), np.int64)]
    for start, stop in _batches(len(seen), max(1, CELLS // max(len(keys), 1))):
        draws = rng.random((stop - start, len(keys)), dtype=np.float32)
        if depth < len(keys):
            some = np.argpartition(draws, depth, axis=1)[:, :depth]
            some = np.take_along_axis(some, np.take_along_axis(draws, some, 1).argsort(axis=1), 1)
        else:
            some = draws.argsort(axis=1)
        parts.append(drop_seen(keys[some], seen.part(start, stop), k))
        progress(stop)
    return np.concatenate(parts)


def seen_before(log: EventLog, user_codes: Int64s) -> KeySets:
    """What each user has seen in the log, all of it; nothing for code -1."""
    seen = seen_mask(log.events)

    def of(code: int) -> Int64s:
        if code < 0:
            return np.zeros(0, np.int64)
        mine = slice(log.offsets[code], log.offsets[code + 1])
        return log.video_keys[mine][seen[mine]]

    return KeySets.of([of(int(code)) for code in user_codes])


def drop_seen(candidates: Int64s, seen: KeySets, k: int) -> Int64s:
    """The first k of each user's candidates (u, c) that are not in `seen`, (u, k); then NO_KEY."""
    known = find_hits(candidates, seen)
    at = np.argsort(known, axis=1, kind="stable")[:, :k]  # unseen ones first, in their order
    kept = np.take_along_axis(candidates, at, 1)
    kept[np.take_along_axis(known, at, 1)] = NO_KEY
    out = np.full((len(candidates), k), NO_KEY, np.int64)
    out[:, : kept.shape[1]] = kept
    return out


def _batches(n: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(start + size, n)) for start in range(0, n, size)]
