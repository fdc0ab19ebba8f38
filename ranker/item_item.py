"""Which videos the same people watch: a sparse graph of neighbours, learnt from pairs alone.

Two ways to weigh an edge: counts of shared viewers, or the weights of a linear autoencoder. In both a viewer
of many videos counts for less, which matters more than the choice between them. Source: EASE, Steck,
"Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, equations 7 and 8, on a Gram matrix in which
every user is weighted by a power of their activity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse  # type: ignore[import-untyped]

from features.contracts import Floats, Int64s
from ranker.history_rows import HistoryRows

Method = Literal["covisit", "ease"]
MAX_EASE_VIDEOS = 12_000
"""Above, the dense inverse costs too much memory (three times 4 n^2 bytes)."""


@dataclass(frozen=True, slots=True)
class ItemGraph:
    """Edges from a watched video to what to show next, as compressed rows."""

    indptr: Int64s
    """int64, (n + 1,)."""
    indices: npt.NDArray[np.int32]
    """Neighbours' rows, int32, (e,)."""
    values: Floats
    """Weights, float32, (e,)."""
    method: str
    """How they were learnt."""

    @property
    def matrix(self) -> sparse.csr_matrix:
        n = len(self.indptr) - 1
        return sparse.csr_matrix((self.values, self.indices, self.indptr), shape=(n, n))

    def neighbours(self, row: int) -> tuple[npt.NDArray[np.int32], Floats]:
        """Rows and weights of the edges from one video."""
        part = slice(self.indptr[row], self.indptr[row + 1])
        return self.indices[part], self.values[part]


def fit_covisitation(
    seen: sparse.csr_matrix, *, user_power: float = 1.25, source_norm: float = 0.5, top: int = 200
) -> ItemGraph:
    """Shared viewers of each pair of videos, a viewer of m videos counting m^-user_power.

    Args:
        seen: users by videos, strengths >= 0.
        user_power: how much less a busy viewer counts.
        source_norm: an edge is divided by the source's number of viewers to this power.
        top: edges kept a video.
    """
    activity = np.maximum(np.diff(seen.indptr), 1).astype(np.float32)
    viewers = np.maximum(np.bincount(seen.indices, minlength=seen.shape[1]), 1).astype(np.float32)
    shared = (seen.T @ sparse.diags(activity**-user_power) @ seen).tocsr()
    shared.setdiag(0.0)
    shared.eliminate_zeros()
    return _truncated((sparse.diags(viewers**-source_norm) @ shared).tocsr(), top, "covisit")


def fit_ease(
    seen: sparse.csr_matrix, *, user_power: float = 0.5, l2: float = 20.0, top: int = 200, threads: int = 2
) -> ItemGraph:
    """Weights of the closed-form linear autoencoder with a zero diagonal, the largest by size kept."""
    import torch

    torch.set_num_threads(threads)
    activity = np.maximum(np.diff(seen.indptr), 1).astype(np.float32)
    gram = torch.from_numpy(
        (seen.T @ sparse.diags(activity**-user_power) @ seen).toarray().astype(np.float32)
    )
    gram.diagonal().add_(l2)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))  # (n, n)
    weights = -inverse / torch.diag(inverse)
    weights.fill_diagonal_(0.0)
    kept = min(top, len(weights))
    columns = torch.topk(weights.abs(), kept, dim=1).indices.sort(dim=1).values  # (n, kept)
    values = torch.gather(weights, 1, columns)
    n = len(weights)
    whole = sparse.csr_matrix(
        (values.numpy().ravel(), columns.numpy().ravel(), np.arange(n + 1) * kept), shape=(n, n)
    )
    whole.eliminate_zeros()
    return _graph(whole, "ease")


def item_scores(graph: ItemGraph, history: HistoryRows, decay: float) -> sparse.csr_matrix:
    """Sum of the edges from each user's liked videos, sparse float32, (n, videos), columns sorted.

    Args:
        decay: an event counts this much less than the one after it, (0, 1].
    """
    n_videos = len(graph.indptr) - 1
    users, places = np.nonzero(history.positive)
    weights = np.power(np.float32(decay), places).astype(np.float32)
    shape = (len(history.rows), n_videos)
    liked = sparse.csr_matrix((weights, (users, history.rows[users, places])), shape)
    scores = (liked @ graph.matrix).tocsr()
    scores.sort_indices()
    return scores


def _truncated(matrix: sparse.csr_matrix, top: int, method: Method) -> ItemGraph:
    """Keeps each row's `top` largest edges; equal ones by the smaller column."""
    matrix.sort_indices()
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    place = np.arange(len(order)) - matrix.indptr[rows[order]]
    kept = np.sort(order[place < top])
    out = sparse.csr_matrix((matrix.data[kept], (rows[kept], matrix.indices[kept])), matrix.shape)
    return _graph(out, method)


def _graph(matrix: sparse.csr_matrix, method: Method) -> ItemGraph:
    matrix.sort_indices()
    return ItemGraph(
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int32),
        matrix.data.astype(np.float32),
        method,
    )
