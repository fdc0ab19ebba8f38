"""The edges of the item graph as arrays, in the rows of a table of videos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.contracts import Floats, Int64s
from features.errors import BadInput


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Edges of n videos as compressed rows."""

    offsets: Int64s
    """First edge of each video, int64, (n + 1,), from 0 on, never falling."""
    rows: npt.NDArray[np.int32]
    """Row of the video at the other end, int32, (e,), in [0, n)."""
    weights: Floats
    """float32, (e,), finite and > 0."""

    def __post_init__(self) -> None:
        n, edges = len(self.offsets) - 1, len(self.rows)
        if n < 0 or self.offsets[0] != 0 or self.offsets[-1] != edges or (np.diff(self.offsets) < 0).any():
            raise BadInput(f"offsets must rise from 0 to {edges}, the number of edges; see Neighbours")
        if self.weights.shape != self.rows.shape:
            raise BadInput(f"{edges} edges have {self.weights.size} weights; give one for each")
        if edges and not 0 <= self.rows.min() <= self.rows.max() < n:
            ends = f"{self.rows.min()} to {self.rows.max()}"
            raise BadInput(f"edges lead to rows {ends}, but the {n} videos have rows 0 to {n - 1}")
        if not (np.isfinite(self.weights) & (self.weights > 0)).all():
            raise BadInput("every weight must be finite and above 0; leave out an edge that has no weight")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def edges(self) -> int:
        """How many there are."""
        return len(self.rows)


def neighbours_of(keys: Int64s, sources: Int64s, targets: Int64s, weights: Floats) -> Neighbours:
    """The edges of the item graph as rows of a table of videos.

    Args:
        keys: of the table's videos, int64, (n,), strictly increasing.
        sources: `video_key` of each edge, int64, (e,), in any order.
        targets: `neighbour_key` of each edge, int64, (e,).
        weights: float32, (e,).

    Returns:
        The edges between two different videos of the table; all others are left out.
    """
    rows, ends = _rows_of(keys, sources), _rows_of(keys, targets)
    kept = np.flatnonzero((rows >= 0) & (ends >= 0) & (rows != ends))
    kept = kept[np.lexsort((ends[kept], rows[kept]))]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=len(keys)))])
    return Neighbours(offsets.astype(np.int64), ends[kept].astype(np.int32), weights[kept].astype(np.float32))


def strongest(graph: Neighbours, k: int) -> tuple[npt.NDArray[np.int32], Floats]:
    """Rows and weights of each video's k strongest neighbours, strongest first, (n, k) each.

    Equal ones by the smaller row; -1 with weight 0 is padding.
    """
    n, owner = len(graph), np.repeat(np.arange(len(graph)), np.diff(graph.offsets))
    order = np.lexsort((graph.rows, -graph.weights, owner))
    place = np.arange(len(order)) - graph.offsets[owner]  # owner is sorted already, so it stays in step
    kept = order[place < k]
    rows, weights = np.full((n, k), -1, np.int32), np.zeros((n, k), np.float32)
    rows[owner[kept], place[place < k]] = graph.rows[kept]
    weights[owner[kept], place[place < k]] = graph.weights[kept]
    return rows, weights


def _rows_of(keys: Int64s, wanted: Int64s) -> Int64s:
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1).astype(np.int64)
