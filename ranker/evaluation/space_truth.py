"""What belongs together by other signs than the vectors: tags, creators, near-duplicates, audiences.

Each truth says of a video which others a good space shows near it. Videos are named by their place among all
of the space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import polars as pl
from scipy import sparse  # type: ignore[import-untyped]

from features.contracts import Int64s
from features.workspace import Workspace
from ranker.evaluation.space_vectors import Bools

MOST_CARRY: Final = 0.2
"""A tag or creator of more than this share of the videos that have any says nothing."""


class Truth(Protocol):
    """Which other videos belong to a video."""

    @property
    def name(self) -> str:
        """One word."""

    def count(self, queries: Int64s, among: Bools) -> Int64s:
        """How many of these videos, (n,), belong to each query, itself left out, (q,)."""

    def judge(self, queries: Int64s, found: Int64s) -> Bools:
        """True where a found video belongs to its query, (q, k)."""


@dataclass(frozen=True, slots=True)
class SharedLabels:
    """Two videos belong together that share a label."""

    name: str
    by_video: sparse.csr_matrix
    """(n, labels), 1 where a video carries a label."""
    by_label: sparse.csr_matrix
    """Its transpose."""

    def count(self, queries: Int64s, among: Bools) -> Int64s:
        """See `Truth`."""
        sizes = np.asarray(self.by_label @ among.astype(np.int64))
        out = np.zeros(len(queries), np.int64)
        for place, row in enumerate(queries):
            labels = self.by_video.indices[self.by_video.indptr[row] : self.by_video.indptr[row + 1]]
            if len(labels):
                out[place] = (sizes[labels[0]] if len(labels) == 1 else self._union(labels, among)) - among[
                    row
                ]
        return out

    def judge(self, queries: Int64s, found: Int64s) -> Bools:
        """See `Truth`."""
        asking = self.by_video[np.repeat(queries, found.shape[1])]
        shared = asking.multiply(self.by_video[found.ravel()]).sum(axis=1)
        return np.asarray(shared > 0).reshape(found.shape)

    def _union(self, labels: Int64s, among: Bools) -> int:
        carries = np.zeros(len(among), bool)
        for label in labels:
            carries[self.by_label.indices[self.by_label.indptr[label] : self.by_label.indptr[label + 1]]] = (
                True
            )
        return int((carries & among).sum())


@dataclass(frozen=True, slots=True)
class Linked:
    """Two videos belong together that an edge links; only the edges of videos that will ask are held."""

    name: str
    codes: Int64s
    """Row of the asking video times n, plus row of its neighbour: int64, (e,), strictly increasing."""
    n: int

    def count(self, queries: Int64s, among: Bools) -> Int64s:
        """See `Truth`."""
        kept = among[self.codes % self.n] if self.n else np.zeros(0, bool)
        return np.bincount(self.codes[kept] // max(self.n, 1), minlength=self.n)[queries]

    def judge(self, queries: Int64s, found: Int64s) -> Bools:
        """See `Truth`."""
        wanted = queries[:, None] * self.n + found
        at = np.minimum(np.searchsorted(self.codes, wanted), max(len(self.codes) - 1, 0))
        return self.codes[at] == wanted if len(self.codes) else np.zeros(found.shape, bool)


def read_truths(workspace: Workspace, keys: Int64s, queries: Int64s) -> tuple[list[Truth], dict[str, str]]:
    """The truths that the workspace holds, and why each other one is missing, by name.

    Args:
        workspace: with a catalogue; near-duplicates and an item graph where they were made.
        keys: of the videos of the space, int64, (n,), strictly increasing.
        queries: rows of those that will ask.
    """
    truths: list[Truth] = []
    absent: dict[str, str] = {}
    for name, labels, why in (
        ("tags", _tags(workspace), "no tag is carried by some videos and not by most"),
        ("creator", _creators(workspace), "the catalogue names no creator of several videos"),
        ("duplicates", _duplicates(workspace), "no near-duplicates are known"),
    ):
        shared = shared_labels(name, labels, keys, whole=name == "duplicates")
        if shared is None:
            absent[name] = why
        else:
            truths.append(shared)
    linked = _audience(workspace, keys, queries)
    if linked is None:
        absent["audience"] = "there is no item graph of these videos; training a bundle writes one"
    else:
        truths.append(linked)
    return truths, absent


def shared_labels(name: str, labels: pl.DataFrame, keys: Int64s, *, whole: bool) -> SharedLabels | None:
    """The truth of a frame of `video_key` and `label`; None where no label tells videos apart.

    Args:
        name: of the truth.
        labels: one row a video and label.
        keys: of the videos of the space.
        whole: keep labels that most videos carry, too.
    """
    known = labels.drop_nulls().unique().filter(pl.col("video_key").is_in(keys))
    most = len(known) if whole else max(known["video_key"].n_unique() * MOST_CARRY, 2)
    telling = known.group_by("label").len().filter((pl.col("len") > 1) & (pl.col("len") <= most))
    codes = telling.select("label").sort("label").with_row_index("code")
    edges = known.join(codes, on="label").sort("video_key", "code")
    if not len(edges):
        return None
    rows = np.searchsorted(keys, edges["video_key"].to_numpy())
    by_video = sparse.csr_matrix(
        (np.ones(len(edges), np.int32), (rows, edges["code"].to_numpy())), (len(keys), len(codes))
    )
    return SharedLabels(name, by_video, by_video.T.tocsr())


def _tags(workspace: Workspace) -> pl.DataFrame:
    rows = workspace.catalogue.scan().select("video_key", label=pl.col("tags"))
    return rows.explode("label").with_columns(pl.col("label").str.to_lowercase()).collect()


def _creators(workspace: Workspace) -> pl.DataFrame:
    return workspace.catalogue.scan().select("video_key", label=pl.col("creator_id")).collect()


def _duplicates(workspace: Workspace) -> pl.DataFrame:
    return workspace.duplicates.scan().select("video_key", label=pl.col("group_key")).collect()


def _audience(workspace: Workspace, keys: Int64s, queries: Int64s) -> Linked | None:
    asking, all_keys = keys[queries], keys
    edges = (
        workspace.item_graph.scan()
        .select("video_key", "neighbour_key")
        .filter(pl.col("video_key").is_in(asking) & pl.col("neighbour_key").is_in(all_keys))
        .collect()
    )
    if not len(edges):
        return None
    ends = [np.searchsorted(keys, edges[name].to_numpy()) for name in ("video_key", "neighbour_key")]
    apart = ends[0] != ends[1]
    return Linked("audience", np.unique(ends[0][apart] * len(keys) + ends[1][apart]), len(keys))
