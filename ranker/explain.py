"""Why a video was recommended, in words a viewer understands."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.contracts import EVENT_CODES, MODALITIES, Floats, Histories
from ranker.bundle import Bundle
from ranker.history_rows import HistoryRows, history_rows

SENSES = {"visual": "looks like", "audio": "sounds like", "text": "is about the same as"}
FINISHED_SHARE = 0.9
CLOSE = 0.5
"""From this cosine on, or this share of a video's strongest edge, a likeness is worth naming."""
NEW_DAYS = 3.0
POPULAR_SHARE = 0.1
"""The most popular tenth is called popular."""


def explain(bundle: Bundle, histories: Histories, rows: npt.NDArray[np.int32], now_ms: int = 0) -> list[str]:
    """One reason for each recommended row of one user.

    The strongest link to a liked video of the history: shared viewers (the edge, as a share of that video's
    strongest) or likeness in one modality (the cosine, less what all videos share); else that it is new or
    popular.

    Args:
        bundle: what was trained.
        histories: of one user.
        rows: rows of the bundle's videos, int32, (k,).
        now_ms: instant of the request, ms since the epoch; 0 where unknown.
    """
    history = history_rows(bundle.videos, histories)
    liked = np.flatnonzero(history.positive[0])
    liked = liked[np.sort(np.unique(history.rows[0, liked], return_index=True)[1])]
    edges = _edges(bundle, history.rows[0, liked], rows)  # (l, k)
    likeness = {name: _likeness(bundle, name, history.rows[0, liked], rows) for name in MODALITIES}
    return [
        _reason(
            bundle,
            histories,
            history,
            liked,
            edges[:, i],
            {m: v[:, i] for m, v in likeness.items()},
            row,
            now_ms,
        )
        for i, row in enumerate(rows)
    ]


def _reason(
    bundle: Bundle,
    histories: Histories,
    history: HistoryRows,
    liked: npt.NDArray[np.int64],
    edges: Floats,
    likeness: dict[str, Floats],
    row: int,
    now_ms: int,
) -> str:
    links = [("viewers", edges), *likeness.items()]
    kind, strengths = max(links, key=lambda link: float(link[1].max(initial=0.0)))
    if float(strengths.max(initial=0.0)) >= CLOSE:
        at = int(liked[int(np.argmax(strengths))])
        title = _title(bundle, int(history.rows[0, at]))
        if kind == "viewers":
            return f'viewers of "{title}" also watched it'
        return f'{SENSES[kind]} "{title}" you {_did(bundle, histories, history, at)}'
    published = int(bundle.videos.published_ms[row])
    if published and now_ms and 0 <= now_ms - published < NEW_DAYS * 86_400_000:
        return "new"
    if (bundle.popularity > bundle.popularity[row]).mean() < POPULAR_SHARE:
        return "popular now"
    return "close to what you have watched" if len(liked) else "something different"


def _edges(bundle: Bundle, sources: npt.NDArray[np.int32], rows: npt.NDArray[np.int32]) -> Floats:
    """Edge from each source to each row, as a share of the source's strongest, float32, (l, k)."""
    out = np.zeros((len(sources), len(rows)), np.float32)
    for place, source in enumerate(sources):
        columns, values = bundle.item_item.neighbours(int(source))
        if len(columns) and values.max() > 0:
            at = np.minimum(np.searchsorted(columns, rows), len(columns) - 1)
            out[place] = np.where(columns[at] == rows, values[at] / values.max(), 0.0)
    return out


def _likeness(
    bundle: Bundle, modality: str, sources: npt.NDArray[np.int32], rows: npt.NDArray[np.int32]
) -> Floats:
    vectors = bundle.centred[modality]
    return np.asarray(vectors[sources] @ vectors[rows].T, np.float32)


def _did(bundle: Bundle, histories: Histories, history: HistoryRows, at: int) -> str:
    event = int(histories.events[0, at])
    for name, verb in (("like", "liked"), ("share", "shared"), ("follow", "followed")):
        if event == EVENT_CODES[name]:
            return verb
    duration = float(bundle.videos.duration_s[history.rows[0, at]])
    return "finished" if float(histories.watch_s[0, at]) >= FINISHED_SHARE * duration else "watched"


def _title(bundle: Bundle, row: int) -> str:
    return bundle.titles[row] or bundle.videos.ids[row]
