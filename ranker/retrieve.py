"""First half of a request: from a history to some hundred candidates, with every source's score for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse  # type: ignore[import-untyped]

from features.contracts import Context, Floats, Histories, Int64s
from features.errors import BadInput
from ranker.bundle import SOURCES, Bundle, ablated, modalities_in
from ranker.content import content_profiles
from ranker.history_rows import HistoryRows, history_rows
from ranker.index import Index
from ranker.item_item import item_scores
from ranker.popularity import freshness
from ranker.user_vector import user_vectors

QUOTAS = {"two_tower": 0.4, "item_item": 0.4, "content": 0.15, "popular": 0.15, "fresh": 0.1}
"""Share of the candidates each source may bring; they overlap, and sources with nothing to say leave room."""

DENSE_FLOATS = 32_000_000
"""Scores of all videos are computed at once while users x videos stays below this."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Candidates of u requests; each row of a request ascends, the rest is padding."""

    rows: npt.NDArray[np.int32]
    """Rows of the bundle's videos, int32, (u, c); -1 in the padding."""
    scores: Floats
    """Every source's score, float32, (u, c, len(SOURCES)); 0 where a source has nothing to say."""
    found: npt.NDArray[np.bool_]
    """Which sources brought it, (u, c, len(SOURCES))."""

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """True where there is a candidate, (u, c)."""
        return np.asarray(self.rows >= 0)


@dataclass(frozen=True, slots=True)
class Taste:
    """What the sources know of u users."""

    history: HistoryRows
    users: Floats
    """The user tower's vectors, (u, dim)."""
    items: sparse.csr_matrix
    """Item-item scores, sparse (u, videos)."""
    profile: Floats
    """Content profiles, (u, d)."""
    now_ms: Int64s
    """(u,)."""


def retrieve(
    bundle: Bundle,
    histories: Histories,
    context: Context,
    n: int,
    *,
    sources: tuple[str, ...] = SOURCES,
    exclude_seen: bool = True,
    without: frozenset[str] = frozenset(),
) -> Candidates:
    """Candidates of each request, from all sources together.

    Args:
        bundle: what was trained.
        histories: u histories.
        context: u requests.
        n: about how many candidates are wanted; all videos where the catalogue has no more.
        sources: which sources may bring candidates.
        exclude_seen: leave out what the history says was seen.
        without: components that must play no part.

    Raises:
        BadInput: n < 1, an unknown source or component, or histories and context of different length.
    """
    _check(histories, context, n, sources)
    bundle = ablated(bundle, modalities_in(without))
    taste = learn_taste(bundle, histories, context)
    seen = _seen_keys(taste.history, len(bundle.videos)) if exclude_seen else np.empty(0, np.int64)
    spare = histories.video_keys.shape[1] if exclude_seen else 0
    lists = {
        name: _first(
            _nearest(bundle, taste, name, _quota(name, n) + spare), seen, len(bundle.videos), _quota(name, n)
        )
        for name in SOURCES
        if name in sources and name not in without
    }
    everything = [_everything(len(histories), len(bundle.videos), seen)] if len(bundle.videos) <= n else []
    rows = _union([*lists.values(), *everything], len(histories), len(bundle.videos))
    found = np.zeros((*rows.shape, len(SOURCES)), bool)
    for name, chosen in lists.items():
        found[:, :, SOURCES.index(name)] = _among(rows, chosen, len(bundle.videos))
    return Candidates(rows, source_scores(bundle, taste, rows), found)


def learn_taste(bundle: Bundle, histories: Histories, context: Context) -> Taste:
    """What each source makes of the histories."""
    history = history_rows(bundle.videos, histories)
    return Taste(
        history=history,
        users=user_vectors(bundle.tower, bundle.vectors, history),
        items=item_scores(bundle.item_item, history, bundle.decay),
        profile=content_profiles(bundle.content, history, bundle.decay),
        now_ms=context.now_ms,
    )


def source_scores(bundle: Bundle, taste: Taste, rows: npt.NDArray[np.int32]) -> Floats:
    """Every source's score of the rows, float32, (u, c, len(SOURCES)); 0 in the padding."""
    at = np.maximum(rows, 0)
    published = bundle.videos.published_ms[at]
    columns = [
        _products(taste.users, bundle.vectors, at),
        _sparse_values(taste.items, at),
        _products(taste.profile, bundle.content, at),
        bundle.popularity[at],
        freshness(published, np.broadcast_to(taste.now_ms[:, None], published.shape)),
    ]
    scores = np.stack(columns, axis=2).astype(np.float32)
    return np.asarray(np.where((rows >= 0)[:, :, None], scores, np.float32(0)))


def _check(histories: Histories, context: Context, n: int, sources: tuple[str, ...]) -> None:
    if n < 1:
        raise BadInput(f"{n} candidates were asked for; at least 1 is needed")
    if len(histories) != len(context.now_ms):
        raise BadInput(f"{len(histories)} histories and {len(context.now_ms)} requests differ in number")
    unknown = [name for name in sources if name not in SOURCES]
    if unknown:
        raise BadInput(f"source {unknown[0]} is unknown; the sources are {', '.join(SOURCES)}")


def _quota(source: str, n: int) -> int:
    return max(1, int(np.ceil(QUOTAS[source] * n)))


def _nearest(bundle: Bundle, taste: Taste, source: str, n: int) -> Int64s:
    """The n best rows of one source, best first, int64, (u, <= n); -1 where it has nothing to say."""
    n = min(n, len(bundle.videos))
    if source == "two_tower":
        return _search(bundle.index, taste.users, n)
    if source == "content":
        return _search(bundle.content_index, taste.profile, n)
    if source == "item_item":
        return _best_of(taste.items, n)
    if source == "popular":
        best = np.argsort(-bundle.popularity, kind="stable")[:n]
        return np.broadcast_to(best, (len(taste.users), n)).astype(np.int64)
    return _latest(bundle, taste.now_ms, n)


def _search(index: Index, queries: Floats, n: int) -> Int64s:
    if not queries.shape[1]:
        return np.full((len(queries), 0), -1, np.int64)
    rows = index.search(queries, n)[1]
    known = np.asarray(queries.any(axis=1))
    return np.where(known[:, None], rows, -1)


def _best_of(scores: sparse.csr_matrix, n: int) -> Int64s:
    users = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
    kept = scores.data > 0
    users, columns, values = users[kept], scores.indices[kept], scores.data[kept]
    order = np.lexsort((columns, -values, users))
    users, columns = users[order], columns[order]
    place = np.arange(len(users)) - np.searchsorted(users, users)
    out = np.full((scores.shape[0], n), -1, np.int64)
    inside = place < n
    out[users[inside], place[inside]] = columns[inside]
    return out


def _latest(bundle: Bundle, now_ms: Int64s, n: int) -> Int64s:
    """The n videos published last before each instant; none where the instant is unknown."""
    published = bundle.videos.published_ms[bundle.newest]
    ends = np.searchsorted(published, now_ms, side="right")
    at = ends[:, None] - 1 - np.arange(n)
    if not len(bundle.newest):
        return np.full(at.shape, -1, np.int64)
    return np.where(at >= 0, bundle.newest[np.maximum(at, 0)], -1)


def _seen_keys(history: HistoryRows, n_videos: int) -> Int64s:
    users, places = np.nonzero(history.seen)
    return np.unique(users * n_videos + history.rows[users, places])


def _first(rows: Int64s, seen: Int64s, n_videos: int, n: int) -> Int64s:
    """The first n of each row's list that were not seen."""
    if len(seen):
        keys = np.arange(len(rows))[:, None] * n_videos + rows
        rows = np.where(np.isin(keys, seen), -1, rows)
        rows = np.take_along_axis(rows, np.argsort(rows < 0, axis=1, kind="stable"), axis=1)
    return rows[:, :n]


def _everything(users: int, n_videos: int, seen: Int64s) -> Int64s:
    return _first(np.broadcast_to(np.arange(n_videos), (users, n_videos)), seen, n_videos, n_videos)


def _union(lists: list[Int64s], users: int, n_videos: int) -> npt.NDArray[np.int32]:
    together = np.concatenate([np.empty((users, 0), np.int64), *lists], axis=1)
    together = np.sort(np.where(together < 0, n_videos, together), axis=1)
    repeated = np.zeros(together.shape, bool)
    repeated[:, 1:] = together[:, 1:] == together[:, :-1]
    together = np.sort(np.where(repeated, n_videos, together), axis=1)
    width = int((together < n_videos).sum(axis=1).max(initial=0))
    kept = together[:, :width]
    return np.where(kept == n_videos, -1, kept).astype(np.int32)


def _among(rows: npt.NDArray[np.int32], chosen: Int64s, n_videos: int) -> npt.NDArray[np.bool_]:
    base = np.arange(len(rows), dtype=np.int64)[:, None] * n_videos
    return np.isin(base + rows, (base + chosen)[chosen >= 0]) & (rows >= 0)


def _products(left: Floats, right: Floats, rows: npt.NDArray[np.int32]) -> Floats:
    """Inner product of each user's vector and each of the user's rows, (u, c)."""
    if not right.shape[1]:
        return np.zeros(rows.shape, np.float32)
    if len(right) < 8 * rows.shape[1]:
        return np.take_along_axis(left @ right.T, rows, axis=1)
    return np.asarray(np.einsum("ud,ucd->uc", left, right[rows]))


def _sparse_values(matrix: sparse.csr_matrix, rows: npt.NDArray[np.int32]) -> Floats:
    """Entries of a sparse matrix with sorted columns, (u, c); 0 where there is none."""
    if not matrix.nnz:
        return np.zeros(rows.shape, np.float32)
    width = matrix.shape[1]
    stored = (
        np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr)) * width + matrix.indices
    )
    wanted = np.arange(len(rows), dtype=np.int64)[:, None] * width + rows
    at = np.minimum(np.searchsorted(stored, wanted), len(stored) - 1)
    return np.where(stored[at] == wanted, matrix.data[at], np.float32(0))
