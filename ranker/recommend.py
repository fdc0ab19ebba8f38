"""A whole request: retrieve, score, keep the best k; and the same for all users into a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts import Context, Floats, Histories, Int64s, UserCounters, seen_mask
from features.counters import counters_now
from features.errors import BadInput
from features.histories import EventLog, ends_of, gather_histories
from ranker.bundle import COMPONENTS, SOURCES, Bundle
from ranker.retrieve import DENSE_FLOATS, Candidates, retrieve
from ranker.score import main_sources, score

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.pipeline import FeatureSet

__all__ = [
    "COMPONENTS",
    "SOURCES",
    "Candidates",
    "Recommendations",
    "recommend",
    "recommend_from_log",
    "recommend_to_parquet",
    "retrieve",
    "score",
]

NAMES = np.array([*SOURCES, ""])


@dataclass(frozen=True, slots=True)
class Recommendations:
    """The best videos of u requests, best first."""

    rows: npt.NDArray[np.int32]
    """Rows of the bundle's videos, int32, (u, k), unique in a row; -1 where there are no more."""
    scores: Floats
    """float32, (u, k), not increasing; -inf where there are no more."""
    source_codes: npt.NDArray[np.int8]
    """Index into SOURCES of the source that spoke most for it, int8, (u, k); -1 where there are no more."""

    @property
    def sources(self) -> npt.NDArray[np.str_]:
        """Name of that source, (u, k); empty where there are no more."""
        return np.asarray(NAMES[self.source_codes])


def recommend(
    bundle: Bundle,
    histories: Histories,
    context: Context,
    k: int,
    *,
    counters: UserCounters | None = None,
    include_seen: bool = False,
    without: frozenset[str] = frozenset(),
) -> Recommendations:
    """The k best videos for each request; ties go to the smaller key.

    When k asks for more than the candidates, the rest of the catalogue follows in order of popularity.

    Args:
        bundle: what was trained.
        histories: u histories.
        context: u requests.
        k: how many, >= 1; at most the whole catalogue comes back.
        counters: of the same u users; None where they are not known.
        include_seen: also what the user has seen.
        without: components taken away (see `COMPONENTS`).

    Raises:
        BadInput: k < 1, an unknown component, or histories and context differ in length.
    """
    if k < 1:
        raise BadInput(f"{k} recommendations were asked for; at least 1 is needed")
    k = min(k, len(bundle.videos))
    step = max(1, DENSE_FLOATS // max(len(bundle.videos), 8 * bundle.candidates))
    parts = [
        _recommend(
            bundle,
            histories.part(at),
            context.part(at),
            None if counters is None else counters.part(at),
            k,
            include_seen,
            without,
        )
        for at in _slices(len(histories), step)
    ]
    if not parts:
        return Recommendations(
            np.empty((0, k), np.int32), np.empty((0, k), np.float32), np.empty((0, k), np.int8)
        )
    return Recommendations(
        np.concatenate([p.rows for p in parts]),
        np.concatenate([p.scores for p in parts]),
        np.concatenate([p.source_codes for p in parts]),
    )


def recommend_to_parquet(
    bundle: Bundle,
    features: FeatureSet,
    users: list[str] | None,
    k: int,
    out: Path,
    include_seen: bool,
    batch: int = 2048,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Writes `user_id, rank, video_id, score, source` for all or the given users; returns the number of rows.

    Written aside and renamed, batch by batch, so memory does not grow with users. A user without events gets
    what a newcomer gets. Where the log has times, the requests are made just after its last event. What is
    excluded as seen is all that the log says, however old.
    """
    log = features.log
    wanted = list(dict.fromkeys(users)) if users is not None else list(log.user_ids)
    ids = np.array(bundle.videos.ids, object)
    now = int(log.ts_ms.max(initial=0))
    schema = pa.schema(
        [("user_id", pa.string()), ("rank", pa.int32()), ("video_id", pa.string()), ("score", pa.float32()),
         ("source", pa.string())]
    )  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    aside, rows = out.parent / f".{out.name}.{os.getpid()}.tmp", 0
    try:
        with pq.ParquetWriter(aside, schema, compression="zstd") as writer:
            for at in _slices(len(wanted), batch):
                table = _batch_table(bundle, features, wanted[at], k, include_seen, ids, now)
                writer.write_table(table.to_arrow().cast(schema))
                rows += len(table)
                if progress:
                    progress(at.stop, len(wanted))
        os.replace(aside, out)
    finally:
        aside.unlink(missing_ok=True)
    return rows


def recommend_from_log(
    bundle: Bundle,
    log: EventLog,
    codes: Int64s,
    context: Context,
    k: int,
    *,
    include_seen: bool = False,
    without: frozenset[str] = frozenset(),
) -> Recommendations:
    """`recommend` for users of a log, (u,) codes, -1 for a newcomer.

    A history is bounded and the log is not: what was seen before the history begins is left out as well.
    """
    histories = gather_histories(log, codes, ends_of(log, codes))
    older = [] if include_seen else _seen_before_histories(bundle, log, codes, histories)
    spare = max((len(rows) for rows in older), default=0)
    best = recommend(
        bundle,
        histories,
        context,
        k + spare,
        counters=counters_now(log, codes),
        include_seen=include_seen,
        without=without,
    )
    return _less(best, older, len(bundle.videos), k) if spare else best


def _seen_before_histories(
    bundle: Bundle, log: EventLog, codes: Int64s, histories: Histories
) -> list[Int64s]:
    """Rows of what each user has seen but the history no longer holds; one array a user."""
    out = []
    for code, length in zip(codes.tolist(), histories.lengths.tolist(), strict=True):
        start, end = (int(log.offsets[code]), int(log.offsets[code + 1])) if code >= 0 else (0, length)
        older = slice(start, end - length)
        rows = bundle.videos.rows_of(log.video_keys[older][seen_mask(log.events[older])])
        out.append(np.unique(rows[rows >= 0]).astype(np.int64))
    return out


def _less(best: Recommendations, dropped: list[Int64s], n_videos: int, k: int) -> Recommendations:
    """The first k of each user that are not among the user's dropped rows."""
    base = np.arange(len(best.rows))[:, None] * n_videos
    unwanted = np.concatenate([user * n_videos + rows for user, rows in enumerate(dropped)])
    gone = (best.rows < 0) | np.isin(base + best.rows, unwanted)
    order = np.argsort(gone, axis=1, kind="stable")[:, :k]
    empty = np.take_along_axis(gone, order, axis=1)
    return Recommendations(
        np.where(empty, np.int32(-1), np.take_along_axis(best.rows, order, axis=1)),
        np.where(empty, np.float32(-np.inf), np.take_along_axis(best.scores, order, axis=1)),
        np.where(empty, np.int8(-1), np.take_along_axis(best.source_codes, order, axis=1)),
    )


def _batch_table(
    bundle: Bundle,
    features: FeatureSet,
    users: list[str],
    k: int,
    include_seen: bool,
    ids: npt.NDArray[np.object_],
    now: int,
) -> pl.DataFrame:
    codes = features.log.user_codes(users)
    context = Context.at(np.full(len(users), now, np.int64))
    best = recommend_from_log(bundle, features.log, codes, context, k, include_seen=include_seen)
    who, place = np.nonzero(best.rows >= 0)
    return pl.DataFrame(
        {
            "user_id": np.array(users, object)[who],
            "rank": (place + 1).astype(np.int32),
            "video_id": ids[best.rows[who, place]],
            "score": best.scores[who, place],
            "source": best.sources[who, place].astype(object),
        },
        schema={
            "user_id": pl.String,
            "rank": pl.Int32,
            "video_id": pl.String,
            "score": pl.Float32,
            "source": pl.String,
        },
    )


def _recommend(
    bundle: Bundle,
    histories: Histories,
    context: Context,
    counters: UserCounters | None,
    k: int,
    include_seen: bool,
    without: frozenset[str],
) -> Recommendations:
    found = retrieve(
        bundle, histories, context, bundle.candidates, exclude_seen=not include_seen, without=without
    )
    scores = score(bundle, found, histories, context, counters=counters, without=without)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    rows = np.take_along_axis(found.rows, order, axis=1)
    best = np.take_along_axis(scores, order, axis=1)
    sources = np.take_along_axis(main_sources(bundle, found, without), order, axis=1)
    sources = np.where(rows >= 0, sources, np.int8(-1))
    if rows.shape[1] == k and (rows[:, -1] >= 0).all():
        return Recommendations(rows, best, sources)
    return _filled(bundle, histories, Recommendations(rows, best, sources), k, include_seen)


def _filled(
    bundle: Bundle, histories: Histories, best: Recommendations, k: int, include_seen: bool
) -> Recommendations:
    """The rest of the catalogue behind the candidates, most popular first."""
    n, users = len(bundle.videos), np.arange(len(best.rows))[:, None]
    taken = np.zeros((len(best.rows), n + 1), bool)  # the last column takes the padding
    taken[users, best.rows] = True
    if not include_seen:
        history = bundle.videos.rows_of(histories.video_keys)
        taken[users, np.where(seen_mask(histories.events), history, -1)] = True
    popular = np.argsort(-bundle.popularity, kind="stable").astype(np.int32)
    free = ~taken[:, popular]
    rest = np.argsort(~free, axis=1, kind="stable")
    rows = np.where(np.take_along_axis(free, rest, axis=1), popular[rest], -1)
    real = np.where(best.rows >= 0, best.scores, np.inf)
    floor = np.where(np.isfinite(real).any(axis=1), real.min(axis=1, initial=np.inf), 0.0)[:, None]
    after = np.where(rows >= 0, floor - 1e-3 * (1 + np.arange(n))[None], -np.inf)
    code = np.where(rows >= 0, SOURCES.index("popular"), -1)
    together = np.concatenate([best.rows, rows], axis=1)
    order = np.argsort(together < 0, axis=1, kind="stable")[:, :k]
    return Recommendations(
        np.take_along_axis(together, order, axis=1).astype(np.int32),
        np.take_along_axis(np.concatenate([best.scores, after], axis=1), order, axis=1).astype(np.float32),
        np.take_along_axis(np.concatenate([best.source_codes, code], axis=1), order, axis=1).astype(np.int8),
    )


def _slices(total: int, step: int) -> Iterator[slice]:
    for start in range(0, total, step):
        yield slice(start, min(total, start + step))
