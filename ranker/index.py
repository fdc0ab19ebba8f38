"""Nearest videos by inner product: exact while the catalogue is small, inverted lists of bytes beyond.

The number of lists looked into is set when the index is built, on real user vectors, so that it finds what
the exact search finds; where no setting does, the index stays exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from features.contracts import Floats, Int64s

EXACT_BELOW = 100_000
"""Catalogues smaller than this are searched exactly."""
WANTED_RECALL = 0.99
RECALL_AT = 300


@dataclass(frozen=True, slots=True)
class Index:
    """A FAISS index over the rows of a matrix."""

    faiss: Any
    recall: float
    """Share of the exact top 300 that it finds, on the vectors it was tuned with."""

    def search(self, queries: Floats, n: int) -> tuple[Floats, Int64s]:
        """Scores and rows of the n best, (u, n), best first; row -1 where there are fewer."""
        scores, rows = self.faiss.search(np.ascontiguousarray(queries), n)
        return scores, rows

    def write(self, path: Path) -> None:
        faiss.write_index(self.faiss, str(path))

    @property
    def kind(self) -> str:
        return type(self.faiss).__name__


def build_index(
    vectors: Floats, queries: Floats, *, exact_below: int = EXACT_BELOW, threads: int = 2
) -> Index:
    """An index over the rows of `vectors`, (n, d), that finds 0.99 of the exact top 300 of `queries`."""
    faiss.omp_set_num_threads(threads)
    if not vectors.shape[1]:  # FAISS has no vectors without a dimension
        vectors, queries = np.zeros((len(vectors), 1), np.float32), np.zeros((0, 1), np.float32)
    exact = faiss.IndexFlatIP(vectors.shape[1])
    exact.add(np.ascontiguousarray(vectors))
    if len(vectors) < exact_below or not len(queries):
        return Index(exact, 1.0)
    lists = int(4 * np.sqrt(len(vectors)))
    inverted = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(vectors.shape[1]),
        vectors.shape[1],
        lists,
        faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
    )
    inverted.train(np.ascontiguousarray(vectors))
    inverted.add(np.ascontiguousarray(vectors))
    wanted = exact.search(np.ascontiguousarray(queries), min(RECALL_AT, len(vectors)))[1]
    for probes in [1 << power for power in range(3, 12) if 1 << power <= lists // 2]:
        inverted.nprobe = probes
        recall = _overlap(wanted, inverted.search(np.ascontiguousarray(queries), wanted.shape[1])[1])
        if recall >= WANTED_RECALL:
            return Index(inverted, recall)
    return Index(exact, 1.0)


def read_index(path: Path, recall: float, threads: int = 1) -> Index:
    """The index at a path, mapped where its kind allows it."""
    faiss.omp_set_num_threads(threads)
    return Index(faiss.read_index(str(path)), recall)


def _overlap(wanted: npt.NDArray[np.int64], found: npt.NDArray[np.int64]) -> float:
    shared = [len(np.intersect1d(a, b)) for a, b in zip(wanted, found, strict=True)]
    return float(np.mean(shared) / wanted.shape[1])
