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

from features.contracts import (
    ACTIVITY_NAMES,
    EVENT_CODES,
    MODALITIES,
    Context,
    Floats,
    Histories,
    Int64s,
    UserCounters,
    VideoTable,
)
from features.definitions import DEFINITIONS
from features.errors import BadInput
from features.histories import positive_mask
from features.pair_features import covisits_of, met_in
from features.requests import LATEST_EVENTS, TASTE_EVENTS, Requests, cosines
from features.statistics import STATISTIC_NAMES, statistics_by_day, video_statistics
from features.user_features import session_of

__all__ = ["FEATURE_NAMES", "STATISTIC_NAMES", "assemble", "statistics_by_day", "video_statistics"]

Int32s = npt.NDArray[np.int32]

FEATURE_NAMES: Final = tuple(definition.name for definition in DEFINITIONS)
"""Columns of `assemble`."""

TASTE_HALF_LIFE: Final = 7
"""After this many liked events, one weighs half in a taste vector."""

_DECAY: Final = np.exp2(-np.arange(TASTE_EVENTS) / TASTE_HALF_LIFE).astype(np.float32)

MOST_TAGS: Final = 8
"""Tags of a video beyond these are not looked at."""

PORTION_FLOATS: Final = 2_000_000
"""About how many floats one portion of requests may gather at once."""


def assemble(
    videos: VideoTable,
    statistics: Floats,
    activity: Int32s | None,
    histories: Histories,
    counters: UserCounters | None,
    context: Context,
    candidate_rows: Int32s,
) -> Floats:
    """Every feature of every candidate, float32, (n, c, len(FEATURE_NAMES)), finite.

    Args:
        videos: the bundle's videos.
        statistics: `video_statistics` of these videos, (v, len(STATISTIC_NAMES)).
        activity: `activity_at` of the candidates, int32, (n, c, len(ACTIVITY_NAMES)); None where it is not
            known: its features take their defaults.
        histories: n histories, newest first.
        counters: of the n users; None where they are not known: their features take their defaults.
        context: n requests.
        candidate_rows: rows of `videos`, int32, (n, c); -1 is no candidate and gets all defaults.

    Raises:
        BadInput: the arguments disagree in shape.
    """
    n, c = candidate_rows.shape
    _check_shapes(videos, statistics, activity, histories, counters, context, candidate_rows)
    out = np.empty((n, c, len(DEFINITIONS)), np.float32)
    if not len(videos):
        out[...] = [definition.default for definition in DEFINITIONS]
        return out
    for part in _portions(n, c, videos):
        rows = candidate_rows[part]
        requests = _prepare(
            videos,
            statistics,
            None if activity is None else activity[part],
            histories.part(part),
            None if counters is None else counters.part(part),
            context.part(part),
            rows,
        )
        _fill(out[part], requests, rows >= 0)
    return out


def _check_shapes(
    videos: VideoTable,
    statistics: Floats,
    activity: Int32s | None,
    histories: Histories,
    counters: UserCounters | None,
    context: Context,
    candidate_rows: Int32s,
) -> None:
    n, c = candidate_rows.shape
    if len(histories) != n or len(context.now_ms) != n:
        raise BadInput(
            f"{n} rows of candidates, {len(histories)} histories and {len(context.now_ms)} requests differ"
        )
    if counters is not None and len(counters) != n:
        raise BadInput(f"{n} rows of candidates and counters of {len(counters)} users differ")
    for name, words in (("devices", context.device), ("surfaces", context.surface)):
        if words and len(words) != n:
            raise BadInput(f"{n} requests and {len(words)} {name} differ; give one a request or none")
    if statistics.shape != (len(videos), len(STATISTIC_NAMES)):
        raise BadInput(
            f"statistics have shape {statistics.shape}, expected {(len(videos), len(STATISTIC_NAMES))}"
        )
    if activity is not None and activity.shape != (n, c, len(ACTIVITY_NAMES)):
        raise BadInput(f"activity has shape {activity.shape}, expected {(n, c, len(ACTIVITY_NAMES))}")


def _fill(out: Floats, requests: Requests, present: npt.NDArray[np.bool_]) -> None:
    for place, definition in enumerate(DEFINITIONS):
        values = definition.function(requests)
        out[:, :, place] = values[:, None] if values.ndim == 1 else values
    defaults = np.array([definition.default for definition in DEFINITIONS], np.float32)
    np.copyto(out, defaults, where=~(present[:, :, None] & np.isfinite(out)))


def _prepare(
    videos: VideoTable,
    statistics: Floats,
    activity: Int32s | None,
    histories: Histories,
    counters: UserCounters | None,
    context: Context,
    candidate_rows: Int32s,
) -> Requests:
    rows = np.maximum(candidate_rows, 0)
    inside = np.arange(histories.video_keys.shape[1]) < histories.lengths[:, None]
    event_rows = np.where(inside, videos.rows_of(histories.video_keys), np.int32(-1))
    duration = np.where(event_rows >= 0, videos.duration_s[event_rows], np.float32(np.nan))
    liked = inside & positive_mask(histories.events, histories.watch_s, duration)
    skipped = inside & np.isin(histories.events, [EVENT_CODES["skip"], EVENT_CODES["dislike"]])
    liked_rows = _newest(event_rows, liked & (event_rows >= 0))
    skipped_rows = _newest(event_rows, skipped & (event_rows >= 0))
    spaces = {name: videos.vectors[name] for name in MODALITIES} | {"joint": videos.joint}
    candidates = {name: vectors[rows] for name, vectors in spaces.items()}
    likes = {name: _vectors_of(vectors, liked_rows) for name, vectors in spaces.items()}
    skips = {name: _vectors_of(vectors, skipped_rows) for name, vectors in spaces.items()}
    met, watched = met_in(rows, event_rows, _watched_share(histories, duration), len(videos))
    tag_codes, tags = _tag_codes(_Same(videos.tags))
    return Requests(
        videos=videos,
        statistics=statistics,
        activity=activity,
        context=context,
        histories=histories,
        counters=counters,
        rows=rows,
        inside=inside,
        liked=liked,
        skipped=skipped,
        event_rows=event_rows,
        liked_rows=liked_rows,
        candidates=candidates,
        tastes={name: _taste(likes[name]) for name in spaces},
        dislikes=_taste(skips["joint"]),
        to_liked={name: cosines(candidates[name], likes[name][:, :LATEST_EVENTS]) for name in spaces},
        to_skipped={name: cosines(candidates[name], skips[name][:, :LATEST_EVENTS]) for name in MODALITIES},
        session=session_of(histories, inside, context),
        met=met,
        watched=watched,
        covisits=covisits_of(rows, liked_rows, videos),
        tag_codes=tag_codes,
        tag_counts=_count_tags(tag_codes, tags, liked_rows),
    )


def _watched_share(histories: Histories, duration: Floats) -> Floats:
    """Watched share of each event, at most 1.5, (n, h); NaN where unknown."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(duration > 0, histories.watch_s / duration, np.float32(np.nan))
    return np.minimum(share, np.float32(1.5)).astype(np.float32)


def _newest(event_rows: Int32s, mask: npt.NDArray[np.bool_]) -> Int32s:
    """Rows of the newest events under a mask, newest first, (n, TASTE_EVENTS); -1 is padding."""
    out = np.full((len(event_rows), TASTE_EVENTS), -1, np.int32)
    place = np.cumsum(mask, axis=1) - 1  # (n, h)
    request, event = np.nonzero(mask & (place < TASTE_EVENTS))
    out[request, place[request, event]] = event_rows[request, event]
    return out


def _taste(theirs: Floats) -> Floats:
    """Weighted mean of the events' vectors, newest first, (n, TASTE_EVENTS, d); zero rows do not count."""
    counted = (theirs != 0).any(axis=2).astype(np.float32)
    weights = _DECAY * counted
    total = np.einsum("npd,np->nd", theirs, weights)  # one event after the other: padding adds 0
    return np.asarray(total / np.maximum(weights.sum(axis=1), np.float32(1e-6))[:, None], np.float32)


def _vectors_of(vectors: Floats, rows: Int32s) -> Floats:
    """The vectors of some events' videos, (n, p, d); zero in the padding."""
    return np.where(rows[:, :, None] >= 0, vectors[rows], np.float32(0))


def _count_tags(codes: Int32s, tags: int, liked_rows: Int32s) -> Int64s:
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
def _tag_codes(tags: _Same) -> tuple[Int32s, int]:
    """Codes of each video's first tags, (v, t >= 1), -1 is padding; and the number of tags, at least 1."""
    code: dict[str, int] = {}
    rows = [[code.setdefault(tag, len(code)) for tag in dict.fromkeys(own)][:MOST_TAGS] for own in tags.held]
    width = max((len(row) for row in rows), default=0) or 1
    out = np.full((len(rows), width), -1, np.int32)
    for place, row in enumerate(rows):
        out[place, : len(row)] = row
    return out, max(len(code), 1)


def _portions(n: int, c: int, videos: VideoTable) -> Iterator[slice]:
    widths = videos.joint.shape[1] + sum(v.shape[1] for v in videos.vectors.values())
    neighbours = LATEST_EVENTS * videos.neighbours.shape[1]
    size = max(1, PORTION_FLOATS // max(c * max(widths, neighbours, 32), _tag_codes(_Same(videos.tags))[1]))
    for start in range(0, n, size):
        yield slice(start, min(n, start + size))
