"""Vectors of one space or modality as a matrix, and the nearest of them.

One matrix at a time is in memory: a report over a million videos reads joint, visual, audio and text one
after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import faiss
import numpy as np
import numpy.typing as npt
import polars as pl

from features.contracts import Floats, Int64s
from features.errors import BadInput
from features.tables import Table

Bools = npt.NDArray[np.bool_]

EMPTY_NORM: Final = 1e-3
"""A vector shorter than this has no direction and is left out."""
BLOCK: Final = 65_536
"""Vectors that are worked on at a time."""


@dataclass(frozen=True, slots=True)
class VectorSet:
    """The unit vectors of those videos of a space that have one."""

    rows: Int64s
    """Place of each video among all of the space, int64, (m,), strictly increasing."""
    vectors: Floats
    """Unit rows, float32, (m, d)."""
    empty: int
    """Vectors of about no length, left out."""
    broken: int
    """Vectors with NaN or infinity, left out."""

    def __len__(self) -> int:
        return len(self.rows)

    def places_of(self, rows: Int64s) -> Int64s:
        """Place in this set of each of these videos that has a vector, in their order."""
        if not len(self.rows):
            return np.zeros(0, np.int64)
        at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return np.asarray(at[self.rows[at] == rows], np.int64)


NO_VECTORS: Final = VectorSet(np.zeros(0, np.int64), np.zeros((0, 0), np.float32), 0, 0)


def read_vectors(table: Table, column: str, keys: Int64s) -> VectorSet:
    """The column's vectors of these videos; of a video that stands there twice the last.

    Args:
        table: with `video_key`.
        column: a list of floats a video; null where it has none.
        keys: int64, (n,), strictly increasing.

    Raises:
        BadInput: the vectors differ in length.
    """
    frame = table.scan().select("video_key", column).filter(pl.col(column).list.len() > 0).collect()
    lengths = sorted(frame[column].list.len().unique())
    if len(lengths) > 1:
        raise BadInput(f"{column} vectors of {table.name} have lengths {lengths}; one space has one length")
    if not lengths:
        return NO_VECTORS
    found = frame["video_key"].to_numpy()
    if len(found) > 1 and not (np.diff(found) > 0).all():
        frame = frame.unique("video_key", keep="last").sort("video_key")
        found = frame["video_key"].to_numpy()
    flat = frame[column].explode().cast(pl.Float32).to_numpy().reshape(-1, int(lengths[0]))
    at = np.minimum(np.searchsorted(keys, found), max(len(keys) - 1, 0))
    known = keys[at] == found if len(keys) else np.zeros(len(found), bool)
    if not known.all():
        at, flat = at[known], flat[known]
    return unit_set(at.astype(np.int64), flat)


def unit_set(rows: Int64s, vectors: Floats) -> VectorSet:
    """The vectors brought to unit length, less those that have no direction; copied only where it must be."""
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float32))
    broken = ~np.isfinite(norms)
    empty = ~broken & (norms < EMPTY_NORM)
    kept = ~(broken | empty)
    if not kept.all():
        rows, vectors, norms = rows[kept], vectors[kept], norms[kept]
    if len(norms) and np.abs(norms - 1.0).max() > 1e-4:
        vectors = vectors / norms[:, None]
    return VectorSet(rows, np.ascontiguousarray(vectors), int(empty.sum()), int(broken.sum()))


def nearest(vectors: Floats, places: Int64s, k: int) -> tuple[Floats, Int64s]:
    """The k nearest others of some vectors by cosine, exactly.

    Args:
        vectors: unit rows, float32, (m, d).
        places: which of them ask, (q,).
        k: how many; fewer where there are no more.

    Returns:
        Cosines and places, (q, min(k, m - 1)), nearest first, never the asking vector itself.
    """
    k = min(k, len(vectors) - 1)
    if k < 1 or not len(places):
        return np.zeros((len(places), 0), np.float32), np.zeros((len(places), 0), np.int64)
    with _matrix_products():
        cosine, found = faiss.knn(vectors[places], vectors, k + 1, metric=faiss.METRIC_INNER_PRODUCT)
    # The asking vector goes last; among many equal ones it may be missing, and the last one goes instead.
    order = np.argsort(found == places[:, None], axis=1, kind="stable")[:, :k]
    return np.take_along_axis(cosine, order, 1), np.take_along_axis(found, order, 1)


@contextmanager
def _matrix_products() -> Iterator[None]:
    """Has FAISS multiply matrices for fewer queries than it would: four times as fast for a thousand."""
    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = 0
    try:
        yield
    finally:
        faiss.cvar.distance_compute_blas_threshold = before
