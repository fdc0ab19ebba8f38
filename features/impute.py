"""Vectors for what a video lacks, from the videos that the same people watch.

A missing vector becomes the weighted mean of its neighbours' present ones, drawn towards the mean of all
videos the more, the fewer and the less alike those neighbours are, and brought to unit length. Where all
neighbours lack it as well, it comes from a second hop: neighbours that were filled in the round before.
Source: Malitesta et al., "Do We Really Need to Drop Items with Missing Modalities in Multimodal
Recommendation?", CIKM 2024, NeighMean and MultiHop; we keep the weights of the edges and compute missing rows
only. The drawing is the best linear guess from k equally correlated values: Spearman, British Journal of
Psychology 1910, and Brown in the same volume.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import sparse  # type: ignore[import-untyped]

from features.contracts import Floats, Int64s
from features.errors import BadInput
from features.neighbours import Neighbours

Flags = npt.NDArray[np.bool_]

ROUNDS = 2
"""Hops that a vector may travel."""
HOP_WEIGHT = 0.5
"""A vector that was filled in counts this much of a real one."""
PORTION_EDGES = 2_000_000
"""Edges looked at together: bounds what is needed beside the result to some tens of MiB."""
SAMPLED = 20_000
"""About so many videos say how alike neighbours usually are."""
SEVERAL = 1.5
"""Effective neighbours from which on their likeness to one another means something."""
SAME = 1e-8
"""Squared distance from the centre below which a vector is at it."""
TINY = 1e-20
NOTHING_LEFT = 1e-4
"""A mean shorter than this says nothing: its neighbours cancel, and rounding would choose the direction."""


def neighbour_means(vectors: Floats, neighbours: Neighbours, *, rounds: int = ROUNDS) -> tuple[Floats, Flags]:
    """The vectors with missing rows filled in from neighbours, and which rows were filled.

    Args:
        vectors: unit rows, float32, (n, d); zero rows where missing.
        neighbours: of the same n videos.
        rounds: most hops, >= 0.

    Returns:
        A new array, float32, (n, d): present rows as given, filled rows of unit length, zero rows where no
        neighbour is reached; and which rows were filled, bool, (n,).

    Raises:
        BadInput: another number of videos, rounds below 0, or a vector that is not finite.
    """
    _check(vectors, neighbours, rounds)
    there = np.asarray(vectors.any(axis=1))
    filled, imputed, trust = (
        vectors.astype(np.float32),
        np.zeros(len(vectors), bool),
        there.astype(np.float32),
    )
    for _ in range(rounds if there.any() else 0):
        missing = np.flatnonzero(trust == 0).astype(np.int64)
        means = _means(_look(filled, trust, neighbours), missing)
        reached = np.asarray(means.any(axis=1))
        if not reached.any():
            break
        rows = missing[reached]
        filled[rows], imputed[rows], trust[rows] = means[reached], True, HOP_WEIGHT
    return filled, imputed


def mean_of_neighbours(vectors: Floats, neighbours: Neighbours, rows: Int64s) -> Floats:
    """What `neighbour_means` would put in one hop into these rows, whatever stands there, float32, (m, d).

    A video is no neighbour of its own, so this says how well present vectors would have been guessed.
    """
    _check(vectors, neighbours, 1)
    there = vectors.any(axis=1)
    if not there.any():
        return np.zeros((len(rows), vectors.shape[1]), np.float32)
    trust = np.asarray(there, np.float32)
    return _means(_look(vectors, trust, neighbours), rows)


def unit_or_zero(rows: Floats) -> Floats:
    """Rows divided by their length, float32; zero rows where hardly anything is left of them."""
    length = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return np.asarray(np.where(length > NOTHING_LEFT, rows / np.maximum(length, 1e-12), 0.0), np.float32)


@dataclass(frozen=True, slots=True)
class _Scene:
    """All that one hop looks at."""

    graph: sparse.csr_matrix
    """(n, n)."""
    vectors: Floats
    """float32, (n, d)."""
    trust: Floats
    """What each vector counts, float32, (n,); 0 where there is none."""
    centre: Floats
    """Mean of the real vectors, float32, (d,)."""
    spread: Floats
    """Squared distance of each vector from the centre, float32, (n,)."""


@dataclass(frozen=True, slots=True)
class _Sums:
    """What the neighbours of m videos that have a vector add up to."""

    offset: Floats
    """Their weighted mean less the centre, float32, (m, d); zero rows where there is none."""
    count: Floats
    """How many equal neighbours would weigh as much, float32, (m,)."""
    spread: Floats
    """Mean squared distance of one of them from the centre, float32, (m,)."""


def _look(vectors: Floats, trust: Floats, neighbours: Neighbours) -> _Scene:
    n = len(neighbours)
    graph = sparse.csr_matrix((neighbours.weights, neighbours.rows, neighbours.offsets), shape=(n, n))
    centre = vectors[trust == 1].mean(axis=0, dtype=np.float64).astype(np.float32)
    lengths = np.einsum("nd,nd->n", vectors, vectors)  # no second array of the size of the first
    spread = np.maximum(lengths - 2.0 * (vectors @ centre) + centre @ centre, 0.0) * (trust > 0)
    return _Scene(graph, vectors, trust, centre, spread.astype(np.float32))


def _means(scene: _Scene, rows: Int64s) -> Floats:
    """Unit vectors for some rows, float32, (m, d); zero rows where no neighbour has a vector."""
    every = max(1, len(scene.trust) // SAMPLED)
    usual = _usual_likeness(_sums(scene, np.arange(0, len(scene.trust), every, dtype=np.int64)))
    out = np.zeros((len(rows), scene.vectors.shape[1]), np.float32)
    for part in _portions(scene.graph.indptr, rows):
        out[part] = _drawn(_sums(scene, rows[part]), scene.centre, usual)
    return out


def _sums(scene: _Scene, rows: Int64s) -> _Sums:
    edges = scene.graph[rows]
    edges.data = edges.data * scene.trust[edges.indices]
    squared = edges.copy()
    squared.data = np.square(edges.data)
    ones = np.ones(len(scene.trust), np.float32)
    total, squares = edges @ ones, np.maximum(squared @ ones, TINY)
    offset = (edges @ scene.vectors) / np.maximum(total, TINY)[:, None] - scene.centre
    return _Sums(
        offset * (total > 0)[:, None], np.square(total) / squares, (squared @ scene.spread) / squares
    )


def _drawn(sums: _Sums, centre: Floats, usual: float) -> Floats:
    """The means drawn towards the centre, unit rows; zero rows where there is no neighbour.

    A video's own likeness counts where it is above the usual one: neighbours that agree are believed.
    """
    likeness = np.clip(np.maximum(_likeness(sums), usual), 0.0, 1.0)  # (m,)
    share = sums.count * likeness / np.maximum(1.0 + (sums.count - 1.0) * likeness, 1e-6)
    rows = (centre + share[:, None] * sums.offset) * (sums.count > 0)[:, None]
    return unit_or_zero(rows.astype(np.float32))


def _usual_likeness(sums: _Sums) -> float:
    """Mean over the videos that have several neighbours, [0, 1]; 1 where none has."""
    several = sums.count > SEVERAL
    return float(np.clip(_likeness(sums)[several].mean(), 0.0, 1.0)) if several.any() else 1.0


def _likeness(sums: _Sums) -> Floats:
    """Mean cosine, seen from the centre, between two of each video's neighbours, (m,), <= 1; 0 for one."""
    together = sums.count * np.square(sums.offset).sum(axis=1) - sums.spread  # both grow with the vectors
    alike = together / np.maximum((sums.count - 1.0) * sums.spread, TINY)
    same = sums.spread < SAME  # all at the centre
    return np.where(same, 1.0, np.where(sums.count > SEVERAL, alike, 0.0)).astype(np.float32)


def _portions(offsets: Int64s, rows: Int64s) -> Iterator[slice]:
    """Runs of the rows with about PORTION_EDGES edges each."""
    turns = np.cumsum(offsets[rows + 1] - offsets[rows], dtype=np.int64) // PORTION_EDGES
    cuts = [0, *(np.flatnonzero(np.diff(turns)) + 1).tolist(), len(rows)]
    return (slice(start, stop) for start, stop in pairwise(cuts) if stop > start)


def _check(vectors: Floats, neighbours: Neighbours, rounds: int) -> None:
    if len(vectors) != len(neighbours):
        said = f"{len(vectors)} vectors do not go with neighbours of {len(neighbours)} videos"
        raise BadInput(f"{said}; give both for the same videos")
    if rounds < 0:
        raise BadInput(f"rounds must be at least 0, got {rounds}")
    if not np.isfinite(vectors).all():
        raise BadInput("vectors hold NaN or infinity; a missing vector is a zero row")
