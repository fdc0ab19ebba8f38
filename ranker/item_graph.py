"""Which videos the same people watch, as a table that ingest reads: who lacks a modality borrows from these.

An edge weighs the shared viewers of two videos, a viewer of m videos counting 1/m, over the square root of
both audiences, so that neither busy viewers nor popular videos make everything alike. It is learnt from the
part of the log that a bundle is trained on, and says until when that part went: what came later is not in it.
Source: cosine similarity of items with inverse user frequency, Deshpande and Karypis, "Item-Based Top-N
Recommendation Algorithms", ACM TOIS 2004, section 4; we weigh a viewer by 1/m where they divide by its root.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse  # type: ignore[import-untyped]

from features.contracts import Floats, Int64s
from features.errors import BadInput, CommitConflict
from features.impute import neighbour_means
from features.impute_across import impute
from features.neighbours import Neighbours, strongest
from features.pipeline import FeatureSet
from features.tables import Snapshot
from features.workspace import Workspace
from ranker.examples import Pairs, interaction_matrix
from ranker.splits import Holdout

METHOD = "covisit-cosine"
"""How the edges were learnt, for the table's meta."""
NEIGHBOURS = 50
"""Most edges a video keeps."""
KNOWN_NEIGHBOURS = 20
"""Of these, how many the features look at."""
IMPUTATIONS = ("none", "across", "neighbours")
"""What stands for a missing modality while the towers learn: nothing, for fusion knows what is there; a guess
from the video's other modalities; a guess from these and its neighbours. The towers know already who watches
what: guesses that say so again, for watched videos only, misled them on new ones in planted worlds."""
PORTION_PAIRS = 8_000_000
"""Pairs of videos with a shared viewer that are counted together, about: bounds the memory of the product."""


def fit_item_graph(pairs: Pairs, n_users: int, n_videos: int, *, top: int = NEIGHBOURS) -> Neighbours:
    """The `top` strongest neighbours of each video by shared viewers; equal ones by the smaller row.

    Args:
        pairs: positive pairs of the training part.
        n_users: in the log.
        n_videos: in the table; a video without viewers has no edge.
        top: >= 1.
    """
    if top < 1:
        raise BadInput(f"an item graph keeps at least 1 neighbour a video, got {top}")
    seen = interaction_matrix(pairs, n_users, n_videos)
    left, right = _halves(seen)
    found = [_strongest(left[rows] @ right, rows, top) for rows in _portions(left, right)]
    counts = np.concatenate([np.empty(0, np.int64), *(count for count, _, _ in found)])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ends = np.concatenate([np.empty(0, np.int32), *(end for _, end, _ in found)])
    weights = np.concatenate([np.empty(0, np.float32), *(weight for _, _, weight in found)])
    return Neighbours(offsets, ends, weights)


def fill_missing(
    features: FeatureSet, graph: Neighbours, how: str
) -> tuple[FeatureSet, dict[str, dict[str, Any]]]:
    """The feature set with missing vectors filled in, and what is said of it by modality.

    Args:
        features: the part of the log that is learnt from; its interactions are not looked at.
        graph: learnt from that part alone, so that nothing held out comes into a vector.
        how: one of IMPUTATIONS.

    Returns:
        Videos whose `imputed` says what was filled in; mask and all that was present stay. A video of which
        no modality is known gets the joint vector of its neighbours, unless `how` is none.

    Raises:
        BadInput: `how` is unknown.
    """
    check_imputation(how)
    if how == "none":
        return features, {}
    videos = features.videos
    found = impute(videos.vectors, graph if how == "neighbours" else None)
    joint, _ = neighbour_means(videos.joint, graph)
    filled = replace(videos, vectors=found.vectors, joint=joint, imputed=found.imputed)
    return replace(features, videos=filled), found.said


def with_neighbours(features: FeatureSet, graph: Neighbours) -> FeatureSet:
    """The feature set whose videos know the strongest of their neighbours; the graph as in `fill_missing`."""
    rows, weights = strongest(graph, KNOWN_NEIGHBOURS)
    return replace(features, videos=replace(features.videos, neighbours=rows, neighbour_weights=weights))


def check_imputation(how: str) -> None:
    """Refuses what is none of IMPUTATIONS."""
    if how not in IMPUTATIONS:
        raise BadInput(f"imputation {how!r} is unknown; choose one of {', '.join(IMPUTATIONS)}")


def write_item_graph(workspace: Workspace, graph: Neighbours, keys: Int64s, until_ms: int | None) -> Snapshot:
    """Puts the graph in the place of the one before, in one commit; of two trainings at once the later stays.

    Args:
        workspace: whose `item_graph` it becomes.
        graph: rows are those of `keys`.
        keys: of the videos, int64, (n,).
        until_ms: every event that was learnt from lies before this instant; None without times.
    """
    frame = pl.DataFrame(
        {
            "video_key": np.repeat(keys, np.diff(graph.offsets)),
            "neighbour_key": keys[graph.rows],
            "weight": graph.weights,
        }
    )
    while True:
        # Nothing of the graph before goes into this one, so what another training wrote meanwhile is replaced
        # like any other; a refusal here would throw a trained bundle away.
        with suppress(CommitConflict):
            return workspace.item_graph.replace(frame, meta={"until_ms": until_ms, "method": METHOD})


def learnt_until(train_part: FeatureSet, holdout: Holdout) -> int | None:
    """The instant before which all events of a training part lie, ms since the epoch; None without times."""
    if not train_part.log.has_times:
        return None
    if holdout.kind == "time":
        return holdout.until_ms
    return int(train_part.log.ts_ms.max()) + 1


def _halves(seen: sparse.csr_matrix) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Two matrices, (videos, users) and (users, videos), whose product holds the weights of all edges."""
    viewers = np.maximum(np.bincount(seen.indices, minlength=seen.shape[1]), 1).astype(np.float32)
    watched = np.maximum(np.diff(seen.indptr), 1).astype(np.float32)
    scaled = seen @ sparse.diags(viewers**-0.5)
    return scaled.T.tocsr(), (sparse.diags(1.0 / watched) @ scaled).tocsr()


def _portions(left: sparse.csr_matrix, right: sparse.csr_matrix) -> Iterator[Int64s]:
    """Runs of videos with about PORTION_PAIRS products each, int64."""
    watched = np.diff(right.indptr)
    work = np.concatenate([[0], np.cumsum(watched[left.indices])])[left.indptr]
    turns = np.diff(work[1:] // PORTION_PAIRS)
    for start, stop in pairwise([0, *(np.flatnonzero(turns) + 1).tolist(), left.shape[0]]):
        if stop > start:
            yield np.arange(start, stop, dtype=np.int64)


def _strongest(
    weights: sparse.csr_matrix, rows: Int64s, top: int
) -> tuple[Int64s, npt.NDArray[np.int32], Floats]:
    """Of each row the `top` largest, itself left out: how many, where to, and how much."""
    at = np.repeat(rows, np.diff(weights.indptr))
    other = np.flatnonzero((weights.indices != at) & (weights.data > 0))
    at, ends, values = at[other], weights.indices[other], weights.data[other].astype(np.float32)
    order = np.lexsort((ends, -values, at))
    first = np.searchsorted(at[order], rows)
    place = np.arange(len(order)) - first[at[order] - rows[0]]
    kept = order[place < top]
    kept = kept[np.lexsort((ends[kept], at[kept]))]
    counts = np.bincount(at[kept] - rows[0], minlength=len(rows)).astype(np.int64)
    return counts, ends[kept].astype(np.int32), values[kept]
