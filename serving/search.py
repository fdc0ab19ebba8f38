"""Videos for words, and videos like a video.

Words are looked for twice: by meaning, as a vector in the joint space, and by the letter, in titles and tags.
Both lists are fused by reciprocal rank. Source: Cormack, Clarke & Büttcher, SIGIR 2009, equation 1, k = 60.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.contracts import Floats
from features.errors import BadInput, NotFound
from ingest.encoders.query import Query
from serving.desk import Desk, Rows, words_of
from serving.problems import FieldError
from serving.requests import Modality

FUSION_K: Final = 60
DEPTH: Final = 200
"""How deep each list is read before they are fused."""

BITS: Final = {"joint": 7, "visual": 1, "audio": 2, "text": 4}


@dataclass(frozen=True, slots=True)
class Hits:
    """Videos that were found, best first."""

    rows: Rows
    """int32, (n,), unique."""
    scores: Floats
    """float32, (n,), not increasing."""
    matched: tuple[tuple[str, ...], ...]
    """By what each was found: meaning, words, or a modality."""


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a search, and by what it was answered."""

    hits: Hits
    served_by: str
    """meaning+words, meaning, words, or nothing."""
    notes: tuple[str, ...] = ()
    aligned: bool | None = None
    """Whether words were compared with pictures and sounds too; None where meaning was not asked."""


def search_videos(desk: Desk, text: str, k: int) -> Found:
    """At most k videos for these words."""
    query, note = _understand(desk, text)
    meant = np.zeros(0, np.int32) if query is None else _towards(find_videos(desk, query, DEPTH))
    spelled = _by_words(desk, text)
    lists = {name: rows for name, rows in (("meaning", meant), ("words", spelled)) if len(rows)}
    hits = _fuse(lists, len(desk.videos), k)
    aligned = None if query is None else query.aligned
    return Found(hits, "+".join(lists) or "nothing", () if note is None else (note,), aligned)


def find_videos(desk: Desk, query: Query, k: int) -> Hits:
    """At most k videos nearest to a query of any modalities, of those that can be compared with it.

    Raises:
        BadInput: the query is of another space.
    """
    cosines = query.cosines(desk.videos)
    rows = _best(cosines, k)
    return Hits(rows, cosines[rows], (("meaning",),) * len(rows))


def similar_videos(desk: Desk, video_id: str, by: Modality, k: int) -> Hits:
    """At most k videos nearest to this one, itself left out, in all modalities together or in one.

    Raises:
        NotFound: the bundle does not know the video.
        FieldError: the video lacks that modality.
    """
    row, videos = desk.row_of_id(video_id), desk.videos
    if row < 0:
        raise NotFound(f"no video {video_id!r} in bundle {desk.name}")
    vectors = vectors_of(desk, by)
    present = (videos.mask & BITS[by]) != 0
    if not vectors[row].any():
        has = [name for name in ("visual", "audio", "text") if int(videos.mask[row]) & BITS[name]]
        raise FieldError("by", f"video {video_id!r} has no {by} vector; it has {', '.join(has) or 'none'}")
    cosines = np.where(present, vectors @ vectors[row], -np.inf).astype(np.float32)
    cosines[row] = -np.inf
    rows = _best(cosines, k)
    return Hits(rows, cosines[rows], ((by,),) * len(rows))


def vectors_of(desk: Desk, by: Modality) -> Floats:
    """Unit rows to compare videos by, (n, d): one modality's or all together; d is 0 where there are none."""
    if by == "joint":
        return desk.bundle.content
    return desk.videos.vectors.get(by, np.zeros((len(desk.videos), 0), np.float32))


def _understand(desk: Desk, text: str) -> tuple[Query | None, str | None]:
    """The words' query, and what has to be said of it or of why there is none."""
    if desk.words is None:
        return None, "this bundle has no text encoder: only titles and tags were searched"
    try:
        query = desk.words.words(text)
    except BadInput as error:
        return None, f"only titles and tags were searched: {error}"
    if query is None:
        return None, "these words have no vector: only titles and tags were searched"
    return query, query.note


def _towards(hits: Hits) -> Rows:
    """Rows of those that are nearer to the query than a right angle: the rest is no answer to words."""
    return hits.rows[hits.scores > 0]


def _by_words(desk: Desk, text: str) -> Rows:
    """Rows whose title or tags have the most of the words, best share first."""
    wanted = words_of(text)
    if not wanted:
        return np.zeros(0, np.int32)
    shares = np.array(
        [len(wanted & words) / len(wanted) if words else 0.0 for words in desk.shelf.words], np.float32
    )
    return _best(np.where(shares > 0, shares, -np.inf).astype(np.float32), DEPTH)


def _fuse(lists: dict[str, Rows], videos: int, k: int) -> Hits:
    scores = np.zeros(videos, np.float32)
    for rows in lists.values():
        scores[rows] += 1 / (FUSION_K + np.arange(1, len(rows) + 1, dtype=np.float32))
    rows = _best(np.where(scores > 0, scores, -np.inf).astype(np.float32), k)
    members = {name: set(found.tolist()) for name, found in lists.items()}
    matched = tuple(tuple(name for name in lists if row in members[name]) for row in rows.tolist())
    return Hits(rows, scores[rows], matched)


def _best(scores: Floats, k: int) -> Rows:
    """Rows of the at most k largest finite scores, best first."""
    k = min(k, int(np.isfinite(scores).sum()))
    if not k:
        return np.zeros(0, np.int32)
    top = np.argpartition(-scores, k - 1)[:k] if k < len(scores) else np.arange(len(scores))
    return top[np.lexsort((top, -scores[top]))][:k].astype(np.int32)
