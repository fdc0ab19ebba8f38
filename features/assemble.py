"""Histories, videos and context in; the matrix of all features out: one function for training and serving.

Requests are taken in portions that fit the cache. A row comes out the same to the bit, however many
requests or candidates stand beside it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts import EVENT_CODES, MODALITIES, Context, Floats, Histories, Int64s, VideoTable
from features.definitions import DEFINITIONS, TASTE_EVENTS, Requests
from features.errors import BadInput
from features.histories import positive_mask
from features.statistics import STATISTIC_NAMES, statistics_by_day, video_statistics

__all__ = ["FEATURE_NAMES", "STATISTIC_NAMES", "assemble", "statistics_by_day", "video_statistics"]

FEATURE_NAMES: Final = tuple(definition.name for definition in DEFINITIONS)
"""Columns of `assemble`."""

TASTE_HALF_LIFE: Final = 7
"""After this many liked events, one weighs half in a taste vector."""

MOST_TAGS: Final = 8
"""Tags of a video beyond these are not looked at."""

PORTION_FLOATS: Final = 2_000_000
"""About how many floats one portion of requests may gather at once."""


def assemble(
    videos: VideoTable,
    statistics: Floats,
    histories: Histories,
    context: Context,
    candidate_rows: npt.NDArray[np.int32],
) -> Floats:
    """Every feature of every candidate, float32, (n, c, len(FEATURE_NAMES)), finite.

    Args:
        videos: the bundle's videos.
        statistics: `video_statistics` of these videos, (v, len(STATISTIC_NAMES)).
        histories: n histories, newest first.
        context: n requests.
        candidate_rows: rows of `videos`, int32, (n, c); -1 is no candidate and gets all defaults.

    Raises:
        BadInput: the arguments disagree in shape.
    """
    n, c = candidate_rows.shape
    if len(histories) != n or len(context.now_ms) != n:
        raise BadInput(
            f"{n} rows of candidates, {len(histories)} histories and {len(context.now_ms)} requests differ"
        )
    if statistics.shape != (len(videos), len(STATISTIC_NAMES)):
        raise BadInput(
            f"statistics have shape {statistics.shape}, expected {(len(videos), len(STATISTIC_NAMES))}"
        )
    out = np.empty((n, c, len(DEFINITIONS)), np.float32)
    if not len(videos):
        out[...] = [definition.default for definition in DEFINITIONS]
        return out
    for part in _portions(n, c, videos):
        rows = candidate_rows[part]
        requests = _prepare(videos, statistics, histories.part(part), context.part(part), rows)
        _fill(out[part], requests, rows >= 0)
    return out


def _fill(out: Floats, requests: Requests, present: npt.NDArray[np.bool_]) -> None:
    for place, definition in enumerate(DEFINITIONS):
        values = definition.function(requests)
        wide = values[:, None] if values.ndim == 1 else values
        out[:, :, place] = np.where(present & np.isfinite(wide), wide, np.float32(definition.default))


def _prepare(
    videos: VideoTable,
    statistics: Floats,
    histories: Histories,
    context: Context,
    candidate_rows: npt.NDArray[np.int32],
) -> Requests:
    inside = np.arange(histories.video_keys.shape[1]) < histories.lengths[:, None]
    event_rows = np.where(inside, videos.rows_of(histories.video_keys), np.int32(-1))
    duration = np.where(event_rows >= 0, videos.duration_s[event_rows], np.float32(np.nan))
    liked = inside & positive_mask(histories.events, histories.watch_s, duration)
    skipped = inside & np.isin(histories.events, [EVENT_CODES["skip"], EVENT_CODES["dislike"]])
    liked_rows = _newest(event_rows, liked & (event_rows >= 0))
    spaces = {name: videos.vectors[name] for name in MODALITIES} | {"joint": videos.joint}
    tag_codes, tags = _tag_codes(_Same(videos.tags))
    return Requests(
        videos=videos,
        statistics=statistics,
        context=context,
        histories=histories,
        rows=np.maximum(candidate_rows, 0),
        inside=inside,
        liked=liked,
        skipped=skipped,
        event_rows=event_rows,
        liked_rows=liked_rows,
        tastes={name: _taste(vectors, liked_rows) for name, vectors in spaces.items()},
        dislikes=_taste(videos.joint, _newest(event_rows, skipped & (event_rows >= 0))),
        tag_codes=tag_codes,
        tag_counts=_count_tags(tag_codes, tags, liked_rows),
    )


def _newest(event_rows: npt.NDArray[np.int32], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Rows of the newest events under a mask, newest first, (n, TASTE_EVENTS); -1 is padding."""
    out = np.full((len(event_rows), TASTE_EVENTS), -1, np.int32)
    place = np.cumsum(mask, axis=1) - 1  # (n, h)
    request, event = np.nonzero(mask & (place < TASTE_EVENTS))
    out[request, place[request, event]] = event_rows[request, event]
    return out


def _taste(vectors: Floats, rows: npt.NDArray[np.int32]) -> Floats:
    """Weighted mean of the videos' vectors, (n, d), added in the order of the events."""
    total = np.zeros((len(rows), vectors.shape[1]), np.float32)
    weights = np.zeros(len(rows), np.float32)
    if not vectors.shape[1]:
        return total
    for place in range(int((rows >= 0).sum(axis=1).max(initial=0))):  # the rest is padding and adds 0
        row = rows[:, place]
        theirs = vectors[row]  # (n, d)
        counted = (row >= 0) & (theirs != 0).any(axis=1)
        weight = np.float32(2.0 ** (-place / TASTE_HALF_LIFE)) * counted.astype(np.float32)
        total += theirs * weight[:, None]
        weights += weight
    return (total / np.maximum(weights, np.float32(1e-6))[:, None]).astype(np.float32)


def _count_tags(codes: npt.NDArray[np.int32], tags: int, liked_rows: npt.NDArray[np.int32]) -> Int64s:
    n = len(liked_rows)
    theirs = np.where(liked_rows[:, :, None] >= 0, codes[liked_rows], -1)  # (n, p, t)
    request = np.broadcast_to(np.arange(n)[:, None, None], theirs.shape)
    flat = (request * tags + theirs)[theirs >= 0]
    return np.bincount(flat, minlength=n * tags).reshape(n, tags).astype(np.int64)


class _Same:
    """Holds an object and is equal only to a holder of the very same one: a cheap key for a large tuple."""

    __slots__ = ("held",)

    def __init__(self, held: tuple[tuple[str, ...], ...]) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.held is other.held

    def __hash__(self) -> int:
        return id(self.held)


@functools.lru_cache(maxsize=4)
def _tag_codes(tags: _Same) -> tuple[npt.NDArray[np.int32], int]:
    """Codes of each video's first tags, (v, t >= 1), -1 is padding; and the number of tags, at least 1."""
    code: dict[str, int] = {}
    rows = [[code.setdefault(tag, len(code)) for tag in dict.fromkeys(own)][:MOST_TAGS] for own in tags.held]
    width = max((len(row) for row in rows), default=0) or 1
    out = np.full((len(rows), width), -1, np.int32)
    for place, row in enumerate(rows):
        out[place, : len(row)] = row
    return out, max(len(code), 1)


def _portions(n: int, c: int, videos: VideoTable) -> Iterator[slice]:
    widest = max(videos.joint.shape[1], *(v.shape[1] for v in videos.vectors.values()), 32)
    size = max(1, PORTION_FLOATS // max(c * widest, _tag_codes(_Same(videos.tags))[1]))
    for start in range(0, n, size):
        yield slice(start, min(n, start + size))
